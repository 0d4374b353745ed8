"""Consume: bounded, in order per key, and whatever was taken is settled before it ends."""

import asyncio
import gc
import weakref
from asyncio import CancelledError, Future, Queue
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import pytest

from switchgear.core.consume import consume
from switchgear.core.drivers import Work, working
from switchgear.core.outcome import Done, Outcome
from switchgear.policy.call import Call
from tests.support.cancel import turns

pytestmark = pytest.mark.virtual


class Item:
    def __init__(self, payload: Any, key: str = "", settling: Any = None) -> None:
        self.call: Call[Any] = Call(payload, 1e9, key=key)
        self.work: Work | None = None
        self.outcomes: list[Outcome[Any]] = []
        self.settling = settling

    def begin(self, work: Work) -> None:
        self.work = work

    async def settle(self, outcome: Outcome[Any]) -> None:
        self.outcomes.append(outcome)
        if self.settling is not None:
            await self.settling()

    @property
    def how(self) -> str:
        (outcome,) = self.outcomes
        if isinstance(outcome, Done):
            return f"done {outcome.value}"
        return type(outcome.error).__name__


class Tray:
    """A source of so many items; `idle` says that it waits for more instead of being drained."""

    def __init__(self, items: Iterable[Item], *, idle: bool = False) -> None:
        self.items = list(items)
        self.taken: list[Item] = []
        self.idle = idle

    async def take(self) -> Item | None:
        await asyncio.sleep(0)
        if self.items:
            self.taken.append(self.items.pop(0))
            return self.taken[-1]
        if self.idle:
            await asyncio.get_running_loop().create_future()
        return None


class Workers:
    """A handler that notes who is inside, and sleeps as long as its payload says."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.inside = 0
        self.most = 0
        self.per_key: Counter[str] = Counter()

    async def __call__(self, call: Call[Any]) -> Any:
        self.inside += 1
        self.per_key[call.key] += 1
        self.most = max(self.most, self.inside)
        assert not call.key or self.per_key[call.key] == 1, f"two of {call.key!r} at once"
        self.log.append(f"+{call.payload}")
        try:
            await asyncio.sleep(1.0)
        except CancelledError:
            self.log.append(f"x{call.payload}")
            raise
        finally:
            self.inside -= 1
            self.per_key[call.key] -= 1
        self.log.append(f"-{call.payload}")
        return call.payload


async def test_everything_is_settled_with_its_own_outcome() -> None:
    async def handler(call: Call[Any]) -> Any:
        if call.payload == 2:
            raise ValueError("bad item")
        return call.payload

    items = [Item(number) for number in range(5)]
    await consume(Tray(items), handler, lanes=2)
    assert [item.how for item in items] == ["done 0", "done 1", "ValueError", "done 3", "done 4"]


async def test_at_most_so_many_run_at_once() -> None:
    workers = Workers()
    await consume(Tray(Item(number) for number in range(9)), workers, lanes=3)
    assert workers.most == 3


async def test_one_key_runs_in_order_while_others_run_beside_it() -> None:
    workers = Workers()
    items = [Item(f"{key}{number}", key) for number in range(3) for key in ("a", "b")]
    await consume(Tray(items), workers, lanes=4, parked=10)
    for key in ("a", "b"):
        mine = [entry for entry in workers.log if entry[1] == key]
        assert mine == [f"{sign}{key}{number}" for number in range(3) for sign in ("+", "-")]
    assert workers.most == 2


async def test_no_more_is_taken_than_may_run_and_wait() -> None:
    tray, workers = Tray(Item(number, "same") for number in range(20)), Workers()
    consumer = asyncio.create_task(consume(tray, workers, lanes=2, parked=3))
    await asyncio.sleep(0.5)
    assert len(tray.taken) == 5
    await asyncio.sleep(1.0)
    assert len(tray.taken) == 6
    await consumer
    assert workers.most == 1


async def test_a_busy_key_does_not_hold_up_the_others() -> None:
    workers = Workers()
    items = [Item(number, "slow") for number in range(3)] + [Item("quick", "other")]
    await consume(Tray(items), workers, lanes=2, parked=5)
    assert workers.log[:2] == ["+0", "+quick"]


async def test_every_delivery_has_a_task_and_a_context_of_its_own() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("of the consumer")
    seen: list[str] = []
    tasks = set()

    async def handler(call: Call[Any]) -> None:
        seen.append(variable.get())
        variable.set(f"of item {call.payload}")
        tasks.add(asyncio.current_task())
        await asyncio.sleep(0)

    await consume(Tray(Item(number) for number in range(3)), handler)
    assert seen == ["unset"] * 3
    assert len(tasks) == 3


async def test_a_cancelled_consumer_settles_all_that_it_took_and_only_then_ends() -> None:
    workers = Workers()
    tray = Tray([Item(number, "abc"[number % 3]) for number in range(8)], idle=True)
    consumer = asyncio.create_task(consume(tray, workers, lanes=2, parked=6))
    await asyncio.sleep(1.5)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert [item.how for item in tray.taken] == ["done 0", "done 1"] + ["CancelledError"] * 6
    assert workers.inside == 0
    begun = [item for item in tray.taken if item.work is not None]
    assert len(begun) == 4, "the others never began, and are settled all the same"


async def test_cancelled_before_a_lanes_first_step() -> None:
    workers = Workers()
    tray = Tray([Item(1), Item(2)], idle=True)
    consumer = asyncio.create_task(consume(tray, workers, lanes=2))
    while not tray.taken:
        await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert [item.how for item in tray.taken] == ["CancelledError"] * len(tray.taken)
    assert len(workers.log) in (0, 2)


async def test_a_settlement_under_way_is_left_to_end() -> None:
    acknowledged = []

    async def acknowledge() -> None:
        await asyncio.sleep(1.0)
        acknowledged.append(True)

    async def handler(call: Call[Any]) -> str:
        return "x"

    tray = Tray([Item(1, settling=acknowledge)], idle=True)
    consumer = asyncio.create_task(consume(tray, handler))
    await asyncio.sleep(0.5)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert (acknowledged, tray.taken[0].how) == ([True], "done x")


async def test_who_asks_twice_does_not_wait_for_a_settlement() -> None:
    cut = []

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except CancelledError:
            cut.append(True)
            raise

    async def handler(call: Call[Any]) -> None:
        pass

    items = [Item(1, settling=hang), Item(2, "k", settling=hang), Item(3, "k", settling=hang)]
    consumer = asyncio.create_task(consume(Tray(items), handler, lanes=2, parked=1))
    for _ in range(4):
        await asyncio.sleep(0.5)
        consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert cut == [True, True, True]
    assert [len(item.outcomes) for item in items] == [1, 1, 1]


async def test_what_a_cancelled_settlement_leaves_does_not_keep_the_others_unsettled() -> None:
    async def interrupted() -> None:
        raise CancelledError

    async def hang(call: Call[Any]) -> None:
        await asyncio.get_running_loop().create_future()

    items = [Item(number, "k", settling=interrupted) for number in range(4)]
    consumer = asyncio.create_task(consume(Tray(items, idle=True), hang, parked=3))
    await asyncio.sleep(0.5)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert [item.how for item in items] == ["CancelledError"] * 4


async def test_a_failing_settlement_ends_the_consumer_after_the_rest_is_settled() -> None:
    async def fail() -> None:
        raise OSError("the broker is gone")

    workers = Workers()
    items = [Item(1, settling=fail), Item(2), Item(3), Item(4)]
    with pytest.raises(OSError, match="broker is gone"):
        await consume(Tray(items), workers, lanes=1, parked=2)
    assert [item.how for item in items[:3]] == ["done 1", "CancelledError", "CancelledError"]


async def test_nothing_begins_behind_a_settlement_that_failed() -> None:
    async def fail() -> None:
        raise OSError

    workers = Workers()
    items = [Item(1, "k", settling=fail), Item(2, "k"), Item(3, "other"), Item(4, "k")]
    with pytest.raises(OSError):
        await consume(Tray(items), workers, lanes=2, parked=8)
    assert [item.work is None for item in items] == [False, True, False, True]
    assert [item.how for item in items][1::2] == ["CancelledError", "CancelledError"]


async def test_a_failing_settlement_is_noticed_while_the_source_is_idle() -> None:
    async def fail() -> None:
        await asyncio.sleep(1.0)
        raise OSError("the broker is gone")

    async def handler(call: Call[Any]) -> None:
        pass

    async def main() -> None:
        try:
            await consume(Tray([Item(1, settling=fail)], idle=True), handler, lanes=4)
        finally:
            counts.append(working().cancelling())

    counts: list[int] = []
    with pytest.raises(OSError, match="broker is gone"):
        await asyncio.create_task(main())
    assert counts == [0]


async def test_a_failing_settlement_and_a_cancellation_at_once_is_a_cancellation() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    future: Future[None] = asyncio.get_running_loop().create_future()

    async def fail() -> None:
        await future
        raise OSError("the broker is gone")

    async def handler(call: Call[Any]) -> None:
        pass

    consumer = asyncio.create_task(
        consume(Tray([Item(1, settling=fail)], idle=True), handler, lanes=4)
    )
    await asyncio.sleep(0.5)
    future.set_result(None)
    await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert [str(context["exception"]) for context in told] == ["the broker is gone"]


async def test_what_take_raises_ends_the_consumer_after_the_rest_is_settled() -> None:
    class Breaks(Tray):
        async def take(self) -> Item | None:
            if len(self.taken) == 2:
                raise OSError("connection lost")
            return await super().take()

    tray, workers = Breaks(Item(number) for number in range(5)), Workers()
    with pytest.raises(OSError, match="connection lost"):
        await consume(tray, workers, lanes=4)
    assert [item.how for item in tray.taken] == ["CancelledError"] * 2


async def test_a_cancellation_while_it_closes_is_not_swallowed() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    class Breaks(Tray):
        async def take(self) -> Item | None:
            if self.taken:
                await asyncio.sleep(0.1)
                raise OSError("connection lost")
            return await super().take()

    async def stubborn(call: Call[Any]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(1.0)

    tray = Breaks([Item(1)])
    consumer = asyncio.create_task(consume(tray, stubborn, lanes=2))
    await asyncio.sleep(0.5)
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer
    assert [str(context["exception"]) for context in told] == ["connection lost"]
    assert [item.how for item in tray.taken] == ["CancelledError"]


class Breaking(Tray):
    """A source whose connection is lost when it is empty."""

    async def take(self) -> Item | None:
        if not self.items:
            raise OSError("connection lost")
        return await super().take()


async def hang(call: Call[Any]) -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_cancellation_while_the_rest_is_settled_is_not_swallowed_either() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    async def slowly() -> None:
        await asyncio.sleep(1.0)

    tray = Breaking([Item(1, "k"), Item(2, "k", settling=slowly), Item(3, "k")])
    task = asyncio.create_task(consume(tray, hang, parked=5))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert [item.how for item in tray.taken] == ["CancelledError"] * 3


async def test_what_fails_while_the_rest_is_settled_is_reported() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail() -> None:
        raise ValueError("the broker is gone, too")

    tray = Breaking([Item(1, "k"), Item(2, "k", settling=fail), Item(3, "k")])
    with pytest.raises(OSError, match="connection lost"):
        await consume(tray, hang, parked=5)
    assert [str(context["exception"]) for context in told] == ["the broker is gone, too"]
    assert [item.how for item in tray.taken] == ["CancelledError"] * 3


async def test_a_consumer_that_is_thrown_away_awaits_nothing_more() -> None:
    coroutine = consume(Tray([Item(1)]), hang)
    assert coroutine.send(None) is None
    coroutine.close()


async def test_one_delivery_called_off_by_its_entrance_leaves_the_others_alone() -> None:
    workers = Workers()
    items = [Item(number) for number in range(3)]
    consumer = asyncio.create_task(consume(Tray(items), workers, lanes=3))
    await asyncio.sleep(0.5)
    assert items[1].work is not None
    items[1].work.cancel()
    await consumer
    assert [item.how for item in items] == ["done 0", "CancelledError", "done 2"]


async def test_a_consumer_in_a_queue_loses_nothing_when_it_is_interrupted() -> None:
    """asyncio's own queue keeps the contract of `take`: what it cannot hand over, it keeps."""
    queue: Queue[Item] = Queue()

    class Queued:
        async def take(self) -> Item | None:
            return await queue.get()

    async def fail() -> None:
        raise OSError

    async def handler(call: Call[Any]) -> None:
        pass

    queue.put_nowait(Item(1, settling=fail))
    consumer = asyncio.create_task(consume(Queued(), handler, lanes=2))
    await turns()
    queue.put_nowait(Item(2))
    with pytest.raises(OSError):
        await consumer
    assert queue.qsize() == 1


async def test_nothing_is_kept_of_what_has_been_settled() -> None:
    tasks: list[weakref.ref[Any]] = []

    async def handler(call: Call[Any]) -> None:
        tasks.append(weakref.ref(asyncio.current_task()))

    class Key(str):
        __slots__ = ("__weakref__",)  # it can be watched

    items = [Item(number, Key(f"key {number}")) for number in range(20)]
    keys = [weakref.ref(item.call.key) for item in items]
    tray = Tray(items, idle=True)
    consumer = asyncio.create_task(consume(tray, handler, lanes=2))
    await asyncio.sleep(1.0)
    tray.taken.clear()
    items.clear()
    gc.collect()
    assert (len(tasks), [task() for task in tasks]) == (20, [None] * 20)
    assert [key() for key in keys] == [None] * 20
    consumer.cancel()
    with pytest.raises(CancelledError):
        await consumer


@pytest.mark.parametrize(("lanes", "parked"), [(0, 0), (-1, 0), (1, -1)])
async def test_lanes_and_places_out_of_range_are_refused(lanes: int, parked: int) -> None:
    with pytest.raises(ValueError, match="would be right"):
        await consume(Tray([]), Workers(), lanes=lanes, parked=parked)
