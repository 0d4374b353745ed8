"""Backoff, in situations."""

from functools import partial
from typing import Any

import pytest

from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, NEUTRAL_AGAIN, Verdict
from tests.unit.policy.settings import accepts, refuses, stays


def drawing(draw: float, settings: BackoffSettings | None = None) -> Backoff:
    return Backoff(settings or BackoffSettings(), random=partial(float, draw))


def test_three_attempts_in_all_are_two_retries() -> None:
    backoff = drawing(0.5)
    assert backoff.delay(1, BAD_AGAIN, None) is not None
    assert backoff.delay(2, BAD_AGAIN, None) is not None
    assert backoff.delay(3, BAD_AGAIN, None) is None


@pytest.mark.parametrize("verdict", [GOOD, BAD, NEUTRAL])
def test_what_another_attempt_can_not_help_is_not_tried_again(verdict: Verdict) -> None:
    assert drawing(0.5).delay(1, verdict, None) is None


def test_full_jitter_draws_from_nothing_to_the_doubling_base_up_to_the_cap() -> None:
    settings = BackoffSettings(attempts=7)
    least = [drawing(0.0, settings).delay(n, NEUTRAL_AGAIN, None) for n in range(1, 7)]
    most = [drawing(1.0, settings).delay(n, NEUTRAL_AGAIN, None) for n in range(1, 7)]
    assert least == [0.0] * 6
    assert most == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.25, 0.25])


def test_retry_after_is_honoured_never_earlier() -> None:
    assert drawing(0.0).delay(1, BAD_AGAIN, 2.0) == 2.0
    assert drawing(1.0).delay(1, BAD_AGAIN, 2.0) == pytest.approx(2.025)
    assert drawing(1.0).delay(1, BAD_AGAIN, 0.0) == pytest.approx(0.025)
    assert drawing(0.0).delay(1, BAD_AGAIN, -1.0) == 0.0
    assert drawing(0.0).delay(1, BAD_AGAIN, 3.0) == 3.0


@pytest.mark.parametrize("retry_after", [3.1, 1e9, float("inf"), float("nan")])
def test_a_retry_after_beyond_the_longest_gives_up(retry_after: float) -> None:
    assert drawing(0.5).delay(1, BAD_AGAIN, retry_after) is None


def test_without_settings_the_defaults_hold() -> None:
    backoff = Backoff(random=lambda: 1.0)
    assert backoff.delay(2, BAD_AGAIN, None) == pytest.approx(0.05)
    assert backoff.delay(3, BAD_AGAIN, None) is None


def test_one_attempt_is_no_retry() -> None:
    assert drawing(0.5, BackoffSettings(attempts=1)).delay(1, BAD_AGAIN, None) is None


@pytest.mark.parametrize(
    "right",
    [
        {"attempts": 1},
        {"attempts": 100},
        {"base": 0},
        {"base": 0.25, "cap": 0.25},
        {"longest_retry_after": 0},
    ],
)
def test_settings_at_their_bounds(right: dict[str, Any]) -> None:
    accepts(BackoffSettings, **right)
    stays(BackoffSettings(**right))


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 101},
        {"base": -1.0},
        {"cap": 0.01},
        {"longest_retry_after": -1.0},
    ],
)
def test_wrong_settings_say_what_where_and_what_would_be_right(wrong: dict[str, float]) -> None:
    refuses(BackoffSettings, **wrong)
