"""Modes: observed, a policy changes nothing for its caller, and tells; off, it is not there."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest

from switchgear import (
    AdaptiveSettings,
    BackoffSettings,
    BreakerSettings,
    BucketSettings,
    BulkheadSettings,
    Code,
    Fault,
    HedgeSettings,
    HurrySettings,
    Policy,
    current,
    deadline,
    static,
    within,
)
from switchgear.core.ambient import ambient
from switchgear.core.observe import AttemptEnded, CallEnded, FellBack, Overran, Refusing, Retrying
from switchgear.core.options import PARTS
from switchgear.core.sweep import sweep_of
from switchgear.policy.breaker import Transition
from switchgear.policy.call import Call
from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.verdict import BAD_AGAIN, GOOD
from switchgear.testing import Chaos, EventRecorder
from switchgear.testing.virtual import START, clock

pytestmark = pytest.mark.virtual

RICH: dict[str, Any] = {
    "deadline": 1.0,
    "timeout": 0.4,
    "repeatable": True,
    "attempts": 3,
    "hurry": HurrySettings(samples=2),
    "breaker": BreakerSettings(consecutive=2),
    "bulkhead": BulkheadSettings(permits=1, queue=0),
    "rate": BucketSettings(0.001, 3.0),
    "adaptive": AdaptiveSettings(initial=1, least=1, most=1),
    "hedge": HedgeSettings(samples=1, least=0.001),
    "fallback": static("fallen back"),
    "coalesce": lambda *_: "the same",
}
LAYERED: list[dict[str, Any]] = [{}, {"key": lambda *_: "k"}, {"chaos": Chaos(1)}]


def make(**options: Any) -> tuple[Policy, EventRecorder]:
    recorder = EventRecorder()
    given = {"observe": recorder, "random": lambda: 0.5, "clock": clock, **options}
    return Policy("mail", **given), recorder


def home(policy: Policy) -> None:
    for figures in policy.statistics().values():
        assert figures.get("out", 0) == figures.get("unheld", 0) == figures.get("zombies", 0) == 0
    assert sweep_of(asyncio.get_running_loop(), clock).armed == 0


# -- observed as a whole


@pytest.mark.parametrize("layered", LAYERED, ids=lambda options: str(list(options)))
async def test_observed_the_function_sees_what_it_would_see_without(layered: Any) -> None:
    policy, _ = make(mode="observe", **RICH, **layered)
    seen: list[Any] = []

    async def look() -> str:
        seen.extend((deadline(), current()))
        return "ok"

    await policy.call(look)
    assert seen == [float("inf"), None]
    outer: Call[Any] = Call("request", START + 77.0, key="theirs", priority=3)
    ambient.set(outer)
    await policy.call(look)
    assert seen[2:] == [START + 77.0, outer]
    with within(50.0, clock=clock):
        await policy.call(look)
        assert seen[4] == deadline()
        assert current() == seen[5]


@pytest.mark.parametrize("layered", LAYERED, ids=lambda options: str(list(options)))
async def test_observed_nothing_is_cut_off_and_all_that_would_be_is_told(layered: Any) -> None:
    policy, recorder = make(mode="observe", **RICH, **layered)

    async def slow() -> str:
        await asyncio.sleep(5.0)
        return "late"

    assert await policy.call(slow) == "late"
    assert clock() == START + 5.0
    overran = recorder.one(Overran)
    assert not overran.enforced
    assert overran.after == pytest.approx(0.0, abs=0.02)
    ended = recorder.one(CallEnded)
    assert (ended.verdict, ended.elapsed) == (GOOD, 5.0)
    assert policy.statistics()["calls"]["overran"] == 1
    assert policy.statistics()["calls"]["good"] == 1
    home(policy)


@pytest.mark.parametrize("layered", LAYERED, ids=lambda options: str(list(options)))
async def test_observed_nothing_is_tried_again_and_the_error_is_the_very_same(layered: Any) -> None:
    policy, recorder = make(mode="observe", **RICH, **layered)
    asked: list[int] = []
    errors: list[Exception] = [ConnectionResetError(), Fault(Code.UNAVAILABLE), KeyError()]
    for number, error in enumerate(errors, 1):
        before = dict(error.__dict__)

        async def fail(error: Exception = error) -> None:
            asked.append(1)
            raise error

        with pytest.raises(type(error)) as caught:
            await policy.call(fail)
        assert caught.value is error
        assert error.__dict__ == before, "nobody has written on it"
        assert len(asked) == number
    assert [event.enforced for event in recorder.of(Retrying)] == [False, False]
    assert recorder.of(Retrying)[0] == Retrying("mail", 1, 0.0125, BAD_AGAIN, enforced=False)
    assert recorder.count(AttemptEnded) == recorder.count(CallEnded) == 3
    assert recorder.count(FellBack) == 0
    home(policy)


@pytest.mark.parametrize("layered", LAYERED, ids=lambda options: str(list(options)))
async def test_observed_nobody_is_refused_and_each_refusal_is_told_and_counted(
    layered: Any,
) -> None:
    policy, recorder = make(mode="observe", **RICH, **layered)

    async def fail() -> None:
        raise ConnectionResetError

    async def work() -> str:
        await asyncio.sleep(0.1)
        return "ok"

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await policy.call(fail)
    assert recorder.one(Transition).new == "open"
    assert await asyncio.gather(*(policy.call(work) for _ in range(3))) == ["ok"] * 3
    figures = policy.statistics()
    would = {
        part: figures[part]["would_refuse"]
        for part in RICH
        if "would_refuse" in figures.get(part, {})
    }
    assert would == {"hurry": 0, "breaker": 3, "rate": 2, "adaptive": 2, "bulkhead": 2}
    refusals = recorder.of(Refusing)
    assert len(refusals) == sum(map(int, would.values()))
    assert not any(event.enforced for event in refusals)
    assert {event.refusal for event in refusals} == {Refusal.OPEN, Refusal.LIMITED, Refusal.FULL}
    assert figures["calls"]["good"] == 3
    home(policy)


async def test_observed_who_is_in_a_hurry_or_too_late_goes_on() -> None:
    policy, recorder = make(mode="observe", **{**RICH, "bulkhead": None, "adaptive": None})

    async def work() -> str:
        await asyncio.sleep(0.2)
        return "ok"

    for _ in range(2):
        await policy.call(work)
    recorder.events.clear()
    with within(0.1, clock=clock):
        assert await policy.call(work) == "ok"
        assert recorder.one(Refusing, refusal=Refusal.HURRIED).enforced is False
        assert clock() > deadline(), "it is past its deadline"
        assert await policy.call(work) == "ok"
    assert policy.statistics()["hurry"]["would_refuse"] == 2
    home(policy)


async def test_observed_work_is_the_callers_to_call_off() -> None:
    policy, recorder = make(mode="observe", **RICH)
    task = asyncio.create_task(policy.call(asyncio.sleep, 9.0))
    await asyncio.sleep(2.0)
    assert policy.statistics()["calls"]["zombies"] == 1
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert recorder.one(CallEnded).code == "CancelledError"
    assert policy.statistics()["calls"]["neutral"] == 1
    home(policy)


async def test_observed_the_breaker_learns_what_it_would_if_it_were_enforced() -> None:
    options: dict[str, Any] = {"attempts": 1, "breaker": BreakerSettings(consecutive=2)}
    told: list[list[Any]] = []
    for mode in ("enforce", "observe"):
        policy, recorder = make(mode={"breaker": mode}, **options)
        for fails in (1, 1, 0, 0, 0):
            await asyncio.sleep(2.0)

            async def work(fails: int = fails) -> None:
                if fails:
                    raise ConnectionResetError

            try:
                await policy.call(work)
            except (ConnectionResetError, Fault):
                pass
        told.append(
            [
                (event.new, event.at - recorder.of(Transition)[0].at)
                for event in recorder.of(Transition)
            ]
        )
    assert told[0] == told[1]
    assert len(told[0]) == 2


# -- off as a whole


@pytest.mark.parametrize("mode", ["off", dict.fromkeys(PARTS, "off")], ids=["as one", "by part"])
async def test_off_a_policy_is_not_there(mode: Any) -> None:
    policy, recorder = make(mode=mode, **RICH)
    error = Fault(Code.UNAVAILABLE, effect=Effect.NONE)

    async def work(fails: bool) -> Any:
        await asyncio.sleep(5.0)
        if fails:
            raise error
        return deadline()

    assert await policy.call(work, False) == float("inf")
    assert await asyncio.gather(*(policy.call(work, False) for _ in range(9)))
    decorated = policy(work)
    assert await decorated(False) == float("inf")
    with pytest.raises(Fault) as caught:
        await policy.call(work, True)
    assert caught.value is error
    if mode == "off":
        assert not recorder.events
        assert set(policy.statistics()) == {"calls"}
        assert not any(policy.statistics()["calls"].values()), "nothing is counted"
    assert set(policy.statistics()) <= {"calls"}


# -- by part


ALONE: list[dict[str, Any]] = [{}, *({part: RICH[part]} for part in ("fallback", "coalesce"))]


@pytest.mark.parametrize("chaos", [None, Chaos(1)], ids=["plain", "with chaos"])
@pytest.mark.parametrize("alone", ALONE, ids=lambda one: str(list(one)))
async def test_where_nothing_bounds_the_calls_they_are_counted_and_told(
    alone: Any, chaos: Chaos | None
) -> None:
    """What has no gate, no timeout and no retry had no frame, and so nobody who counted."""
    none = dict.fromkeys(("retry", "hurry", "breaker", "bulkhead"))
    policy, recorder = make(
        **none,
        **alone,
        mode={"timeout": "off"},
        chaos=chaos,
        translate=lambda error: Fault(Code.UNAVAILABLE) if type(error) is KeyError else None,
    )

    async def fails() -> str:
        raise KeyError

    assert await policy.call(nothing) == "nothing"
    if "fallback" in alone:
        assert await policy.call(fails) == "fallen back"
    else:
        with pytest.raises(Fault):  # an exception is translated, whatever is there
            await policy.call(fails)
    assert policy.statistics()["calls"] == {
        "good": 1, "failed": 1, "neutral": 0, "zombies": 0, "overran": 0
    }  # fmt: skip
    ended = [event for event in recorder.events if isinstance(event, CallEnded)]
    assert [event.code for event in ended] == ["", "unavailable"]
    assert recorder.count(AttemptEnded) == 2
    async with policy:
        pass
    assert policy.statistics()["calls"]["good"] == 2


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_is_off_leaves_no_figures_and_refuses_nobody(part: str) -> None:
    policy, recorder = make(mode={part: "off"}, **{**RICH, "rate": BucketSettings(99.0, 99.0)})

    async def work() -> str:
        return "ok"

    assert await policy.call(work) == "ok"
    assert part not in policy.statistics()
    lines = [line.split()[0] for line in policy.describe().splitlines()[1:] if line[2] != " "]
    place = {"adaptive": "bulkhead"}.get(part, part)
    expected = 1 if part in ("adaptive", "bulkhead", "retry") else 0  # hedges need a budget
    assert lines.count(place) == expected
    assert recorder.count(CallEnded) == 1
    home(policy)


@pytest.mark.parametrize("part", ["hurry", "breaker", "rate", "adaptive", "bulkhead"])
async def test_a_gate_alone_is_observed(part: str) -> None:
    policy, recorder = make(mode={part: "observe"})
    full, _ = make(mode={part: "observe"}, **RICH)
    drawn = full.describe().splitlines()
    assert [line.split()[0] for line in drawn if "observed only" in line] == [
        {"adaptive": "bulkhead"}.get(part, part)
    ]
    if part in policy.statistics():
        assert policy.statistics()[part]["would_refuse"] == 0
    assert not recorder.events


async def test_the_retry_alone_is_observed() -> None:
    policy, recorder = make(mode={"retry": "observe"}, repeatable=True, timeout=0.5)

    async def hang() -> None:
        await asyncio.sleep(9.0)

    with pytest.raises(Fault) as caught:
        await policy.call(hang)
    assert caught.value.hops == (), "nobody has tried again"
    assert clock() - START == pytest.approx(0.5, abs=0.02)
    assert [type(event) for event in recorder] == [Retrying, AttemptEnded, CallEnded]
    assert "backoff, observed only" in policy.describe()
    home(policy)


@pytest.mark.parametrize("mode", ["observe", "off"])
@pytest.mark.parametrize(
    "options",
    [{}, {"key": lambda: "k"}, {"coalesce": lambda: 1}, {"fallback": static(0)},
     {"chaos": Chaos(1)},
     {"hedge": HedgeSettings(samples=1), "repeatable": True}],
    ids=lambda options: str(list(options)),
)  # fmt: skip
async def test_the_timeout_alone_is_not_enforced(mode: Any, options: Any) -> None:
    """Nor is the deadline, which it enforces: nobody feels it, whatever stands around the work."""
    policy, recorder = make(mode={"timeout": mode}, deadline=1.0, timeout=0.4, **options)
    seen: list[float] = []

    async def slow() -> str:
        seen.append(deadline())
        await asyncio.sleep(0.2)
        return "ok"

    assert await policy.call(slow) == "ok"
    with within(50.0, clock=clock):
        assert await policy.call(slow) == "ok"
        assert seen == [float("inf"), deadline()]
    assert recorder.count(Overran) == 0
    home(policy)


@pytest.mark.parametrize("options", [{}, {"key": lambda *_: "k"}, {"fallback": static(0)}])
async def test_the_timeout_alone_is_observed_and_told_of(options: Any) -> None:
    policy, recorder = make(mode={"timeout": "observe"}, deadline=1.0, **options)
    assert await policy.call(asyncio.sleep, 3.0, "late") == "late"
    assert [event.enforced for event in recorder.of(Overran)] == [False]
    assert recorder.one(CallEnded).elapsed == 3.0
    assert "at most 100% of what remains, observed only" in policy.describe()
    home(policy)


async def test_what_answers_in_place_of_others_is_left_out_where_it_is_observed() -> None:
    for part in ("fallback", "coalesce", "hedge"):
        policy, recorder = make(mode={part: "observe"}, **RICH)
        assert part not in policy.statistics()
        drawn = policy.describe().splitlines()
        assert not [line for line in drawn if line.startswith(f"  {part}")]
        assert not recorder.events


# -- the same policy, tried in all modes: what its caller gets without it is what he gets observed


async def nothing() -> str:
    return "nothing"


async def reset() -> None:
    raise ConnectionResetError("reset")


async def missing() -> None:
    raise Fault(Code.NOT_FOUND)


async def slow() -> str:
    await asyncio.sleep(3.0)
    return "slow"


async def clinging() -> str:
    try:
        await asyncio.sleep(3.0)
    except CancelledError:
        await asyncio.sleep(1.0)
        raise
    return "clinging"


@pytest.mark.parametrize("options", [{}, *LAYERED[1:], {"retry": BackoffSettings(attempts=1)}])
@pytest.mark.parametrize("function", [nothing, reset, missing, slow, clinging])
async def test_observed_and_off_the_caller_gets_the_same(
    function: Callable[[], Any], options: Any
) -> None:
    told: list[Any] = []
    for mode in (None, "off", "observe"):
        policy, _ = make(mode=mode or "off", **{**RICH, **options})
        began = clock()
        for leaves in (None, 0.7):
            run = function() if mode is None else policy.call(function)
            task = asyncio.create_task(run)
            if leaves is not None:
                asyncio.get_running_loop().call_later(leaves, task.cancel)
            ended: Any = await asyncio.gather(task, return_exceptions=True)
            told.append((mode, repr(ended[0]), pytest.approx(clock() - began)))
            began = clock()
    plain = [one[1:] for one in told if one[0] is None]
    assert [one[1:] for one in told if one[0] == "off"] == plain
    assert [one[1:] for one in told if one[0] == "observe"] == plain
