"""Coalescing: one run for all who ask the same at the same time, and nobody pays for another."""

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from switchgear.core.ambient import ambient
from switchgear.core.coalesce import _flying, coalescing
from switchgear.core.drivers import step
from switchgear.core.observe import Coalesced
from switchgear.core.sweep import TICK, sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault, Refusal
from switchgear.policy.verdict import NEUTRAL
from switchgear.testing.virtual import START, clock
from tests.support.cancel import turns
from tests.support.core import Stream

pytestmark = pytest.mark.virtual

mine: ContextVar[str] = ContextVar("mine", default="nobody's")


failures: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def nothing_fails_behind_the_back() -> Iterator[None]:
    failures.clear()
    yield
    assert failures == []
    assert not flying()


def flying() -> set[asyncio.Task[Any]]:
    """Return the tasks that are held until they have ended, on all loops."""
    return {task for tasks in _flying._kept.values() for task in tasks}


def ask(key: str | None = "key", left: float = 3.0) -> Call[Any]:
    return Call(key, clock() + left)


class Work:
    """Takes a second, unless told otherwise, and counts its runs."""

    def __init__(self, seconds: float = 1.0, answer: Any = None, bounded: bool = False) -> None:
        self.seconds = seconds
        self.answer = answer
        self.bounded = bounded
        self.calls: list[Call[Any]] = []
        self.called_off = 0

    async def __call__(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        number = len(self.calls)
        try:
            async with asyncio.timeout_at(call.deadline if self.bounded else None):
                await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        except TimeoutError:
            raise Fault(Code.DEADLINE_EXCEEDED, f"run {number}") from None
        answer = self.answer(number) if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer if self.answer is not None else f"answer {number}"


class Shared:
    """Work behind the layer, with the events that it told."""

    def __init__(self, work: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        self.events: list[Any] = []
        self.layer = coalescing(
            lambda call: call.payload, name="mail", clock=clock, tell=self.events.append
        )
        self.run = self.layer(work)

    def ask(self, key: str | None = "key", left: float = 3.0) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.run(ask(key, left)))

    def over(self, begun: int, joined: int) -> None:
        assert self.layer.statistics() == {"flights": 0, "begun": begun, "joined": joined}
        assert self.events == [Coalesced("mail")] * joined
        assert [table.flights for table in self.layer._tables] == [{}] * len(self.layer._tables)


async def test_calls_at_the_same_time_share_one_run() -> None:
    work = Work()
    shared = Shared(work)
    asked = [shared.ask()]
    await asyncio.sleep(0.5)
    asked += [shared.ask(), shared.ask()]
    await turns()
    assert shared.layer.statistics() == {"flights": 1, "begun": 1, "joined": 2}
    assert await asyncio.gather(*asked) == ["answer 1"] * 3
    assert clock() == START + 1.0
    shared.over(1, 2)


async def test_a_later_call_gets_a_run_of_its_own() -> None:
    shared = Shared(Work())
    assert await shared.run(ask()) == "answer 1"
    assert await shared.run(ask()) == "answer 2"
    shared.over(2, 0)


async def test_other_keys_and_none_are_not_shared() -> None:
    work = Work()
    shared = Shared(work)
    asked = [shared.ask(key) for key in ("a", "b", None, None)]
    await turns()
    assert shared.layer.statistics() == {"flights": 2, "begun": 2, "joined": 0}
    assert len(set(await asyncio.gather(*asked))) == 4
    shared.over(2, 0)


async def test_every_handler_has_flights_of_its_own() -> None:
    shared = Shared(Work(answer="one"))
    other = shared.layer(Work(answer="other"))
    task = asyncio.create_task(other(ask()))
    assert [await shared.run(ask()), await task] == ["one", "other"]
    shared.over(2, 0)


async def test_an_error_is_shared_and_does_not_grow() -> None:
    error = Fault(Code.NOT_FOUND)
    shared = Shared(Work(answer=lambda _: error))
    lengths: list[int] = []

    async def one(number: int) -> None:
        try:
            raise KeyError(number)
        except KeyError:
            with pytest.raises(Fault) as caught:
                await shared.run(ask())
            assert caught.value is error
            lengths.append(len(caught.traceback))

    await asyncio.gather(*(one(number) for number in range(50)))
    assert len(lengths) == 50
    assert len(set(lengths)) == 1
    assert error.__context__ is None, "it must not tell one caller what another one was at"
    shared.over(1, 49)


async def test_who_leaves_harms_no_other() -> None:
    for leaver in (0, 1, 2):
        work = Work()
        shared = Shared(work)
        asked = [shared.ask() for _ in range(3)]
        await asyncio.sleep(0.5)
        asked.pop(leaver).cancel()
        await turns()
        assert shared.layer.statistics()["flights"] == 1
        assert await asyncio.gather(*asked) == ["answer 1"] * 2
        assert work.called_off == 0
        shared.over(1, 2)


async def test_when_the_last_one_leaves_it_is_called_off_and_nobody_joins_it() -> None:
    work = Work()
    shared = Shared(work)
    asked = [shared.ask(), shared.ask()]
    await asyncio.sleep(0.5)
    for task in asked:
        task.cancel()
    late = shared.ask()
    await asyncio.gather(*asked, return_exceptions=True)
    await turns()
    assert work.called_off == 1
    assert await late == "answer 2"
    shared.over(2, 1)


async def test_work_that_was_called_off_before_its_first_step_leaves_nothing() -> None:
    work = Work()
    shared = Shared(work)
    coroutine = shared.run(ask())
    coroutine.send(None)  # it has begun a flight, whose task has not had a step
    coroutine.close()
    await turns()
    assert work.calls == []
    shared.over(1, 0)


async def test_each_waits_until_its_own_deadline_and_the_work_goes_on() -> None:
    work = Work(seconds=2.0)
    shared = Shared(work)
    first = shared.ask(left=10.0)
    await turns()
    with pytest.raises(Fault, match="the shared work went on past the deadline") as caught:
        await shared.run(ask(left=1.0))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.origin == "mail"
    assert START + 1.0 <= clock() <= START + 1.03
    assert await first == "answer 1"
    assert clock() == START + 2.0
    shared.over(1, 1)


async def test_the_last_deadline_calls_the_work_off() -> None:
    work = Work(seconds=50.0)
    shared = Shared(work)
    with pytest.raises(Fault):
        await shared.run(ask(left=1.0))
    await turns()
    assert work.called_off == 1
    shared.over(1, 0)


async def test_a_fault_of_the_work_at_the_deadline_is_told_rather_than_ours() -> None:
    shared = Shared(Work(seconds=50.0, bounded=True))
    with pytest.raises(Fault, match="run 1"):
        await shared.run(ask(left=1.0))
    shared.over(1, 0)


async def test_a_later_deadline_is_not_failed_by_an_earlier_one() -> None:
    work = Work(seconds=2.0, bounded=True)
    shared = Shared(work)
    first = shared.ask(left=1.5)
    second = shared.ask(left=2.9)  # joins: the flight has more than half of its time
    third = shared.ask(left=2.9)
    with pytest.raises(Fault, match="run 1"):
        await first
    work.seconds = 1.0
    assert await second == await third == "answer 2"
    assert [one.deadline for one in work.calls] == [START + 1.5, START + 2.9]
    shared.over(2, 3)


async def test_a_flight_with_too_little_time_is_not_joined_and_gives_its_place() -> None:
    work = Work(seconds=0.8, bounded=True)
    shared = Shared(work)
    first = shared.ask(left=1.0)
    await asyncio.sleep(0.1)
    second = shared.ask(left=1.9)  # 0.9 left of its 1.9: less than half
    third = shared.ask(left=1.9)
    await turns()
    assert shared.layer.statistics() == {"flights": 1, "begun": 2, "joined": 1}
    assert await first == "answer 1"
    assert shared.layer.statistics()["flights"] == 1, "it was not its place that it left"
    assert list(await asyncio.gather(second, third)) == ["answer 2", "answer 2"]
    shared.over(2, 1)


async def test_half_of_the_time_is_just_enough() -> None:
    shared = Shared(Work(seconds=0.8))
    asked = [shared.ask(left=1.0), shared.ask(left=2.0)]
    await asyncio.gather(*asked)
    shared.over(1, 1)


async def test_calls_without_end_share_too() -> None:
    shared = Shared(Work())
    asked = [shared.ask(left=float("inf")) for _ in range(2)]
    await asyncio.gather(*asked)
    shared.over(1, 1)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED), True),
        (Fault(Code.DEADLINE_EXCEEDED), False),  # an attempt's, long before the deadline
        (Fault(Code.UNAVAILABLE, refusal=Refusal.HURRIED), False),
        (ValueError("a defect"), False),
    ],
)
async def test_only_want_of_time_is_asked_again(error: Exception, again: bool) -> None:
    work = Work(answer=lambda number: error if number == 1 else "answer")
    shared = Shared(work)
    first, second = shared.ask(left=2.0), shared.ask(left=3.0)
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert list(results) == [error, "answer" if again else error]
    shared.over(1 + again, 1)


async def test_the_same_deadline_is_not_asked_again() -> None:
    error = Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED)
    work = Work(answer=lambda number: error)
    shared = Shared(work)
    asked = [shared.ask(), shared.ask()]
    assert await asyncio.gather(*asked, return_exceptions=True) == [error, error]
    assert len(work.calls) == 1
    shared.over(1, 1)


async def test_work_that_fails_past_the_deadline_of_all_is_not_asked_again() -> None:
    """It ends in the tick between the later deadline and its alarm."""
    error = Fault(Code.DEADLINE_EXCEEDED)
    work = Work(seconds=1.005, answer=lambda number: error)
    shared = Shared(work)
    asked = [shared.ask(left=1.0), shared.ask(left=1.004)]
    assert await asyncio.gather(*asked, return_exceptions=True) == [error, error]
    assert len(work.calls) == 1
    work = Work(seconds=1.25, answer=lambda number: error)
    shared = Shared(work)
    asked = [shared.ask(left=1.0), shared.ask(left=clock() + 1.25 - clock())]  # to the instant
    await asyncio.gather(*asked, return_exceptions=True)
    assert len(work.calls) == 1


async def test_a_call_whose_deadline_has_passed_is_the_handlers_to_refuse() -> None:
    work = Work(seconds=0.0)
    shared = Shared(work)
    assert await shared.run(ask(left=0.0)) == "answer 1"
    shared.over(0, 0)


async def test_the_work_runs_in_a_context_of_its_own() -> None:
    seen: list[Any] = []

    async def look(call: Call[Any]) -> str:
        seen.append((mine.get(), ambient.get()))
        mine.set("the work's")
        return "answer"

    shared = Shared(look)
    mine.set("the caller's")
    await shared.run(ask())
    assert seen == [("nobody's", None)]
    assert mine.get() == "the caller's"


async def test_a_stream_goes_to_one_and_the_others_run_for_themselves() -> None:
    streams = [Stream(), Stream(), Stream()]
    work = Work(answer=lambda number: streams[number - 1])
    shared = Shared(work)
    asked = [shared.ask() for _ in range(3)]
    got = await asyncio.gather(*asked)
    assert got[0] is streams[0]
    assert set(got) == set(streams)
    assert all(stream.ended is None for stream in streams)
    shared.over(1, 2)


async def test_a_stream_goes_to_the_first_who_is_still_there() -> None:
    streams = [Stream(), Stream()]
    work = Work(answer=lambda number: streams[number - 1])
    shared = Shared(work)
    asked = [shared.ask() for _ in range(3)]
    await asyncio.sleep(0.5)
    asked.pop(0).cancel()
    assert await asyncio.gather(*asked) == streams


async def test_a_stream_outlives_one_who_did_not_get_it() -> None:
    loop = asyncio.get_running_loop()
    stream = Stream()
    asked: list[asyncio.Task[Any]] = []

    async def answer(call: Call[Any]) -> Stream:
        await asyncio.sleep(0.5)
        # Between the landing and the waking.
        loop.call_soon(lambda: loop.call_soon(asked[1].cancel))
        return stream

    shared = Shared(answer)
    asked += [shared.ask(), shared.ask()]
    assert await asked[0] is stream
    with pytest.raises(asyncio.CancelledError):
        await asked[1]
    assert stream.ended is None


async def test_work_that_was_called_off_is_held_until_it_has_ended() -> None:
    async def slowly(call: Call[Any]) -> None:
        try:
            await asyncio.sleep(5.0)
        finally:
            await asyncio.sleep(1.0)

    shared = Shared(slowly)
    task = shared.ask()
    await turns()
    task.cancel()
    await turns()
    assert task.done()
    assert len(flying()) == 1, "the loop would forget it"
    shared.over(1, 0)
    await asyncio.sleep(1.1)


async def test_a_stream_that_nobody_takes_is_ended() -> None:
    stream = Stream()

    async def stubborn(call: Call[Any]) -> Stream:
        try:
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            pass
        return stream

    shared = Shared(stubborn)
    task = shared.ask()
    await turns()
    task.cancel()
    await turns()
    assert stream.ended == NEUTRAL
    shared.over(1, 0)


async def test_work_that_somebody_else_calls_off_is_a_fault_for_those_who_wait() -> None:
    async def gone(call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    shared = Shared(gone)
    with pytest.raises(Fault, match="mail: the shared work was called off") as caught:
        await shared.run(ask())
    assert (caught.value.code, caught.value.origin) == (Code.CANCELLED, "mail")
    shared.over(1, 0)


async def test_who_leaves_in_the_turn_in_which_the_answer_has_come_has_left() -> None:
    loop = asyncio.get_running_loop()
    asked: list[asyncio.Task[Any]] = []

    async def answer(call: Call[Any]) -> str:
        await asyncio.sleep(0.5)
        # Between the landing and the waking.
        loop.call_soon(lambda: loop.call_soon(asked[0].cancel))
        return "answer"

    shared = Shared(answer)
    asked += [shared.ask(), shared.ask()]
    assert await asked[1] == "answer"
    with pytest.raises(asyncio.CancelledError):
        await asked[0]
    shared.over(1, 1)


class Leave:
    """An alarm by which a caller leaves in the very turn in which its time is over."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task

    def ring(self) -> None:
        self.task.cancel()


async def test_who_leaves_in_the_turn_in_which_the_time_is_over_has_left() -> None:
    work = Work(seconds=50.0)
    shared = Shared(work)
    asked = [shared.ask(left=1.0) for _ in range(40)]
    await turns()
    sweep = sweep_of(asyncio.get_running_loop(), clock)
    for task in asked:  # a slot is a set: some leave before their alarm rings, and some after
        sweep.arm(START + 1.0 + TICK, Leave(task))
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    await turns()
    assert work.called_off == 1
    assert sweep.armed == 0
    shared.over(1, 39)


async def test_a_key_that_fails_fails_the_call() -> None:
    def no_key(call: Call[Any]) -> str:
        raise KeyError("no key")

    with pytest.raises(KeyError):
        await coalescing(no_key, name="mail", clock=clock)(Work())(ask())


async def test_what_fails_before_the_work_begins_leaves_no_entry() -> None:
    work = Work()
    layer = coalescing(lambda call: call.payload, name="mail", clock=clock)
    run = layer(work)
    for _ in range(2):
        with pytest.raises(TypeError, match="unhashable"):
            await run(Call([], clock() + 3.0))
    assert work.calls == []

    def no_work(call: Call[Any]) -> Any:
        raise KeyError("no work")

    with pytest.raises(KeyError):
        await layer(no_work)(ask())
    assert layer.statistics() == {"flights": 0, "begun": 0, "joined": 0}


async def test_it_works_under_a_stepper() -> None:
    shared = Shared(Work())
    answers: list[Any] = []

    async def one() -> None:
        answers.append(await shared.run(ask()))

    step(one())
    step(one())
    await asyncio.sleep(1.1)
    assert answers == ["answer 1", "answer 1"]
    shared.over(1, 1)


@pytest.mark.parametrize("collected", ["before", "after"])
def test_a_loop_that_was_closed_over_a_flight_is_forgotten_and_no_other(collected: str) -> None:
    layer = coalescing(lambda call: "key", name="mail")
    run = layer(Work(seconds=30.0))
    loops = [asyncio.new_event_loop() for _ in range(3)]
    waiting: list[Any] = []

    async def begin() -> None:
        waiting.append(run(Call(None, float("inf"))))
        step(waiting[-1])

    loops[0].run_until_complete(begin())
    (lost,) = flying()
    lost._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather does
    loops[0].close()
    if collected == "before":
        waiting[0].close()
    assert layer.statistics()["flights"] == (collected == "after")
    loops[1].run_until_complete(begin())
    loops[2].run_until_complete(begin())
    assert layer.statistics() == {"flights": 2, "begun": 3, "joined": 0}
    assert set(layer._tables[0].flights) == set(loops[1:])
    waiting[0].close()
    coroutine = lost.get_coro()
    assert coroutine is not None
    coroutine.close()
    for loop in loops[1:]:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert layer._tables[0].flights == {}


def test_the_layer_says_what_it_is() -> None:
    words = coalescing(lambda call: None, name="mail").__name__
    assert words == "one run for all who ask the same"
