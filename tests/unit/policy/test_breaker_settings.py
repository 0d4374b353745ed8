"""What a breaker may be told, and what it tells."""

import pytest

from switchgear.policy.breaker_settings import BreakerSettings, State, Transition
from tests.unit.policy.settings import accepts, refuses, stays


@pytest.mark.parametrize("share", ["failures", "slow"])
def test_shares_are_above_nothing_and_at_most_all(share: str) -> None:
    accepts(BreakerSettings, **{share: 0.001})
    accepts(BreakerSettings, **{share: 1})
    refuses(BreakerSettings, **{share: 0})
    refuses(BreakerSettings, **{share: 1.1})


@pytest.mark.parametrize("count", ["calls", "consecutive", "probes"])
def test_counts_begin_at_one(count: str) -> None:
    accepts(BreakerSettings, **{count: 1})
    refuses(BreakerSettings, **{count: 0})


@pytest.mark.parametrize("duration", ["open_for", "probe_lease", "slow_after"])
def test_durations_are_more_than_nothing(duration: str) -> None:
    accepts(BreakerSettings, **{duration: 0.001})
    refuses(BreakerSettings, **{duration: 0})


def test_no_call_need_be_slow() -> None:
    accepts(BreakerSettings, slow_after=None)


def test_the_longest_open_time_is_not_below_the_first() -> None:
    accepts(BreakerSettings, open_for=60.0, open_most=60.0)
    accepts(BreakerSettings, open_for=0.1, open_most=0.1)
    refuses(BreakerSettings, open_most=15.0, open_for=60.0)
    refuses(BreakerSettings, open_most=4.9)


def test_a_ramp_may_be_left_out() -> None:
    accepts(BreakerSettings, ramp=0)
    accepts(BreakerSettings, ramp=0.5)
    refuses(BreakerSettings, ramp=-0.1)


def test_jitter_leaves_some_of_the_open_time() -> None:
    accepts(BreakerSettings, jitter=0)
    accepts(BreakerSettings, jitter=0.9)
    refuses(BreakerSettings, jitter=-0.1)
    refuses(BreakerSettings, jitter=0.91)


def test_settings_and_transitions_stay_as_they_were_made() -> None:
    stays(BreakerSettings())
    stays(Transition("mail", State.CLOSED, State.OPEN, 100.0, "5 failures in a row"))


def test_states_are_written_as_they_are_named() -> None:
    assert [state.value for state in State] == ["closed", "open", "half_open"]


def test_a_window_is_one() -> None:
    with pytest.raises(TypeError, match=r"window is 10, where a WindowSettings\(\.\.\.\) would be"):
        BreakerSettings(window=10)  # type: ignore[arg-type]  # the point
