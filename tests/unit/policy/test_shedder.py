"""The shedder, in situations."""

from itertools import pairwise

import pytest

from switchgear.policy.fault import Code, Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.shedder import Shedder, ShedderSettings
from switchgear.policy.verdict import GOOD


def lagging(seconds: float, settings: ShedderSettings | None = None) -> Shedder:
    """Return a shedder that has seen the same lag for long, until the instant 100."""
    shedder = Shedder("gateway", settings or ShedderSettings(begin=0.1, full=1.0))
    for tenth in range(1001):
        shedder.observe_lag(seconds, tenth / 10)
    return shedder


def passing(shedder: Shedder, now: float = 100.0, calls: int = 100) -> list[int]:
    """Return how many calls of each priority pass."""
    return [
        sum(isinstance(shedder.admit(Ask(priority=p), now), Permit) for _ in range(calls))
        for p in range(10)
    ]


def test_without_lag_everything_passes() -> None:
    assert passing(Shedder("gateway")) == [100] * 10
    assert passing(lagging(0.05)) == [100] * 10


def test_the_cheapest_traffic_goes_first() -> None:
    assert passing(lagging(0.4)) == pytest.approx([0, 0, 0, *[100] * 7], abs=1)
    assert passing(lagging(0.85)) == pytest.approx([0] * 7 + [50, 100, 100], abs=1)


def test_health_admin_and_drills_pass_whatever_the_lag() -> None:
    assert passing(lagging(1000.0)) == [0] * 9 + [100]


def test_a_priority_is_shed_by_shares_evenly_not_all_at_once() -> None:
    shedder = lagging(0.125)  # a quarter of priority 0
    answers = [isinstance(shedder.admit(Ask(priority=0), 100.0), Permit) for _ in range(40)]
    shed = [number for number, passed in enumerate(answers) if not passed]
    assert {later - sooner for sooner, later in pairwise(shed)} <= {4, 5}
    assert len(shed) in (9, 10)


def test_traffic_that_passes_anyway_does_not_change_the_share_of_the_shed() -> None:
    shedder = lagging(0.125)
    shed = 0
    for _ in range(40):
        shed += isinstance(shedder.admit(Ask(priority=0), 100.0), Refused)
        for priority in (5, 9):
            assert isinstance(shedder.admit(Ask(priority=priority), 100.0), Permit)
    assert shed in (9, 10)


def test_a_measurement_weighs_by_the_time_since_the_last() -> None:
    shedder = lagging(0.0, ShedderSettings(smoothing=0.5))
    shedder.observe_lag(1.0, 100.01)
    assert shedder.statistics()["lag"] == pytest.approx(0.0198, rel=0.01)
    shedder.observe_lag(1.0, 200.0)
    assert shedder.statistics()["lag"] == pytest.approx(0.0198 + 0.25 * (1 - 0.0198), rel=0.01)


def test_a_shed_call_is_told_when_to_come_back() -> None:
    refusal = lagging(0.4).admit(Ask(priority=0), 100.0)
    assert isinstance(refusal, Refused)
    assert refusal.refusal is Refusal.SHED
    assert refusal.retry_after == 1.0
    assert refusal.detail == "'gateway' sheds priority 0: it lags 0.400 s"
    assert refusal.fault().code is Code.UNAVAILABLE


def test_one_hiccup_that_has_passed_turns_few_away() -> None:
    shedder = lagging(0.0)
    shedder.observe_lag(1.0, 101.0)
    assert passing(shedder, 101.0)[5] == 100
    for tenth in range(11, 21):
        shedder.observe_lag(0.0, 100.0 + tenth / 10)
    assert passing(shedder, 102.0) == [100] * 10


def test_a_lag_that_stays_sheds_soon() -> None:
    shedder = lagging(0.0)
    for second in range(1, 11):
        shedder.observe_lag(1.0, 100.0 + second)
    assert passing(shedder, 110.0)[5] == 0


def test_a_signal_that_went_silent_sheds_nobody_for_ever() -> None:
    shedder = lagging(1000.0)
    assert passing(shedder, 105.0)[5] == 0
    assert passing(shedder, 105.1) == [100] * 10
    assert shedder.statistics()["level"] == 0.0


def test_what_was_shed_is_counted_by_priority() -> None:
    shedder = lagging(0.4)
    passing(shedder, calls=10)
    figures = shedder.statistics()
    assert [figures[f"shed_{p}"] for p in range(5)] == pytest.approx([10, 10, 10, 0, 0], abs=1)
    assert figures["refused"] == sum(int(figures[f"shed_{p}"]) for p in range(9))


def test_a_double_settle_raises() -> None:
    shedder = Shedder("gateway")
    permit = shedder.admit(Ask(), 0.0)
    assert isinstance(permit, Permit)
    assert shedder.settle(permit, GOOD, 0.0) == ()
    with pytest.raises(RuntimeError, match="'gateway' was settled twice"):
        shedder.settle(permit, GOOD, 0.0)
    assert shedder.statistics()["out"] == 0


def test_a_shedder_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="no waiting places"):
        Shedder("gateway").abandon(Waiting(Ask(), 0.0, 1.0), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [{"begin": 0.0}, {"full": 0.01}, {"smoothing": 0.0}, {"retry_after": -1.0}, {"stale": 0}],
)
def test_wrong_settings_say_what_where_and_what_would_be_right(wrong: dict[str, float]) -> None:
    field = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"ShedderSettings\.{field} is .*would be right"):
        ShedderSettings(**wrong)
