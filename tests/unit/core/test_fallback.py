"""Fallbacks: they speak for a dependency that gave no answer, and for no other."""

import asyncio
from typing import Any

import pytest

from switchgear.core.drivers import step
from switchgear.core.fallback import (
    GRACE,
    Fallback,
    Stale,
    computed,
    falling_back,
    static,
)
from switchgear.core.observe import FellBack
from switchgear.core.sweep import sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault, Refusal
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, NEUTRAL_AGAIN, Verdict
from switchgear.testing.virtual import START, clock
from tests.support.core import Stream, call

pytestmark = pytest.mark.virtual


class Dependency:
    """Answers or raises what it is told to."""

    def __init__(self, *does: Any) -> None:
        self.does = list(does)

    async def __call__(self, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        what = self.does.pop(0)
        if isinstance(what, BaseException):
            raise what
        return what


class Guarded:
    """A dependency behind one fallback."""

    def __init__(self, fallback: Fallback, *does: Any, judge: Any = None) -> None:
        self.events: list[Any] = []
        self.layer = falling_back(
            fallback, name="mail", clock=clock, tell=self.events.append, judge=judge
        )
        self.run = self.layer(Dependency(*does))


def status(answer: Any) -> Verdict:
    return {200: GOOD, 404: GOOD, 429: NEUTRAL_AGAIN, 499: NEUTRAL, 503: BAD}[answer.status]


def by_key(call: Call[Any]) -> str | None:
    return call.key or None


async def test_a_good_answer_passes() -> None:
    guarded = Guarded(static("else"), "answer")
    assert await guarded.run(call(START + 3)) == "answer"
    assert guarded.events == []
    assert guarded.layer.statistics() == {}


async def test_a_static_value_answers_what_failed() -> None:
    value: list[int] = []
    guarded = Guarded(static(value), Fault(Code.UNAVAILABLE), ValueError("a defect"))
    assert await guarded.run(call(START + 3)) is value
    assert await guarded.run(call(START + 3)) is value
    assert guarded.events == [
        FellBack("mail", "static", "unavailable"),
        FellBack("mail", "static", "ValueError"),
    ]


async def test_what_was_answered_and_what_was_called_off_stands() -> None:
    for error in (
        Fault(Code.NOT_FOUND),
        Fault(Code.INVALID_ARGUMENT),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ):
        guarded = Guarded(static("else"), error)
        with pytest.raises(type(error)) as caught:
            await guarded.run(call(START + 3))
        assert caught.value is error
        assert guarded.events == []


async def test_a_computed_value_sees_the_call_and_the_error() -> None:
    seen: list[Any] = []
    error = Fault(Code.UNAVAILABLE, refusal=Refusal.OPEN)

    def at_once(call: Call[Any], failed: Exception) -> str:
        seen.append((call.key, failed))
        return "sync"

    async def later(call: Call[Any], failed: Exception) -> str:
        await asyncio.sleep(0.5)
        return at_once(call, failed) + " async"

    guarded = Guarded(computed(at_once), error)
    assert await guarded.run(call(START + 3, key="k")) == "sync"
    guarded = Guarded(computed(later), error)
    assert await guarded.run(call(START + 3, key="k")) == "sync async"
    assert seen == [("k", error), ("k", error)]
    assert guarded.events == [FellBack("mail", "computed", "unavailable")]


async def test_a_fallback_that_fails_too_raises_its_own_error_after_the_first() -> None:
    first = Fault(Code.UNAVAILABLE)

    def fail(call: Call[Any], failed: Exception) -> Any:
        raise KeyError("the fallback")

    async def fail_later(call: Call[Any], failed: Exception) -> Any:
        await asyncio.sleep(0)
        raise KeyError("the fallback")

    for function in (fail, fail_later):
        guarded = Guarded(computed(function), first)
        with pytest.raises(KeyError) as caught:
            await guarded.run(call(START + 3))
        assert caught.value.__context__ is first
        assert guarded.events == []


@pytest.mark.parametrize(("left", "ends"), [(3.0, 3.0), (0.0, GRACE), (GRACE / 2, GRACE)])
async def test_a_computed_value_has_the_time_of_its_call_and_a_little_more(
    left: float, ends: float
) -> None:
    first = Fault(Code.DEADLINE_EXCEEDED)

    async def hang(call: Call[Any], failed: Exception) -> Any:
        await asyncio.get_running_loop().create_future()

    guarded = Guarded(computed(hang), first)
    with pytest.raises(Fault, match="mail: its fallback had no value within") as caught:
        await guarded.run(call(START + left))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.__cause__ is first
    assert caught.value.origin == "mail"
    assert START + ends <= clock() <= START + ends + 0.02
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_computed_value_that_comes_in_spite_of_being_called_off_is_taken() -> None:
    async def stubborn(call: Call[Any], failed: Exception) -> Any:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "late"

    guarded = Guarded(computed(stubborn), Fault(Code.UNAVAILABLE))
    assert await guarded.run(call(START + 1)) == "late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


class Leave:
    """An alarm by which the caller leaves in the very turn in which its time is over."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task

    def ring(self) -> None:
        self.task.cancel()


@pytest.mark.parametrize("together", [False, True])
async def test_a_caller_who_leaves_while_it_is_computed_has_left(together: bool) -> None:
    async def hang(call: Call[Any], failed: Exception) -> Any:
        await asyncio.get_running_loop().create_future()

    guarded = Guarded(computed(hang), Fault(Code.UNAVAILABLE))
    task = asyncio.create_task(guarded.run(call(START + 1)))
    at = START + 1 if together else START + 0.5
    sweep_of(asyncio.get_running_loop(), clock).arm(at, Leave(task))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1
    assert guarded.events == []


async def test_a_stale_value_answers_for_its_key() -> None:
    down = Fault(Code.UNAVAILABLE)
    guarded = Guarded(Stale(age=10.0, key=by_key), "a1", "b1", down, down, down, down)
    assert await guarded.run(call(START + 3, key="a")) == "a1"
    await asyncio.sleep(4.0)
    assert await guarded.run(call(clock() + 3, key="b")) == "b1"
    assert await guarded.run(call(clock() + 3, key="a")) == "a1"
    assert guarded.events == [FellBack("mail", "stale", "unavailable", 4.0)]
    with pytest.raises(Fault) as caught:
        await guarded.run(call(clock() + 3, key="c"))
    assert caught.value is down
    with pytest.raises(Fault):
        await guarded.run(call(clock() + 3))  # no key: never told to anybody
    await asyncio.sleep(6.5)
    with pytest.raises(Fault):
        await guarded.run(call(clock() + 3, key="a"))  # too old by now
    assert guarded.layer.statistics() == {"keys": 1, "found": 1, "missed": 2, "forgotten": 0}


async def test_what_has_no_key_is_not_kept() -> None:
    guarded = Guarded(Stale(age=10.0, key=by_key), "mine")
    assert await guarded.run(call(START + 3)) == "mine"
    assert guarded.layer.statistics()["keys"] == 0


async def test_a_stale_value_can_be_marked() -> None:
    stale = Stale(age=10.0, key=by_key, mark=lambda value, age: (value, age))
    guarded = Guarded(stale, "a1", Fault(Code.UNAVAILABLE))
    assert await guarded.run(call(START + 3, key="a")) == "a1"
    await asyncio.sleep(1.5)
    assert await guarded.run(call(clock() + 3, key="a")) == ("a1", 1.5)


async def test_streams_and_doubtful_answers_are_not_kept() -> None:
    stream, doubtful = Stream(), Stream(499)
    guarded = Guarded(Stale(age=10.0, key=by_key), stream)
    assert await guarded.run(call(START + 3, key="a")) is stream
    assert guarded.layer.statistics()["keys"] == 0

    class Plain:
        status = 499

    guarded = Guarded(Stale(age=10.0, key=by_key), Plain(), doubtful, judge=status)
    for _ in range(2):
        await guarded.run(call(START + 3, key="a"))
    assert guarded.layer.statistics()["keys"] == 0
    assert stream.ended is doubtful.ended is None


@pytest.mark.parametrize("code", [429, 503])
async def test_an_answer_that_counts_as_a_failure_is_replaced_and_ended(code: int) -> None:
    bad = Stream(code)
    guarded = Guarded(static("else"), bad, judge=status)
    assert await guarded.run(call(START + 3)) == "else"
    assert bad.ended == NEUTRAL
    assert guarded.events == [FellBack("mail", "static", "unknown")]


async def test_an_answer_that_counts_as_a_failure_stands_where_there_is_no_other() -> None:
    bad = Stream(503)
    guarded = Guarded(Stale(age=10.0, key=by_key), bad, judge=status)
    assert await guarded.run(call(START + 3, key="a")) is bad
    assert bad.ended is None


async def test_an_answer_ends_when_its_replacement_fails() -> None:
    def fail(call: Call[Any], failed: Exception) -> Any:
        assert isinstance(failed, Fault)
        assert failed.detail == "mail: what it answered counts as a failure"
        raise KeyError("the fallback")

    class Plain:
        status = 503

    for bad in (Stream(503), Plain()):
        guarded = Guarded(computed(fail), bad, judge=status)
        with pytest.raises(KeyError):
            await guarded.run(call(START + 3))
        assert not isinstance(bad, Stream) or bad.ended == NEUTRAL


async def test_a_judge_that_fails_is_a_failure_itself_and_loses_no_answer() -> None:
    stream = Stream(999)
    guarded = Guarded(static("else"), stream, judge=status)
    assert await guarded.run(call(START + 3)) == "else"
    assert stream.ended == NEUTRAL


async def test_fallbacks_inside_each_other_are_asked_from_the_inside() -> None:
    down = Fault(Code.UNAVAILABLE)
    events: list[Any] = []
    inner = falling_back(Stale(age=9.0, key=by_key), name="m", clock=clock, tell=events.append)
    outer = falling_back(static("else"), name="m", clock=clock, tell=events.append)
    run = outer(inner(Dependency("good", down, down)))
    assert await run(call(START + 3, key="a")) == "good"
    assert await run(call(START + 3, key="a")) == "good"
    assert await run(call(START + 3, key="b")) == "else"
    assert [event.how for event in events] == ["stale", "static"]


async def test_it_works_under_a_stepper() -> None:
    answers: list[Any] = []

    async def compute(call: Call[Any], failed: Exception) -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    guarded = Guarded(computed(compute), Fault(Code.UNAVAILABLE))

    async def run() -> None:
        try:
            await guarded.run(call(START + 1))
        except Fault as fault:
            answers.append(fault.code)

    step(run())
    await asyncio.sleep(1.1)
    assert answers == [Code.DEADLINE_EXCEEDED]


def test_settings_are_checked_where_they_are_given() -> None:
    with pytest.raises(ValueError, match=r"Stale\.age is 0"):
        Stale(age=0, key=by_key)
    with pytest.raises(ValueError, match=r"Stale\.most is 0"):
        Stale(age=1, key=by_key, most=0)


def test_layers_say_what_they_are() -> None:
    words = [
        falling_back(one, name="mail").__name__
        for one in (static(1), computed(lambda call, error: 1), Stale(age=60, key=by_key))
    ]
    assert words == [
        "a static value",
        "a computed value",
        "the last good answer, at most 60 s old",
    ]
