"""Fallbacks, the pure part: what they speak for, and what they remember."""

import asyncio
import urllib.error
from email.message import Message

import pytest

from switchgear.policy.fallback import Kept, LastGood, covers, covers_answer
from switchgear.policy.fault import Code, Fault, Refusal
from switchgear.policy.verdict import (
    BAD,
    BAD_AGAIN,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    judge,
)

NO_ANSWER = {
    Code.UNAVAILABLE,
    Code.DEADLINE_EXCEEDED,
    Code.RESOURCE_EXHAUSTED,
    Code.INTERNAL,
    Code.UNKNOWN,
    Code.DATA_LOSS,
}


GONE = Fault(Code.NOT_FOUND)


@pytest.mark.parametrize("code", list(Code))
@pytest.mark.parametrize("hops", [(), ("orders",)])
def test_a_fault_is_covered_when_its_code_says_that_nobody_answered(
    code: Code, hops: tuple[str, ...]
) -> None:
    assert covers(Fault(code, hops=hops)) is (code in NO_ANSWER)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_declared_refusal_is_covered(refusal: Refusal) -> None:
    assert covers(Fault(Code.UNAVAILABLE, refusal=refusal))
    assert covers(Fault(Code.FAILED_PRECONDITION, refusal=refusal))


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
        BaseExceptionGroup("both", [asyncio.CancelledError(), ConnectionError()]),
        ExceptionGroup("answers", [Fault(Code.NOT_FOUND), Fault(Code.ABORTED)]),
        urllib.error.HTTPError("http://news", 404, "not found", Message(), None),
    ],
)
def test_what_ends_the_work_from_outside_and_what_was_answered_is_not(error: BaseException) -> None:
    assert not covers(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        ValueError("as the breaker counts it"),
        ExceptionGroup("one is enough", [Fault(Code.NOT_FOUND), ConnectionError()]),
        ExceptionGroup("a refusal", [Fault(Code.UNAVAILABLE, refusal=Refusal.OPEN)]),
        ExceptionGroup("beside", [Fault(Code.UNAVAILABLE, refusal=Refusal.SHED), GONE]),
    ],
)
def test_what_counts_against_the_dependency_is(error: BaseException) -> None:
    assert covers(error)
    assert isinstance(error, ExceptionGroup) or judge(error).health is Health.BAD


@pytest.mark.parametrize(
    ("verdict", "covered"),
    [
        (GOOD, False),
        (Verdict(Health.GOOD, again=True), False),
        (NEUTRAL, False),
        (NEUTRAL_AGAIN, True),
        (BAD, True),
        (BAD_AGAIN, True),
    ],
)
def test_answers_are_covered_by_their_verdict(verdict: Verdict, covered: bool) -> None:
    assert covers_answer(verdict) is covered


def test_a_value_is_found_with_its_age_until_it_is_too_old() -> None:
    good = LastGood(10.0, 5)
    assert good.find("a", 0.0) is None
    good.keep("a", "first", 100.0)
    assert good.find("a", 100.0) == Kept("first", 0.0)
    assert good.find("a", 110.0) == Kept("first", 10.0)
    assert good.find("a", 110.5) is None
    assert good.statistics() == {"keys": 0, "found": 2, "missed": 2, "forgotten": 0}


def test_a_newer_value_takes_the_place_of_an_older_one() -> None:
    good = LastGood(10.0, 5)
    good.keep("a", "first", 100.0)
    good.keep("a", "second", 109.0)
    assert good.find("a", 119.0) == Kept("second", 10.0)
    assert good.statistics()["keys"] == 1


def test_none_is_a_value_too() -> None:
    good = LastGood(10.0, 5)
    good.keep("a", None, 100.0)
    assert good.find("a", 101.0) == Kept(None, 1.0)


def test_the_least_recently_used_key_leaves_first() -> None:
    good = LastGood(10.0, 2)
    good.keep("a", 1, 0.0)
    good.keep("b", 2, 1.0)
    assert good.find("a", 2.0) == Kept(1, 2.0)  # used now, so "b" is the oldest
    good.keep("c", 3, 3.0)
    assert (good.find("b", 4.0), good.find("a", 4.0), good.find("c", 4.0)) == (
        None,
        Kept(1, 4.0),
        Kept(3, 1.0),
    )
    good.keep("a", 4, 5.0)  # written again, so "c" is the oldest
    good.keep("d", 5, 6.0)
    assert good.find("c", 6.0) is None
    assert good.find("a", 6.0) == Kept(4, 1.0)
    assert good.statistics() == {"keys": 2, "found": 4, "missed": 2, "forgotten": 2}
