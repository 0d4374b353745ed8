"""The one fault that leaves, whatever ended the work."""

import asyncio
import copy
import pickle
from typing import Any

import pytest

from switchgear.policy.crossing import TRIED, as_fault, declared, worded
from switchgear.policy.fault import Code, Effect, Fault, Refusal, leaves
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    effect_of,
    judge,
)

AWAY = Fault(Code.UNAVAILABLE, "db is away", retry_after=2.0, origin="db")
OPEN = Fault(
    Code.UNAVAILABLE, "open", effect=Effect.NONE, refusal=Refusal.OPEN, retry_after=5.0, origin="m"
)
MISSING = Fault(
    Code.NOT_FOUND, "no row", effect=Effect.NONE, public="No such user.", extra={"id": 7}
)
DONE = Fault(Code.INTERNAL, "half", effect=Effect.DONE)
PASSED_ON = Fault(Code.UNAVAILABLE, "far", origin="far", hops=("near",))
DEFECT = ZeroDivisionError("division by zero")
LEFT = asyncio.CancelledError()


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


async def failing(error: BaseException) -> None:
    raise error


async def ended(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    """How a task group ends whose tasks end so."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for error in errors:
                tasks.create_task(failing(error))
    except BaseExceptionGroup as several:
        return several
    raise AssertionError("nothing failed")


# One


@pytest.mark.parametrize(
    ("error", "code", "effect"),
    [
        (AWAY, Code.UNAVAILABLE, Effect.UNKNOWN),
        (MISSING, Code.NOT_FOUND, Effect.NONE),
        (ConnectionRefusedError("no"), Code.UNAVAILABLE, Effect.NONE),
        (ConnectionResetError("cut"), Code.UNAVAILABLE, Effect.UNKNOWN),
        (TimeoutError(), Code.DEADLINE_EXCEEDED, Effect.UNKNOWN),
        (asyncio.CancelledError(), Code.CANCELLED, Effect.UNKNOWN),
        (KeyboardInterrupt(), Code.CANCELLED, Effect.UNKNOWN),
        (OSError("disk"), Code.INTERNAL, Effect.UNKNOWN),
        (DEFECT, Code.INTERNAL, Effect.UNKNOWN),
    ],
)
def test_whatever_is_raised_crosses_as_a_fault_that_is_judged_like_it(
    error: BaseException, code: Code, effect: Effect
) -> None:
    fault = as_fault(error, "here")
    assert (fault.code, fault.effect) == (code, effect)
    assert judge(fault) == judge(error)
    assert effect_of(error) is effect
    if isinstance(error, Fault):
        assert fault is error
    else:
        assert fault.origin == "here"
        assert type(error).__name__ in fault.detail
        assert str(error) in fault.detail


def test_without_a_name_it_arose_nowhere_yet() -> None:
    assert as_fault(DEFECT).origin == ""


@pytest.mark.parametrize("depth", [1, 2, 5000])
def test_the_only_one_in_a_group_is_itself_however_deep(depth: int) -> None:
    error: Any = AWAY
    for _ in range(depth):
        error = ExceptionGroup("one", [error])
    assert as_fault(error) is AWAY
    assert declared(error) is AWAY
    assert judge(error) == BAD_AGAIN._replace(after=2.0)
    assert effect_of(error) is Effect.UNKNOWN
    while isinstance(error, ExceptionGroup):  # else it is freed by recursion
        (error,) = error.exceptions


def test_leaves_come_in_order() -> None:
    nested = group(AWAY, group(OPEN, group(MISSING), LEFT), DONE)
    assert list(leaves(nested)) == [AWAY, OPEN, MISSING, LEFT, DONE]
    assert list(leaves(DEFECT)) == [DEFECT]


# Several


async def test_a_task_group_with_one_fault_crosses_as_that_fault() -> None:
    several = await ended(AWAY)
    assert as_fault(several) is AWAY


async def test_the_worst_of_a_task_group_answers_for_all() -> None:
    several = await ended(MISSING, AWAY, OPEN)
    fault = as_fault(several)
    assert (fault.code, fault.refusal, fault.origin) == (Code.UNAVAILABLE, None, "db")
    assert fault.detail == "3 failures: db is away; no row; open"
    assert fault.effect is Effect.UNKNOWN
    assert fault.retry_after == 5.0
    assert fault.public == AWAY.public


@pytest.mark.parametrize(
    ("members", "worst"),
    [
        ([MISSING, OPEN], OPEN),
        ([OPEN, PASSED_ON], PASSED_ON),
        ([MISSING, PASSED_ON], PASSED_ON),
        ([PASSED_ON, AWAY], AWAY),
        ([AWAY, DONE], DONE),
        ([MISSING, Fault(Code.ABORTED, "raced")], MISSING),
        ([Fault(Code.ABORTED, "raced"), Fault(Code.OUT_OF_RANGE)], Fault(Code.OUT_OF_RANGE)),
        ([MISSING, Fault(Code.ALREADY_EXISTS, "twice")], MISSING),
    ],
)
def test_which_is_the_worst(members: list[Fault], worst: Fault) -> None:
    for several in (
        (members, members[::-1]) if members[1].code is not Code.ALREADY_EXISTS else [members]
    ):
        fault = as_fault(group(*several))
        assert (fault.code, fault.refusal) == (worst.code, worst.refusal)
        assert (fault.origin, fault.hops) == (worst.origin, worst.hops)
        assert (fault.public, fault.extra) == (worst.public, worst.extra)
        assert fault.detail.startswith(f"2 failures: {worst.detail}")
        assert judge(fault).health is judge(group(*several)).health


@pytest.mark.parametrize("beside", [AWAY, MISSING, DONE, Fault(Code.DATA_LOSS), LEFT])
def test_a_defect_in_a_group_makes_it_a_defect(beside: BaseException) -> None:
    for several in (group(beside, DEFECT), group(DEFECT, group(beside))):
        fault = as_fault(several, "here")
        assert (fault.code, fault.origin) == (Code.INTERNAL, "here")
        assert "ZeroDivisionError: division by zero" in fault.detail
        assert declared(several) is None
        assert judge(several).again is False


def test_of_a_group_nobody_can_be_sure_that_it_had_no_effect() -> None:
    """Else a write of what succeeded beside, which is not in the group, would be made again."""
    cases: list[tuple[list[BaseException], Effect]] = [
        ([OPEN], Effect.UNKNOWN),
        ([OPEN, MISSING], Effect.UNKNOWN),
        ([OPEN, AWAY], Effect.UNKNOWN),
        ([OPEN, DONE], Effect.DONE),
        ([AWAY, DONE], Effect.DONE),
        ([OPEN, DEFECT], Effect.UNKNOWN),
        ([OPEN, ConnectionRefusedError()], Effect.UNKNOWN),
        ([OPEN, LEFT], Effect.UNKNOWN),
    ]
    for members, effect in cases:
        assert effect_of(group(*members)) is effect
        assert effect_of(group(group(*members))) is effect
        assert as_fault(group(*members)).effect is effect


def test_a_group_waits_for_whoever_asked_for_the_longest() -> None:
    assert judge(group(AWAY, OPEN)) == Verdict(Health.BAD, again=True, after=5.0)
    assert judge(group(OPEN, Fault(Code.UNAVAILABLE))) == Verdict(Health.BAD, True, 5.0)
    assert judge(group(MISSING, Fault(Code.ABORTED))) == GOOD
    assert as_fault(group(AWAY, OPEN)).retry_after == 5.0
    assert as_fault(group(MISSING, DONE)).retry_after is None


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ([OPEN, Fault(Code.UNAVAILABLE, refusal=Refusal.SHED)], NEUTRAL_AGAIN._replace(after=5.0)),
        ([MISSING, LEFT], NEUTRAL),
        ([MISSING, DEFECT], BAD),
        ([PASSED_ON, MISSING], NEUTRAL),
    ],
)
def test_a_group_is_judged_by_its_worst(members: list[BaseException], verdict: Verdict) -> None:
    assert judge(group(*members)) == verdict
    assert judge(group(*members[::-1])) == verdict


def test_what_was_called_off_beside_a_failure_is_not_the_failure() -> None:
    """Else a missing row beside a cancelled read would look as if the client had left."""
    for fault in (MISSING, OPEN, AWAY):
        crossing = as_fault(group(LEFT, fault))
        assert (crossing.code, crossing.detail) == (fault.code, fault.detail)
        assert crossing.effect is Effect.UNKNOWN
        assert crossing.retry_after == fault.retry_after
        told = declared(group(LEFT, fault))
        assert told is not None
        assert told.code is fault.code


def test_a_cancellation_in_a_group_forbids_another_attempt() -> None:
    """Rule 16: the caller may be the one who left."""
    assert judge(group(AWAY, LEFT)).again is False
    assert judge(group(OPEN, LEFT)).again is False


def test_who_left_is_nobodys_failure_alone_or_in_a_group() -> None:
    """Rule 16."""
    assert judge(group(LEFT, asyncio.CancelledError())) == NEUTRAL
    fault = as_fault(group(LEFT, asyncio.CancelledError()))
    assert fault.code is Code.CANCELLED
    assert judge(fault) == NEUTRAL
    assert declared(group(LEFT)) is None
    assert declared(LEFT) is None


def test_many_failures_are_told_in_bounded_words() -> None:
    faults = [Fault(Code.ABORTED, f"f{number}") for number in range(8)]
    assert as_fault(group(*faults)).detail == "8 failures: f0; f1; f2; f3; f4; f5; f6; f7"
    assert as_fault(group(*faults, LEFT, MISSING)).detail.endswith("f6; and 1 more")
    faults += [AWAY, Fault(Code.ABORTED, "last")]
    assert as_fault(group(*faults)).detail == (
        "10 failures: db is away; f0; f1; f2; f3; f4; f5; f6; and 2 more"
    )


def test_what_an_errors_of_the_library_is_stays_a_defect_until_somebody_translates_it() -> None:
    for error in (ConnectionResetError(), TimeoutError(), DEFECT):
        assert declared(error) is None
        assert declared(group(error, AWAY)) is None
    assert declared(AWAY) is AWAY


async def test_faults_can_be_caught_out_of_a_group() -> None:
    caught: list[Fault] = []
    try:
        raise await ended(AWAY, MISSING)
    except* Fault as several:
        caught += [fault for fault in leaves(several) if isinstance(fault, Fault)]
    assert caught == [AWAY, MISSING]


# Between processes


class Richer(Fault):
    def __init__(self, table: str) -> None:
        super().__init__(Code.NOT_FOUND, f"no row in {table}", effect=Effect.NONE, hops=("a",))
        self.table = table


@pytest.mark.parametrize("fault", [AWAY, OPEN, MISSING, Richer("users")], ids=repr)
def test_a_fault_of_another_process_does_not_break_the_pool_that_carries_it(fault: Fault) -> None:
    for twin in (pickle.loads(pickle.dumps(fault)), copy.copy(fault), copy.deepcopy(fault)):
        assert type(twin) is type(fault)
        assert vars(twin) == vars(fault)
        assert str(twin) == str(fault)
        assert repr(twin) == repr(fault)


# Words


class Mute(Exception):  # noqa: N818 - it is called so
    """An exception that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_that_cannot_speak_is_told_all_the_same() -> None:
    """Whoever tells of a failure must not fail at it: nobody would be answered."""
    assert worded(ValueError("a")) == "ValueError: a"
    assert worded(Mute()) == "Mute, which cannot say what it is"
    fault = as_fault(group(Mute(), DEFECT), "here")
    assert (fault.code, fault.origin) == (Code.INTERNAL, "here")
    assert "Mute, which cannot say what it is" in fault.detail


def marked(error: BaseException, mark: object = "mark") -> BaseException:
    """Leave the mark of a policy that has given up on an exception."""
    error.__dict__[TRIED] = mark
    return error


@pytest.mark.parametrize(
    "error",
    [
        marked(ConnectionResetError()),
        marked(ZeroDivisionError()),
        marked(Fault(Code.NOT_FOUND)),
        marked(group(Fault(Code.NOT_FOUND))),
        marked(group(ConnectionResetError(), Fault(Code.NOT_FOUND))),
        group(marked(ConnectionResetError())),
        group(ConnectionResetError(), marked(Fault(Code.NOT_FOUND))),
        group(ConnectionResetError(), marked(ZeroDivisionError(), "mark")),
        group(ValueError(), group(marked(group(Fault(Code.ABORTED))))),
        group(marked(ConnectionResetError()), marked(ValueError(), "another")),
    ],
    ids=repr,
)
def test_the_mark_of_who_has_given_up_on_it_stays_on_what_is_made_of_it(
    error: BaseException,
) -> None:
    fault = as_fault(error)
    assert vars(fault)[TRIED] == "mark"


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), ZeroDivisionError(), group(Fault(Code.ABORTED))], ids=repr
)
def test_what_nobody_has_given_up_on_bears_no_mark(error: BaseException) -> None:
    assert TRIED not in vars(as_fault(error))


def test_the_fault_in_a_marked_group_stays_as_it_is() -> None:
    """It may be raised by others, too."""
    fault = Fault(Code.ABORTED)
    assert as_fault(marked(group(fault))) is not fault
    assert TRIED not in vars(fault)
