"""Whoever is called off, wherever and by whom: every permit comes home, and the figures add up."""

import asyncio
import contextlib
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchgear import (
    AdaptiveSettings,
    BreakerSettings,
    BulkheadSettings,
    Code,
    Fault,
    HedgeSettings,
    Policy,
    static,
    within,
)
from switchgear.core.observe import AttemptEnded, CallEnded, Overran
from switchgear.core.sweep import sweep_of
from switchgear.policy.verdict import BAD_AGAIN, GOOD, Health
from switchgear.testing import EventRecorder
from switchgear.testing.virtual import START, clock
from tests.support.cancel import Moment, Scene, everywhere

Loops = Callable[[], asyncio.AbstractEventLoop]


def tallied(policy: Policy) -> int:
    """Return how many calls were counted, however they ended."""
    figures = policy.statistics()["calls"]
    assert figures["zombies"] == 0
    return sum(int(figures[one]) for one in ("good", "failed", "neutral"))


# -- at every await

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "repeatable": {"repeatable": True},
    "key": {"key": lambda *_: "k"},
    "fallback": {"fallback": static("fallen back")},
    "coalesce": {"coalesce": lambda *_: 1},
    "hedge": {"repeatable": True, "hedge": HedgeSettings(samples=1, least=0.0)},
    "adaptive": {"adaptive": AdaptiveSettings(initial=4)},
    "observe": {"mode": "observe"},
    "timeout observed": {"mode": {"timeout": "observe"}},
    "nothing bounds it": {"deadline": None, "timeout": None},
    "off": {"mode": "off"},
}


class Flaky:
    """Waits a few times, and surely does nothing the first time."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        first = self.asked == 1
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        except CancelledError:
            await asyncio.sleep(0)  # a cleanup that waits
            raise
        if first:
            raise ConnectionRefusedError
        return "ok"


@pytest.mark.parametrize("decorated", [False, True], ids=["called", "decorated"])
@pytest.mark.parametrize("named", OPTIONS)
async def test_at_every_wait_of_a_call(named: str, decorated: bool) -> None:
    def make() -> Scene:
        policy = Policy(
            "mail",
            bulkhead=BulkheadSettings(permits=1, patience=1.0),
            random=lambda: 0.01,
            **OPTIONS[named],
        )
        flaky = Flaky()
        crowd: list[asyncio.Task[None]] = []

        async def occupy() -> None:
            async with policy:
                await asyncio.sleep(0.001)

        async def wrapped() -> str:
            return await flaky()

        async def work() -> None:
            crowd.append(asyncio.create_task(occupy()))
            await asyncio.sleep(0)
            with contextlib.suppress(ConnectionRefusedError):
                await (policy(wrapped)() if decorated else policy.call(flaky))

        async def tidy() -> None:
            await asyncio.gather(*crowd)
            for _ in range(5):  # what was left in tasks of its own
                await asyncio.sleep(0)

        def check(_: Scene) -> None:
            assert tallied(policy) in ((0,) if named == "off" else (1, 2))

        gates = [made for made in policy._made.values() if hasattr(made, "admit")]
        return Scene(work(), gates, tidy=tidy, check=check)

    moments = [Moment.ASLEEP, Moment.WOKEN]
    if named not in ("coalesce", "hedge"):  # thrown away, it leaves a task that ends by itself
        moments.append(Moment.CLOSED)
    await everywhere(make, least=2, moments=moments)


# -- work that does not end when it is called off


@pytest.mark.virtual
@pytest.mark.parametrize("options", [{}, {"key": lambda *_: "k"}, {"fallback": static("no")}])
@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_zombie_is_counted_while_it_goes_on_and_told_once(
    options: Any, repeatable: bool
) -> None:
    recorder = EventRecorder()
    policy = Policy(
        "mail", deadline=1.0, timeout=0.3, attempts=1, repeatable=repeatable, clock=clock,
        observe=recorder, **options,
    )  # fmt: skip
    limit = 0.3 if repeatable else 1.0
    bulkhead = policy._made["bulkhead"]

    async def clinging() -> str:
        try:
            await asyncio.sleep(9.0)
        except CancelledError:
            await asyncio.sleep(2.0)
        return "late"

    task = asyncio.create_task(policy.call(clinging))
    await asyncio.sleep(limit + 0.05)
    assert policy.statistics()["calls"]["zombies"] == 0, "it has a moment to end"
    assert recorder.count(Overran) == 0
    await asyncio.sleep(0.1)
    assert policy.statistics()["calls"]["zombies"] == 1
    assert policy.statistics()["breaker"]["out"] == policy.statistics()["bulkhead"]["out"] == 1
    assert bulkhead.overdue(clock()) == 1
    await asyncio.sleep(1.5)
    overran = recorder.one(Overran)
    assert overran.enforced
    assert overran.after == pytest.approx(0.1, abs=0.02)
    assert await task == "late", "what it made is there, and somebody may as well have it"
    assert clock() - START == pytest.approx(limit + 2.0, abs=0.02)
    assert recorder.one(AttemptEnded).verdict == recorder.one(CallEnded).verdict == BAD_AGAIN
    assert policy.statistics()["breaker"]["consecutive"] == 1
    assert policy.statistics()["calls"]["overran"] == 1
    assert bulkhead.overdue(clock()) == bulkhead.out == 0
    assert policy.statistics()["calls"]["failed"] == tallied(policy) == 1
    assert sweep_of(asyncio.get_running_loop(), clock).armed == 0


@pytest.mark.virtual
async def test_zombies_are_seen_below_layers_that_send_several_attempts() -> None:
    policy = Policy(
        "mail", deadline=1.0, timeout=0.3, repeatable=True, attempts=1, clock=clock,
        hedge=HedgeSettings(),
    )  # fmt: skip

    async def clinging() -> None:
        try:
            await asyncio.sleep(9.0)
        except CancelledError:
            await asyncio.sleep(2.0)
            raise

    task = asyncio.create_task(policy.call(clinging))
    await asyncio.sleep(0.5)
    assert policy.statistics()["calls"]["zombies"] == 1
    with pytest.raises(Fault):
        await task
    assert policy.statistics()["calls"]["zombies"] == 0
    assert policy.statistics()["calls"]["overran"] == 1
    assert tallied(policy) == 1


@pytest.mark.virtual
async def test_several_zombies_fill_the_bulkhead_and_open_the_breaker() -> None:
    policy = Policy(
        "mail", deadline=0.5, clock=clock, bulkhead=BulkheadSettings(permits=3, queue=0),
        breaker=BreakerSettings(consecutive=3), hurry=None, retry=None,
    )  # fmt: skip

    async def clinging() -> None:
        try:
            await asyncio.sleep(9.0)
        except CancelledError:
            await asyncio.sleep(3.0)

    tasks = [asyncio.create_task(policy.call(clinging)) for _ in range(3)]
    await asyncio.sleep(1.0)
    assert policy.statistics()["calls"]["zombies"] == 3
    assert policy._made["bulkhead"].overdue(clock()) == 3
    with pytest.raises(Fault, match="is full"):
        await policy.call(clinging)
    await asyncio.gather(*tasks)
    assert policy.statistics()["breaker"]["state"] == "open"
    assert policy._made["bulkhead"].overdue(clock()) == 0
    assert tallied(policy) == 4


@pytest.mark.virtual
async def test_a_caller_who_leaves_a_zombie_waits_for_it_and_it_is_late_all_the_same() -> None:
    recorder = EventRecorder()
    policy = Policy("mail", deadline=0.5, clock=clock, observe=recorder)

    async def clinging() -> None:
        for _ in range(2):
            with contextlib.suppress(CancelledError):
                await asyncio.sleep(1.0)
        await asyncio.sleep(1.0)

    task = asyncio.create_task(policy.call(clinging))
    await asyncio.sleep(0.8)
    assert policy.statistics()["calls"]["zombies"] == 1
    task.cancel()
    await asyncio.sleep(0.1)
    assert policy.statistics()["calls"]["zombies"] == 1, "it goes on"
    await task
    assert recorder.one(CallEnded).verdict == BAD_AGAIN
    assert tallied(policy) == 1


# -- threads


class Blocking:
    """A function that blocks until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(20.0), "nobody let it go"
        return "done"


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    made = Blocking()
    yield made
    made.go.set()


@pytest.mark.parametrize("how", ["decorated", "called"])
@pytest.mark.parametrize("options", [{}, {"key": lambda *_: "k"}, {"coalesce": lambda *_: 1}])
async def test_a_thread_keeps_its_place_and_the_breaker_hears_at_once(
    loop_factory: Loops, blocking: Blocking, how: str, options: Any
) -> None:
    recorder = EventRecorder()
    policy = Policy("mail", deadline=0.1, observe=recorder, hurry=None, **options)
    with pytest.raises(Fault) as caught:
        await (policy(blocking)() if how == "decorated" else policy.call_in_thread(blocking))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    figures = policy.statistics()
    assert figures["breaker"]["consecutive"] == 1, "it has heard already"
    assert figures["breaker"]["out"] == 0
    assert figures["bulkhead"]["out"] == 1, "and the thread goes on"
    assert figures["calls"]["zombies"] == figures["threads"]["lingering"] == 1
    assert recorder.count(Overran) == 1
    assert recorder.one(CallEnded).verdict.health is Health.BAD
    blocking.go.set()
    await until(lambda: policy.statistics()["bulkhead"]["out"] == 0)
    figures = policy.statistics()
    assert figures["calls"]["zombies"] == figures["threads"]["lingering"] == 0
    assert figures["breaker"]["consecutive"] == 1, "what it made is known too late to count"
    assert recorder.count(AttemptEnded) == recorder.count(CallEnded) == tallied(policy) == 1
    assert sweep_of(asyncio.get_running_loop(), policy._clock).armed == 0


async def test_the_places_of_threads_that_hang_are_given_to_nobody(
    loop_factory: Loops, blocking: Blocking
) -> None:
    policy = Policy(
        "mail", deadline=0.05, bulkhead=BulkheadSettings(permits=1, queue=0), attempts=1, hurry=None
    )
    with pytest.raises(Fault, match="no answer within"):
        await policy.call_in_thread(blocking)
    with pytest.raises(Fault, match="is full"):
        await policy.call_in_thread(str)
    blocking.go.set()
    await until(lambda: policy.statistics()["bulkhead"]["out"] == 0)
    assert await policy.call_in_thread(str) == ""


async def test_a_caller_who_leaves_a_thread_is_neutral_and_its_place_is_kept(
    loop_factory: Loops, blocking: Blocking
) -> None:
    recorder = EventRecorder()
    policy = Policy("mail", observe=recorder)
    task = asyncio.create_task(policy(blocking)())
    await until(blocking.begun.is_set)
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    figures = policy.statistics()
    assert (figures["breaker"]["out"], figures["bulkhead"]["out"]) == (0, 1)
    assert figures["calls"]["neutral"] == figures["calls"]["zombies"] == 1
    blocking.go.set()
    await until(lambda: policy.statistics()["bulkhead"]["out"] == 0)
    assert tallied(policy) == 1


async def test_a_retry_after_a_thread_that_hangs_takes_a_place_of_its_own(
    loop_factory: Loops, blocking: Blocking
) -> None:
    policy = Policy(
        "mail", timeout=0.05, repeatable=True, attempts=2, hurry=None,
        bulkhead=BulkheadSettings(permits=2, queue=0),
    )  # fmt: skip
    with pytest.raises(Fault):
        await policy.call_in_thread(blocking)
    assert policy.statistics()["bulkhead"]["out"] == policy.statistics()["calls"]["zombies"] == 2
    assert policy.statistics()["breaker"]["consecutive"] == 2
    blocking.go.set()
    await until(lambda: policy.statistics()["bulkhead"]["out"] == 0)
    assert tallied(policy) == 1


async def test_called_off_at_every_wait_of_a_thread(loop_factory: Loops) -> None:
    def make() -> Scene:
        policy = Policy("mail", bulkhead=BulkheadSettings(permits=1, patience=1.0))
        crowd: list[asyncio.Task[Any]] = []

        @policy
        def quick(number: int) -> int:
            return number

        async def work() -> None:
            crowd.append(asyncio.create_task(quick(0)))
            await asyncio.sleep(0)
            assert await quick(1) == 1

        async def tidy() -> None:
            await asyncio.gather(*crowd)
            await until(lambda: policy.statistics()["bulkhead"]["out"] == 0)
            await until(lambda: policy.statistics()["calls"]["zombies"] == 0)

        def check(scene: Scene) -> None:
            assert tallied(policy) <= 2
            assert policy.statistics()["calls"]["good"]

        return Scene(work(), list(policy._made.values())[1:], tidy=tidy, check=check)

    await everywhere(make, least=2, moments=[Moment.ASLEEP, Moment.WOKEN])


# -- the two meanings


@pytest.mark.virtual
async def test_called_off_by_its_time_and_its_caller_in_one_turn() -> None:
    """The caller gets his cancellation, the breaker the timeout."""
    recorder = EventRecorder()
    policy = Policy("mail", deadline=1.0, clock=clock, observe=recorder)

    async def ending() -> None:
        try:
            await asyncio.sleep(9.0)
        finally:
            task.cancel()
            await asyncio.sleep(0)

    task = asyncio.create_task(policy.call(ending))
    with pytest.raises(CancelledError):
        await task
    assert recorder.one(CallEnded).verdict == BAD_AGAIN
    assert tallied(policy) == 1


@pytest.mark.virtual
async def test_a_cancellation_of_its_own_making_is_the_works_and_not_the_callers() -> None:
    policy = Policy("mail", clock=clock)

    async def inside() -> str:
        try:
            async with asyncio.timeout(0.1):
                await asyncio.sleep(9.0)
        except TimeoutError:
            return "handled"
        return "not reached"

    assert await policy.call(inside) == "handled"
    assert policy.statistics()["calls"]["good"] == 1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.virtual
@pytest.mark.parametrize("inner", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("outer", [0.5, 1.0, 2.0])
async def test_policies_around_each_other_whoever_is_first(outer: float, inner: float) -> None:
    events = EventRecorder()
    policies = [
        Policy(name, deadline=deadline, clock=clock, observe=events, attempts=1)
        for name, deadline in (("outer", outer), ("inner", inner))
    ]
    with pytest.raises(Fault) as caught:
        await policies[0].call(policies[1].call, asyncio.sleep, 9.0)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert clock() - START == pytest.approx(min(outer, inner), abs=0.02)
    for policy in policies:
        assert tallied(policy) == 1
        assert policy.statistics()["bulkhead"]["out"] == 0
    inner_ended = events.one(CallEnded, name="inner").verdict
    # A caller who left it far less than the usual says nothing about the inner one.
    short = outer < 0.8 * inner
    assert inner_ended.health is (Health.NEUTRAL if short else Health.BAD)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert sweep_of(asyncio.get_running_loop(), clock).armed == 0


@pytest.mark.virtual
async def test_children_of_a_task_group_are_called_off_and_come_home() -> None:
    policy = Policy("mail", clock=clock, bulkhead=BulkheadSettings(permits=2, patience=1.0))

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise KeyError

    with pytest.raises(ExceptionGroup), within(2.0, clock=clock):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(policy.call(asyncio.sleep, 9.0))
            group.create_task(fail())
    assert policy.statistics()["bulkhead"]["out"] == 0
    assert policy.statistics()["bulkhead"]["waiting"] == 0
    assert policy.statistics()["calls"]["neutral"] == 3


@pytest.mark.virtual
async def test_an_answer_that_streams_holds_its_permits_until_it_ends() -> None:
    policy = Policy("mail", clock=clock)

    class Stream:
        def __init__(self) -> None:
            self.done: list[Callable[[Any], None]] = []

        def on_end(self, done: Callable[[Any], None], /) -> None:
            self.done.append(done)

        def abandon(self) -> None: ...

    async def stream() -> Stream:
        return Stream()

    answer = await policy.call(stream)
    await asyncio.sleep(9.0)
    assert policy.statistics()["bulkhead"]["out"] == 1
    assert tallied(policy) == 0
    answer.done[0](GOOD)
    assert policy.statistics()["bulkhead"]["out"] == 0
    assert policy.statistics()["breaker"]["out"] == 0
    assert policy.statistics()["calls"]["good"] == 1
