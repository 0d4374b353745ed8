"""Queues before a gate: no permit is lost between the one who leaves and the one who is let in."""

import asyncio
from asyncio import CancelledError, Future
from typing import Any

import pytest

from switchgear.core import permits
from switchgear.core.drivers import step
from switchgear.core.frames import Frame, Kit, Timeout
from switchgear.core.handler import Handler
from switchgear.core.observe import Refusing
from switchgear.core.permits import settle
from switchgear.core.sweep import sweep_of
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import GOOD, NEUTRAL, NEUTRAL_AGAIN, Verdict
from switchgear.testing.virtual import START, clock
from tests.support.cancel import turns
from tests.support.core import Door, Plain, Stream, call, retry

pytestmark = pytest.mark.virtual


class Doors:
    """A bulkhead of one permit, and a handler that waits until it is let go."""

    def __init__(self, *before: Any, queue: int = 8, patience: float = 1.0) -> None:
        settings = BulkheadSettings(permits=1, queue=queue, patience=patience, standing=1000.0)
        self.bulkhead = Bulkhead("db", settings)
        self.inside: list[tuple[object, Future[None]]] = []
        self.events: list[Any] = []
        kit = Kit("db", self.events.append, clock=clock)
        gates = [*before, self.bulkhead]
        self.run: Handler[Any, Any] = Frame(kit, self.work, gates=gates, timeout=Timeout(30.0)).run

    async def work(self, call: Call[Any]) -> object:
        future: Future[None] = asyncio.get_running_loop().create_future()
        self.inside.append((call.payload, future))
        await future
        return call.payload

    def task(self, name: str, deadline: float = 30.0, **fields: Any) -> "asyncio.Task[Any]":
        given: Call[Any] = Call(name, clock() + deadline, **fields)
        return asyncio.create_task(_run(self.run, given))

    def let_go(self) -> None:
        self.inside.pop(0)[1].set_result(None)

    def names(self) -> list[object]:
        return [name for name, _ in self.inside]

    def assert_empty(self) -> None:
        figures = self.bulkhead.statistics()
        assert (figures["out"], figures["waiting"], figures["free"]) == (0, 0, 1)
        assert sweep_of(asyncio.get_running_loop(), clock).armed == 0


async def _run(run: Handler[Any, Any], given: Call[Any]) -> Any:
    return await run(given)


async def test_the_next_in_line_is_woken_by_a_settlement() -> None:
    doors = Doors()
    tasks = [doors.task(name) for name in "abc"]
    await turns()
    for name in "abc":
        assert doors.names() == [name]
        doors.let_go()
        await turns()
    assert [await task for task in tasks] == ["a", "b", "c"]
    doors.assert_empty()


async def test_cancelled_while_queued() -> None:
    doors = Doors()
    first, second, third = (doors.task(name) for name in "abc")
    await turns()
    second.cancel()
    await turns()
    assert second.cancelled()
    assert doors.bulkhead.statistics()["waiting"] == 1
    doors.let_go()
    await turns()
    doors.let_go()
    assert [await first, await third] == ["a", "c"]
    doors.assert_empty()


@pytest.mark.parametrize("acts", ["let go, cancel", "cancel, let go"])
async def test_cancelled_in_the_same_turn_as_admitted(acts: str) -> None:
    doors = Doors()
    first, second, third = (doors.task(name) for name in "abc")
    await turns()
    for act in acts.split(", "):
        doors.let_go() if act == "let go" else second.cancel()
    await turns()
    assert second.cancelled()
    assert doors.names() == ["c"], "the place of who left goes to the next"
    doors.let_go()
    assert [await first, await third] == ["a", "c"]
    doors.assert_empty()


async def test_let_in_and_cancelled_before_it_woke() -> None:
    """The narrow case, by hand: the permit is out, and nobody has heard of it yet."""
    doors = Doors()
    hold = doors.bulkhead.admit(ANYONE, clock())
    assert isinstance(hold, Permit)
    second, third = doors.task("b"), doors.task("c")
    await turns()
    (woken,) = doors.bulkhead.settle(hold, GOOD, clock())
    woken.wake.set_result(None)
    second.cancel()
    await turns()
    assert second.cancelled()
    assert doors.names() == ["c"]
    doors.let_go()
    assert await third == "c"
    doors.assert_empty()


async def test_a_stepped_waiter_is_let_in_too() -> None:
    doors = Doors()
    done: list[Any] = []

    async def stepped() -> None:
        done.append(await doors.run(Call("s", clock() + 30.0)))

    first = doors.task("a")
    await turns()
    stepper = step(stepped())
    doors.let_go()
    await turns()
    assert doors.names() == ["s"]
    doors.let_go()
    await turns()
    assert (done, stepper.ended, await first) == (["s"], True, "a")
    doors.assert_empty()


async def test_a_place_that_is_too_old_is_refused_in_the_words_of_the_gate() -> None:
    doors = Doors(patience=0.1)
    first = doors.task("a")
    await turns()
    began = clock()
    with pytest.raises(Fault) as caught:
        await doors.run(call(began + 10.0))
    assert caught.value.refusal is Refusal.FULL
    assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    assert "a waiter of bulkhead 'db' was not served in 1" in caught.value.detail
    assert began + 1.0 <= clock() <= began + 1.02
    assert [type(event) for event in doors.events][:1] == [Refusing]
    doors.let_go()
    await first
    doors.assert_empty()


async def test_a_place_that_is_answered_in_the_turn_of_its_alarm_is_let_in() -> None:
    doors = Doors()
    first, second = doors.task("a"), doors.task("b")
    await turns()
    (waiting,) = (one for line in doors.bulkhead._lines for one in line)
    doors.let_go()
    waiting.wake.set_result(None)  # as its alarm does
    await turns()
    assert doors.names() == ["b"]
    doors.let_go()
    assert [await first, await second] == ["a", "b"]
    doors.assert_empty()


async def test_a_full_queue_is_a_refusal_that_is_told() -> None:
    doors = Doors(queue=0)
    first = doors.task("a")
    await turns()
    with pytest.raises(Fault, match="is full"):
        await doors.run(call(START + 30))
    told = doors.events[0]
    assert (told.name, told.gate) == ("db", "db")
    assert "1 of 1 permits out" in told.detail
    doors.let_go()
    await first
    doors.assert_empty()


async def test_a_probe_that_leaves_the_queue_does_not_keep_the_breaker_half_open() -> None:
    breaker = Breaker("db", BreakerSettings(consecutive=1, open_for=1.0), jitter=lambda: 0.5)
    doors = Doors(breaker)
    hold = doors.bulkhead.admit(ANYONE, clock())
    assert isinstance(hold, Permit)
    breaker.force_open(clock())
    breaker._forced = False
    breaker._open_until = clock()
    probe = doors.task("probe")
    await turns()
    assert breaker.state.value == "half_open"
    assert not breaker.available(clock())
    probe.cancel()
    await turns()
    assert breaker.available(clock()), "the probe's place is free again"
    doors.bulkhead.settle(hold, GOOD, clock())
    assert breaker.statistics()["out"] == 0
    doors.assert_empty()


async def test_waiting_in_our_own_queue_is_not_the_dependencys_slowness() -> None:
    settings = BreakerSettings(calls=1, slow=0.1, slow_after=1.0)
    breaker = Breaker("db", settings, jitter=lambda: 0.5)
    doors = Doors(breaker)
    first, second = doors.task("a"), doors.task("b")
    await turns()
    doors.inside[0][1].get_loop().call_later(0.5, doors.let_go)
    await first
    await asyncio.sleep(0.9)  # of the second's own
    doors.let_go()
    assert await second == "b"
    assert breaker.state.value == "closed", "0.5 s of queue and 0.9 s of work are not 1.4 of work"
    doors.assert_empty()


async def test_gates_before_a_refusal_get_their_permits_back_as_neutral() -> None:
    first, last = Door("first"), Door("last")
    refused = Refused(Refusal.LIMITED, "spent", 2.0)
    middle = Door("middle", [refused])
    run = Frame(Kit("x", clock=clock), _never, gates=[first, middle, last]).run
    with pytest.raises(Fault) as caught:
        await run(call(START + 3))
    assert (caught.value.code, caught.value.retry_after) == (Code.RESOURCE_EXHAUSTED, 2.0)
    verdict = NEUTRAL_AGAIN._replace(after=2.0)
    assert (first.verdicts, middle.verdicts, last.asks) == ([verdict], [], [])


async def _never(call: Call[Any]) -> None:
    raise AssertionError("it was not to be tried")


async def test_a_gate_is_asked_with_what_the_call_says() -> None:
    door = Door()

    async def nothing(call: Call[Any]) -> None:
        pass

    given = call(START + 3, key="ada", priority=9)
    await Frame(Kit("x", clock=clock), nothing, gates=[door]).run(given)
    assert door.asks == [Ask("ada", 1, 9, START + 3)]


async def test_permits_are_settled_from_the_inside_out() -> None:
    log: list[Any] = []
    doors = [Door(name, log=log) for name in "abc"]

    async def work(call: Call[Any]) -> None:
        log.append("work")

    await Frame(Kit("x", clock=clock), work, gates=doors).run(call(START + 3))
    assert log == [*((name, "admit") for name in "abc"), "work", *((n, GOOD) for n in "cba")]


async def test_a_gate_that_breaks_does_not_keep_the_others_permits() -> None:
    class Broken(Door):
        def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
            super().settle(permit, verdict, now)
            raise ZeroDivisionError

    outer, broken, inner = Door("outer"), Broken("broken"), Door("inner")

    async def nothing(call: Call[Any]) -> None:
        pass

    with pytest.raises(ZeroDivisionError):
        await Frame(Kit("x", clock=clock), nothing, gates=[outer, broken, inner]).run(call(START))
    assert (outer.verdicts, inner.verdicts) == ([GOOD], [GOOD])


@pytest.mark.parametrize("ends", ["fails", "streams"])
async def test_nor_where_the_call_fails_or_streams(ends: str) -> None:
    class Broken(Door):
        def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
            super().settle(permit, verdict, now)
            raise ZeroDivisionError

    outer, broken, inner = Door("outer"), Broken("broken"), Door("inner")
    answer = Stream()

    async def work(call: Call[Any]) -> Stream:
        if ends == "fails":
            raise ValueError("a defect")
        return answer

    run = Frame(Kit("x", clock=clock), work, gates=[outer, broken, inner]).run
    with pytest.raises(ZeroDivisionError):
        await run(call(START))
        answer.end(GOOD)
    assert len(outer.verdicts) == len(inner.verdicts) == 1


async def test_a_gate_that_says_nothing_to_whom_it_let_wait_too_long() -> None:
    class Silent(Door):
        def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
            return Waiting(ask, now, now + 1.0)

        def abandon(self, waiting: Waiting, now: float) -> None:
            self.log.append("left")

    door = Silent("silent")
    with pytest.raises(Fault, match=r"^silent had no room for 1\.0\d* s$") as caught:
        await Frame(Kit("x", clock=clock), _never, gates=[door]).run(call(START + 3))
    assert (caught.value.refusal, door.log) == (Refusal.FULL, ["left"])


async def test_an_outer_gate_may_queue_too() -> None:
    before, bulkhead = Door("before"), Bulkhead("db", BulkheadSettings(permits=1, patience=1.0))
    inner, events = Door("inner"), list[Any]()
    hold = bulkhead.admit(ANYONE, clock())
    assert isinstance(hold, Permit)
    asyncio.get_running_loop().call_later(
        1.0, lambda: settle((bulkhead, hold, None), GOOD, clock())
    )

    async def work(call: Call[Any]) -> None:
        await asyncio.sleep(0.25)

    kit = Kit("x", events.append, clock=clock)
    parts = {"retry": retry(Plain([])), "outer": [before, bulkhead], "gates": [inner]}
    await Frame(kit, work, **parts).run(given := call(START + 3))  # type: ignore[arg-type]  # a mix
    assert before.permits[0].at == inner.permits[0].at == START + 1.0
    assert [round(event.elapsed, 6) for event in events] == [0.25, 1.25]
    assert given.trail.attempts == 1
    assert bulkhead.statistics()["out"] == 0


async def test_a_queued_coroutine_that_is_thrown_away_leaves_its_place() -> None:
    door = Door()
    doors = Doors(door)
    first = doors.task("a")
    await turns()
    coroutine = doors.run(call(START + 30))
    waited = coroutine.send(None)
    assert doors.bulkhead.statistics()["waiting"] == 1
    coroutine.close()
    assert waited is not None
    assert doors.bulkhead.statistics()["waiting"] == 0
    doors.let_go()
    await first
    assert door.verdicts == [NEUTRAL, GOOD]
    doors.assert_empty()


async def test_many_who_come_and_go_lose_no_wake_up() -> None:
    """Every permit that comes free finds somebody who waits, whoever has left in between."""
    doors = Doors(queue=64)
    tasks = [doors.task(str(number)) for number in range(40)]
    await turns()
    for number in range(1, 40, 3):
        tasks[number].cancel()
        if number % 2:
            await asyncio.sleep(0)
    while doors.inside:
        doors.let_go()
        await turns()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, CancelledError) for one in ended) == 13
    assert sum(isinstance(one, str) for one in ended) == 27
    doors.assert_empty()


class Slow:
    """A gate that lets everybody wait, and answers when the test says so."""

    name = "slow"

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []

    def admit(self, ask: Ask, now: float) -> Waiting:
        self.waiting.append(Waiting(ask, now, now + 1.0))
        return self.waiting[-1]

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        raise AssertionError("nobody was let in")

    def abandon(self, waiting: Waiting, now: float) -> None:
        raise AssertionError("it had its answer")

    def statistics(self) -> dict[str, float | str]:
        return {}


@pytest.mark.virtual
async def test_refused_and_called_off_in_the_same_turn() -> None:
    gate = Slow()
    run = Frame(Kit("x", clock=clock), _never, gates=[gate]).run
    task = asyncio.create_task(run(call(START + 3)))
    await asyncio.sleep(0)
    gate.waiting[0].answer = Refused(Refusal.FULL, "full")
    gate.waiting[0].wake.set_result(None)
    task.cancel()
    with pytest.raises(CancelledError):
        await task


@pytest.mark.virtual
async def test_the_bell_of_one_who_is_awake_does_nothing() -> None:
    """An answer and the alarm may come in one turn of the loop."""
    future: Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    permits._Bell(future).ring()
    assert future.result() is None


@pytest.mark.virtual
async def test_a_desk_is_found_once_for_a_loop() -> None:
    kit = Kit("x", clock=clock)
    assert kit.desk() is kit.desk()
