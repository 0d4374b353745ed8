"""What becomes of a message, by the outcome of its handler."""

import asyncio
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.outcome import Done, Failed
from switchgear.lane.settlement import Bury, Finish, Release, Retry, Rules, decide, told
from switchgear.policy.fault import Code, Effect, Fault, Refusal

RULES = Rules(attempts=3, base=1.0, cap=8.0)


def test_what_returned_is_finished() -> None:
    assert decide(Done(None), 0, RULES, 0.0) == Finish()


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)], ids=repr
)
def test_what_was_called_off_goes_back_uncounted(error: BaseException) -> None:
    assert decide(Failed(error), 2, RULES, 0.0) == Release()


@pytest.mark.parametrize(
    "error",
    [
        Fault(Code.UNAVAILABLE, "gone"),
        Fault(Code.DEADLINE_EXCEEDED, "late", effect=Effect.UNKNOWN),
        Fault(Code.ABORTED, "raced", effect=Effect.NONE),
        ConnectionResetError("reset"),
        ZeroDivisionError("a defect"),
    ],
    ids=repr,
)
def test_what_another_attempt_may_help_comes_again_until_the_last(error: Exception) -> None:
    first = decide(Failed(error), 0, RULES, 0.0)
    assert first == Retry(0.5, counted=True, cause=told(error))
    last = decide(Failed(error), 2, RULES, 0.0)
    assert last == Bury("dead", f"{told(error)} (attempt 3 of 3)")


@pytest.mark.parametrize(
    "code", [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.DATA_LOSS]
)
def test_what_no_attempt_helps_is_dead_at_once(code: Code) -> None:
    fault = Fault(code, "no")
    assert decide(Failed(fault), 0, RULES, 0.5) == Bury("dead", f"{code.value}: no")


@pytest.mark.parametrize("refusal", list(Refusal))
def test_a_declared_refusal_burns_no_attempt(refusal: Refusal) -> None:
    fault = Fault(Code.UNAVAILABLE, "open", refusal=refusal, retry_after=5.0)
    assert decide(Failed(fault), 2, RULES, 0.0) == Retry(
        5.0 + 2.0, counted=False, cause="unavailable: open"
    )


GONE = Fault(Code.UNAVAILABLE, "gone", retry_after=1.0)
WRONG = Fault(Code.INVALID_ARGUMENT, "no order")
OPEN = Fault(Code.UNAVAILABLE, "open", refusal=Refusal.OPEN, retry_after=5.0)
FULL = Fault(Code.UNAVAILABLE, "full", refusal=Refusal.FULL)
LEFT = asyncio.CancelledError()


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (group(GONE), Retry(1.5, counted=True, cause="unavailable: gone")),
        (group(WRONG), Bury("dead", "invalid_argument: no order")),
        (group(WRONG, LEFT), Bury("dead", "invalid_argument: no order")),
        (group(OPEN, FULL),
         Retry(5.5, counted=False, cause="unavailable: 2 failures: open; full")),
        (group(OPEN, GONE),
         Retry(5.5, counted=True, cause="unavailable: 2 failures: gone; open")),
        (group(GONE, ZeroDivisionError("x")), Retry(
            0.5, counted=True, cause="internal: 2 failures: ZeroDivisionError: x; gone")),
        (group(group(ZeroDivisionError("x"))),
         Retry(0.5, counted=True, cause="internal: ZeroDivisionError: x")),
        (group(LEFT), Release()),
        (group(LEFT, KeyboardInterrupt()), Release()),
    ],
    ids=repr,
)  # fmt: skip
def test_a_group_is_settled_like_the_worst_in_it(error: BaseException, settlement: object) -> None:
    assert decide(Failed(error), 0, RULES, 0.0) == settlement


@given(attempt=st.integers(1, 10**6), chance=st.floats(0, 1, exclude_max=True))
def test_waits_grow_and_stay_within_their_cap(attempt: int, chance: float) -> None:
    most = min(RULES.cap, RULES.base * 2.0 ** min(attempt - 1, 60))
    assert most / 2 <= RULES.wait(attempt, chance) <= most <= RULES.cap


@given(
    attempts=st.integers(0, 20),
    retry_after=st.none() | st.floats(0, inf, exclude_max=True),
    code=st.sampled_from(list(Code)),
    refusal=st.none() | st.sampled_from(list(Refusal)),
)
def test_every_failure_ends_or_waits_a_bounded_time(
    attempts: int, retry_after: float | None, code: Code, refusal: Refusal | None
) -> None:
    fault = Fault(code, "x", retry_after=retry_after, refusal=refusal)
    settlement = decide(Failed(fault), attempts, RULES, 0.5)
    assert isinstance(settlement, Bury | Retry)
    if isinstance(settlement, Retry):
        assert 0 <= settlement.after <= 3600 + RULES.cap
        assert not settlement.counted or attempts + 1 < RULES.attempts


def test_the_longest_way_is_the_sum_of_the_waits() -> None:
    assert Rules(attempts=6, base=1.0, cap=4.0).longest() == 1 + 2 + 4 + 4 + 4


def test_a_cause_is_one_line_of_bounded_length() -> None:
    cause = told(ValueError("a\nb " + "x" * 10_000))
    assert cause.startswith("ValueError: a b x")
    assert len(cause) == 500


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("a\0b"), "ValueError: a\\0b"),
        (ValueError("a\udc80b"), "ValueError: a\\udc80b"),
        (Fault(Code.UNAVAILABLE, "a\0b"), "unavailable: a\\0b"),
        (ValueError("\udc80" * 400), "ValueError: " + ("\\udc80" * 400)[:488]),
    ],
    ids=["NUL", "half a character", "a fault", "many of them"],
)
def test_a_cause_can_be_written_whatever_is_in_it(error: Exception, cause: str) -> None:
    """No text of PostgreSQL's holds a NUL, and no UTF-8 half a character of UTF-16."""
    assert told(error) == cause
