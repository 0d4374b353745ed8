"""The words of a verdict, and which of two counts."""

import pytest

from switchgear.policy import health, verdict
from switchgear.policy.fault import Code
from switchgear.policy.health import (
    BAD,
    BAD_AGAIN,
    BY_CODE,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    worse,
)


def test_the_named_verdicts() -> None:
    assert GOOD == (Health.GOOD, False, None)
    assert NEUTRAL == (Health.NEUTRAL, False, None)
    assert NEUTRAL_AGAIN == (Health.NEUTRAL, True, None)
    assert BAD == (Health.BAD, False, None)
    assert BAD_AGAIN == (Health.BAD, True, None)
    assert [health.value for health in Health] == ["good", "neutral", "bad"]


def test_what_each_code_says_that_is_no_plain_answer() -> None:
    assert {
        Code.UNAVAILABLE: BAD_AGAIN,
        Code.DEADLINE_EXCEEDED: BAD_AGAIN,
        Code.RESOURCE_EXHAUSTED: BAD_AGAIN,
        Code.ABORTED: Verdict(Health.GOOD, again=True),
        Code.INTERNAL: BAD,
        Code.UNKNOWN: BAD,
        Code.DATA_LOSS: BAD,
        Code.CANCELLED: NEUTRAL,
    } == BY_CODE


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (GOOD, GOOD, 0),
        (GOOD, NEUTRAL, 1),
        (NEUTRAL, GOOD, 0),
        (NEUTRAL, BAD, 1),
        (BAD, NEUTRAL, 0),
        (BAD, GOOD, 0),
        (GOOD, BAD, 1),
        (BAD, BAD_AGAIN, 0),
        (NEUTRAL_AGAIN, NEUTRAL, 0),
        (GOOD, Verdict(Health.GOOD, again=True), 1),
    ],
)
def test_of_two_verdicts_the_worse_counts(first: Verdict, second: Verdict, joined: int) -> None:
    assert worse(first, second) is (first, second)[joined]


def test_they_are_found_where_errors_are_judged_too() -> None:
    for name in ("BAD", "BAD_AGAIN", "GOOD", "NEUTRAL", "NEUTRAL_AGAIN", "Health", "Verdict"):
        assert getattr(verdict, name) is getattr(health, name)
