"""Another attempt: only where it may help, may be done, is paid for, and has the time."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from switchgear.core.drivers import working
from switchgear.core.frames import Frame, Kit, Timeout
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.core.retry import _ring
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Refused
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
)
from switchgear.testing.virtual import START, clock
from tests.support.cancel import turns
from tests.support.core import Door, Plain, Stream, call, retry

pytestmark = pytest.mark.virtual

RESET = ConnectionResetError("reset")
DOWN = Fault(Code.UNAVAILABLE, "down")
NOT_DONE = Fault(Code.UNAVAILABLE, "refused", effect=Effect.NONE)


class Upstream:
    """A dependency that goes through a script: it raises errors and returns the rest."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[Call[Any]] = []
        self.at: list[float] = []

    async def __call__(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        self.at.append(round(clock() - START, 6))
        act = self.script.pop(0)
        if isinstance(act, BaseException):
            raise act
        return act


class Rig:
    def __init__(
        self,
        *script: Any,
        waits: Sequence[float] = (0.1, 0.2),
        budget: int = 100,
        judge: Callable[[Any], Verdict] | None = None,
        doors: Sequence[Refused] = (),
        timeout: Timeout | None = None,
    ) -> None:
        self.upstream = Upstream(*script)
        self.plain = Plain(waits, budget)
        self.inner = Door("inner", doors)
        self.outer = Door("outer")
        self.events: list[Any] = []
        kit = Kit("mail", self.events.append, judge, clock)
        self.run = Frame(
            kit,
            self.upstream,
            timeout=timeout,
            gates=[self.inner],
            retry=retry(self.plain),
            outer=[self.outer],
        ).run

    @property
    def tries(self) -> int:
        return len(self.upstream.calls)

    def told(self) -> list[tuple[Any, ...]]:
        return [
            (event.attempt, event.verdict)
            if isinstance(event, AttemptEnded)
            else (event.attempts, event.verdict, event.code)
            for event in self.events
            if isinstance(event, AttemptEnded | CallEnded)
        ]


async def test_a_repeatable_call_is_tried_until_it_succeeds() -> None:
    rig = Rig(RESET, DOWN, "done")
    given = call(START + 3, repeatable=True)
    assert await rig.run(given) == "done"
    assert rig.upstream.at == [0, 0.1, 0.3]
    assert [one.attempt for one in rig.upstream.calls] == [1, 2, 3]
    assert rig.upstream.calls[0] is given
    assert given.trail.attempts == 3
    assert (rig.inner.verdicts, rig.outer.verdicts) == ([BAD_AGAIN, BAD_AGAIN, GOOD], [GOOD])
    assert rig.told() == [(1, BAD_AGAIN), (2, BAD_AGAIN), (3, GOOD), (3, GOOD, "")]
    assert (rig.plain.deposits, rig.plain.withdrawals) == (1, 2)


async def test_attempts_are_counted_on_from_those_of_the_call() -> None:
    rig = Rig(RESET, "done")
    await rig.run(call(START + 3, repeatable=True, attempt=4))
    assert [one.attempt for one in rig.upstream.calls] == [4, 5]


@pytest.mark.parametrize(
    ("error", "repeatable", "tries"),
    [
        (RESET, True, 2),
        (RESET, False, 1),
        (ConnectionRefusedError(), False, 2),  # nothing was done
        (DOWN, False, 1),
        (NOT_DONE, False, 2),
        (NOT_DONE, True, 2),
        (Fault(Code.NOT_FOUND), True, 1),  # it answered
        (Fault(Code.ABORTED), True, 2),
        (Fault(Code.INVALID_ARGUMENT, effect=Effect.NONE), False, 1),
        (ValueError("a defect"), True, 1),
        (ExceptionGroup("all", [RESET, DOWN]), True, 2),
        (ExceptionGroup("mixed", [RESET, ValueError("a defect")]), True, 1),
        (ExceptionGroup("not done", [NOT_DONE]), False, 1),  # what else ran in it, nobody knows
        (Fault(Code.UNAVAILABLE, refusal=Refusal.OPEN, effect=Effect.NONE), False, 2),
    ],
    ids=repr,
)
async def test_another_attempt_needs_both_the_hope_and_the_right(
    error: Exception, repeatable: bool, tries: int
) -> None:
    rig = Rig(error, "done", waits=[0.1])
    if tries == 2:
        assert await rig.run(call(START + 3, repeatable=repeatable)) == "done"
    else:
        with pytest.raises(type(error)) as caught:
            await rig.run(call(START + 3, repeatable=repeatable))
        assert caught.value is error
    assert rig.tries == tries
    assert len(rig.inner.verdicts) == tries
    assert len(rig.outer.verdicts) == 1


async def test_a_fault_that_crossed_two_hops_is_not_retried() -> None:
    far = Fault(Code.UNAVAILABLE, "their database is down", origin="db", hops=("orders",))
    rig = Rig(far, "done")
    with pytest.raises(Fault):
        await rig.run(call(START + 3, repeatable=True))
    assert (rig.tries, rig.inner.verdicts) == (1, [NEUTRAL])


async def test_the_schedule_has_the_last_word() -> None:
    rig = Rig(RESET, RESET, RESET, "never", waits=[0.1, 0.2])
    with pytest.raises(ConnectionResetError):
        await rig.run(call(START + 30, repeatable=True))
    assert rig.tries == 3
    assert [attempt for attempt, _, _ in rig.plain.asked] == [1, 2, 3]
    assert rig.told()[-1] == (3, BAD_AGAIN, "ConnectionResetError")


async def test_the_schedule_is_told_what_the_dependency_asked_for() -> None:
    rig = Rig(Fault(Code.RESOURCE_EXHAUSTED, retry_after=1.5), "done")
    await rig.run(call(START + 3, repeatable=True))
    assert [after for _, _, after in rig.plain.asked] == [1.5]


async def test_no_attempt_without_budget() -> None:
    rig = Rig(RESET, RESET, "never", budget=1)
    with pytest.raises(ConnectionResetError):
        await rig.run(call(START + 3, repeatable=True))
    assert (rig.tries, rig.plain.withdrawals) == (2, 1)


@pytest.mark.parametrize(("left", "tries"), [(0.09, 1), (0.1, 1), (0.11, 2)])
async def test_no_attempt_at_or_past_the_deadline(left: float, tries: int) -> None:
    rig = Rig(RESET, RESET, waits=[0.1])
    with pytest.raises(ConnectionResetError):
        await rig.run(call(START + left, repeatable=True))
    assert rig.tries == tries
    assert rig.plain.withdrawals == tries - 1, "what is not tried is not paid for"


async def test_a_timed_out_attempt_leaves_time_for_another() -> None:
    seen: list[float] = []

    async def hang(call: Call[Any]) -> None:
        seen.append(round(call.deadline - clock(), 6))
        await asyncio.get_running_loop().create_future()

    door, plain = Door(), Plain([0.0, 0.0])
    kit = Kit("mail", clock=clock)
    run = Frame(kit, hang, timeout=Timeout(3.0), gates=[door], retry=retry(plain)).run
    with pytest.raises(Fault) as caught:
        await run(call(START + 3, repeatable=True))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert seen == pytest.approx([1.0, 0.995, 0.49], abs=0.02)
    assert [verdict.health for verdict in door.verdicts] == [
        Health.BAD,
        Health.BAD,
        Health.NEUTRAL,
    ], "the last one had less than the usual time"
    assert clock() < START + 3


async def test_a_timed_out_attempt_of_a_call_that_is_not_repeatable_is_the_last() -> None:
    async def hang(call: Call[Any]) -> None:
        await asyncio.get_running_loop().create_future()

    door, plain = Door(), Plain([0.0])
    kit = Kit("mail", clock=clock)
    run = Frame(kit, hang, timeout=Timeout(3.0), gates=[door], retry=retry(plain)).run
    with pytest.raises(Fault):
        await run(call(START + 3))
    assert door.verdicts == [BAD_AGAIN]


def by_status(answer: Any) -> Verdict:
    status = answer.status if isinstance(answer, Stream) else answer
    return BAD_AGAIN if status == 503 else BAD if status == 500 else GOOD


async def test_returned_values_are_judged_again_for_every_attempt() -> None:
    rig = Rig(503, 503, 200, judge=by_status)
    assert await rig.run(call(START + 3, repeatable=True)) == 200
    assert rig.inner.verdicts == [BAD_AGAIN, BAD_AGAIN, GOOD]
    assert rig.outer.verdicts == [GOOD]


async def test_the_last_value_is_returned_however_bad_it_is() -> None:
    rig = Rig(503, 503, 503, judge=by_status)
    assert await rig.run(call(START + 3, repeatable=True)) == 503
    assert (rig.tries, rig.outer.verdicts) == (3, [BAD_AGAIN])
    assert rig.told()[-1] == (3, BAD_AGAIN, "unknown"), "nothing says more of it"


@pytest.mark.parametrize(("value", "repeatable"), [(503, False), (500, True), (200, True)])
async def test_a_value_is_not_retried_without_hope_or_right(value: int, repeatable: bool) -> None:
    rig = Rig(value, "never", judge=by_status)
    assert await rig.run(call(START + 3, repeatable=repeatable)) == value
    assert rig.tries == 1


async def test_an_answer_that_another_attempt_replaces_is_abandoned() -> None:
    bad, good = Stream(503), Stream(200)
    rig = Rig(bad, good, judge=by_status)
    assert await rig.run(call(START + 3, repeatable=True)) is good
    assert bad.ended == NEUTRAL
    assert rig.inner.verdicts == [BAD_AGAIN], "its head was bad; the good one streams on"
    assert rig.outer.verdicts == []
    good.end(GOOD)
    assert (rig.inner.verdicts, rig.outer.verdicts) == ([BAD_AGAIN, GOOD], [GOOD])
    assert rig.told() == [(1, BAD_AGAIN), (2, GOOD), (2, GOOD, "")]


async def test_a_refusal_of_a_gate_is_tried_again_because_nothing_was_done() -> None:
    refused = Refused(Refusal.FULL, "full")
    rig = Rig("done", doors=[refused])
    assert await rig.run(call(START + 3)) == "done"
    assert rig.tries == 1
    assert rig.told() == [(1, NEUTRAL_AGAIN), (2, GOOD), (2, GOOD, "")]


async def test_a_refusal_outside_the_retry_is_final_and_costs_no_budget() -> None:
    rig = Rig("never")
    rig.outer.answers = [Refused(Refusal.OPEN, "breaker 'mail' is open")]
    with pytest.raises(Fault, match="is open"):
        await rig.run(call(START + 3, repeatable=True))
    assert (rig.tries, rig.plain.deposits, rig.inner.asks) == (0, 0, [])
    assert rig.told() == [(0, NEUTRAL_AGAIN, "unavailable")]


async def test_cancelled_between_attempts() -> None:
    rig = Rig(RESET, "never", waits=[1.0])

    async def main() -> None:
        working().get_loop().call_later(0.5, working().cancel)
        await rig.run(call(START + 3, repeatable=True))

    task = asyncio.create_task(main())
    with pytest.raises(CancelledError):
        await task
    await turns()
    assert (rig.tries, rig.inner.verdicts, rig.outer.verdicts) == (1, [BAD_AGAIN], [NEUTRAL])
    assert rig.told() == [(1, BAD_AGAIN), (1, NEUTRAL, "CancelledError")]
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_a_cancellation_is_never_retried() -> None:
    rig = Rig(CancelledError(), "never")
    with pytest.raises(CancelledError):
        await rig.run(call(START + 3, repeatable=True))
    assert (rig.tries, rig.inner.verdicts) == (1, [NEUTRAL])


async def test_an_observer_that_breaks_is_reported_and_harms_no_call() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    shown: list[Any] = []

    def broken(event: Any) -> None:
        shown.append(event)
        raise KeyError(event)

    upstream = Upstream(RESET, "done")
    kit = Kit("mail", broken, None, clock)
    run = Frame(kit, upstream, gates=[Door()], retry=retry(Plain([0.1]))).run
    assert await run(call(START + 3, repeatable=True)) == "done"
    assert len(shown) == 4  # two attempts, the retry, the call
    assert len(told) == 1  # of its errors in one second


async def test_a_timer_that_comes_with_a_cancellation_changes_nothing() -> None:
    slept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    slept.cancel()
    _ring(slept)
    assert slept.cancelled()
