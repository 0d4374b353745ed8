"""Verdicts: what each ending says about a dependency, and whether another attempt may help."""

import asyncio

import pytest

from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    effect_of,
    joined_effect,
    judge,
    transient,
)

BY_CODE = {
    Code.CANCELLED: NEUTRAL,
    Code.UNKNOWN: BAD,
    Code.INVALID_ARGUMENT: GOOD,
    Code.DEADLINE_EXCEEDED: BAD_AGAIN,
    Code.NOT_FOUND: GOOD,
    Code.ALREADY_EXISTS: GOOD,
    Code.PERMISSION_DENIED: GOOD,
    Code.RESOURCE_EXHAUSTED: BAD_AGAIN,
    Code.FAILED_PRECONDITION: GOOD,
    Code.ABORTED: Verdict(Health.GOOD, again=True),
    Code.OUT_OF_RANGE: GOOD,
    Code.UNIMPLEMENTED: GOOD,
    Code.INTERNAL: BAD,
    Code.UNAVAILABLE: BAD_AGAIN,
    Code.DATA_LOSS: BAD,
    Code.UNAUTHENTICATED: GOOD,
}


@pytest.mark.parametrize("code", Code)
def test_a_fault_is_judged_by_its_code(code: Code) -> None:
    assert judge(Fault(code)) == BY_CODE[code]


@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.NOT_FOUND])
def test_a_declared_refusal_says_nothing_of_health(code: Code, refusal: Refusal) -> None:
    assert judge(Fault(code, refusal=refusal)) == NEUTRAL_AGAIN


def test_who_was_refused_for_want_of_time_is_not_tried_again_with_less() -> None:
    none = Effect.NONE
    hurried = Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED, effect=none, retry_after=1.0)
    assert judge(hurried) == NEUTRAL
    assert judge(Fault(Code.UNAVAILABLE, refusal=Refusal.SHED, effect=none)) == NEUTRAL_AGAIN
    assert judge(Fault(Code.UNAVAILABLE, effect=none)) == BAD_AGAIN


def test_what_another_hop_passed_on_is_not_held_against_it_nor_tried_again() -> None:
    fault = Fault(Code.UNAVAILABLE, hops=("accounts",), retry_after=3.0)
    assert judge(fault) == NEUTRAL


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_when_to_come_back_is_part_of_the_verdict(seconds: float) -> None:
    fault = Fault(Code.UNAVAILABLE, retry_after=seconds)
    assert judge(fault) == Verdict(Health.BAD, again=True, after=seconds)
    refused = Fault(Code.UNAVAILABLE, refusal=Refusal.SHED, retry_after=seconds)
    assert judge(refused) == Verdict(Health.NEUTRAL, again=True, after=seconds)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt(), SystemExit()]
)
def test_what_ends_the_work_from_outside_says_nothing(error: BaseException) -> None:
    assert judge(error) == NEUTRAL


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), ConnectionResetError(), BrokenPipeError(), TimeoutError()]
)
def test_connections_and_timeouts_count_as_the_dependencys(error: Exception) -> None:
    assert judge(error) == BAD_AGAIN


@pytest.mark.parametrize("error", [ValueError(), OSError(), ZeroDivisionError()])
def test_any_other_error_is_a_defect_and_not_tried_again(error: Exception) -> None:
    assert judge(error) == BAD


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


def test_the_end_of_an_iteration_is_an_answer() -> None:
    assert judge(StopAsyncIteration()) == GOOD
    assert judge(ExceptionGroup("", [StopAsyncIteration(), KeyError()])) == BAD


def test_a_group_is_judged_by_its_worst() -> None:
    assert judge(group(Fault(Code.NOT_FOUND), Fault(Code.INTERNAL), Fault(Code.CANCELLED))) == BAD
    assert judge(group(Fault(Code.NOT_FOUND), Fault(Code.CANCELLED))) == NEUTRAL
    assert judge(group(Fault(Code.NOT_FOUND))) == GOOD
    assert judge(group(group(Fault(Code.NOT_FOUND)), group(TimeoutError()))).health is Health.BAD


def test_another_attempt_must_help_every_member_of_a_group() -> None:
    assert judge(group(TimeoutError(), ConnectionResetError())) == BAD_AGAIN
    assert judge(group(TimeoutError(), ValueError())) == BAD
    assert judge(group(TimeoutError(), asyncio.CancelledError())) == BAD


def test_a_group_waits_for_whoever_asked_to_be_left_alone_the_longest() -> None:
    soon, late = (Fault(Code.UNAVAILABLE, retry_after=after) for after in (1.0, 7.0))
    assert judge(group(soon, late, TimeoutError())) == Verdict(Health.BAD, again=True, after=7.0)
    assert judge(group(late, soon)).after == 7.0
    assert judge(group(TimeoutError())).after is None


@pytest.mark.parametrize("effect", Effect)
def test_a_fault_says_itself_whether_it_took_effect(effect: Effect) -> None:
    assert effect_of(Fault(Code.INTERNAL, effect=effect)) is effect


def test_only_a_refused_connection_surely_took_no_effect() -> None:
    assert effect_of(ConnectionRefusedError()) is Effect.NONE
    assert effect_of(ConnectionResetError()) is Effect.UNKNOWN
    assert effect_of(TimeoutError()) is Effect.UNKNOWN
    assert effect_of(ValueError()) is Effect.UNKNOWN
    assert effect_of(asyncio.CancelledError()) is Effect.UNKNOWN


@pytest.mark.parametrize(
    ("effects", "joined"),
    [
        ((Effect.NONE,), Effect.UNKNOWN),  # what succeeded beside it, nobody knows
        ((Effect.NONE, Effect.NONE), Effect.UNKNOWN),
        ((Effect.NONE, Effect.UNKNOWN), Effect.UNKNOWN),
        ((Effect.UNKNOWN,), Effect.UNKNOWN),
        ((Effect.NONE, Effect.UNKNOWN, Effect.DONE), Effect.DONE),
        ((), Effect.UNKNOWN),
    ],
)
def test_several_failures_took_effect_if_any_did(
    effects: tuple[Effect, ...], joined: Effect
) -> None:
    assert joined_effect(effects) is joined
    if effects:
        assert effect_of(group(*(Fault(Code.ABORTED, effect=one) for one in effects))) is joined
        nested = group(group(*(Fault(Code.ABORTED, effect=one) for one in effects)))
        assert effect_of(nested) is joined


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("hops", [(), ("orders",)])
def test_what_may_succeed_later_does_not_depend_on_who_passed_it_on(
    code: Code, hops: tuple[str, ...]
) -> None:
    """A queue that asked `judge` would bury what another service's database kept from working."""
    passing = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.ABORTED}
    assert transient(Fault(code, hops=hops)) is (code in passing)
    assert transient(Fault(code, hops=hops, refusal=Refusal.OPEN))


def test_who_had_too_little_time_would_have_less_the_next_time() -> None:
    late = Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED, effect=Effect.NONE)
    assert judge(late) == NEUTRAL
    assert judge(Fault(Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED)) == NEUTRAL_AGAIN
