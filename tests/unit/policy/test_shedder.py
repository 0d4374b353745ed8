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


def queueing(seconds: float, lag: float = 0.0) -> Shedder:
    """Return a shedder whose calls have queued as long for long, until the instant 100."""
    shedder = Shedder("gateway", ShedderSettings(queue_begin=0.1, queue_full=1.0))
    for tenth in range(1001):
        shedder.observe_queue(seconds, tenth / 10)
        shedder.observe_lag(lag, tenth / 10)
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
    shedder.observe_lag(1.0, 105.0)
    assert shedder.statistics()["lag"] == pytest.approx(0.0198 + 0.25 * (1 - 0.0198), rel=0.01)


def test_a_measurement_that_comes_late_weighs_nothing() -> None:
    shedder = lagging(0.0, ShedderSettings(smoothing=0.5))
    shedder.observe_lag(1.0, 90.0)
    assert shedder.statistics()["lag"] == 0.0
    shedder.observe_lag(1.0, 100.01)  # 0.01 s after the newest, not 10.01 s after the late one
    assert shedder.statistics()["lag"] == pytest.approx(0.0198, rel=0.01)


def test_the_level_ends_where_nothing_and_where_all_is_shed() -> None:
    assert lagging(0.05).statistics()["level"] == 0.0
    assert lagging(0.55).statistics()["level"] == pytest.approx(4.5)
    assert lagging(7.0).statistics()["level"] == 9.0


def quarter() -> Shedder:
    """Return a shedder that has measured once, and sheds exactly a quarter of priority 0."""
    shedder = Shedder("gateway", ShedderSettings(begin=0.5, full=5.0))
    shedder.observe_lag(2.5, 100.0)
    assert shedder.statistics()["level"] == 0.25
    return shedder


def test_of_a_quarter_it_is_every_fourth_call() -> None:
    shedder = quarter()
    answers = [isinstance(shedder.admit(Ask(priority=0), 100.0), Refused) for _ in range(12)]
    assert answers == [False, False, False, True] * 3


def test_the_whole_of_a_priority_is_shed_at_the_next_level() -> None:
    shedder = Shedder("gateway", ShedderSettings(begin=0.5, full=5.0))
    shedder.observe_lag(4.0, 100.0)
    assert shedder.statistics()["level"] == 1.0
    assert passing(shedder) == [0] + [100] * 9


def test_a_shed_call_is_told_when_to_come_back() -> None:
    refusal = lagging(0.4).admit(Ask(priority=0), 100.0)
    assert isinstance(refusal, Refused)
    assert refusal.refusal is Refusal.SHED
    assert refusal.retry_after == 1.0
    assert refusal.detail == "'gateway' sheds priority 0: it lags 0.400 s"
    assert refusal.fault().code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("lag", "at", "calm"),
    [
        pytest.param(1.0, 101.0, 10, id="a hiccup"),
        # Of a gateway that had been stopped for 5 s, everybody was turned away for another second.
        pytest.param(3600.0, 3700.0, 20, id="a process that was stopped"),
    ],
)
def test_one_lag_that_has_passed_turns_few_away(lag: float, at: float, calm: int) -> None:
    shedder = lagging(0.0)
    shedder.observe_lag(lag, at)
    assert passing(shedder, at)[5] == 100
    for tenth in range(1, calm + 1):
        shedder.observe_lag(0.0, at + tenth / 10)
    assert passing(shedder, at + calm / 10) == [100] * 10


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


def test_calls_that_queue_for_long_shed_as_a_loop_that_lags() -> None:
    assert passing(queueing(0.1)) == [100] * 10
    assert passing(queueing(0.4)) == pytest.approx([0, 0, 0, *[100] * 7], abs=1)
    assert passing(queueing(2.0)) == [0] * 9 + [100]


def test_the_worse_of_the_two_counts_and_is_named() -> None:
    queues = queueing(0.85, lag=0.15)
    assert passing(queues) == pytest.approx([0] * 7 + [50, 100, 100], abs=1)
    refusal = queues.admit(Ask(priority=0), 100.0)
    assert isinstance(refusal, Refused)
    assert refusal.detail == "'gateway' sheds priority 0: calls queue for 0.850 s"
    lags = queueing(0.4, lag=0.425)
    assert passing(lags)[6] == 0, "a lag of 0.425 is level 7.5"
    refusal = lags.admit(Ask(priority=0), 100.0)
    assert isinstance(refusal, Refused)
    assert refusal.detail == "'gateway' sheds priority 0: it lags 0.425 s"


def test_observing_the_one_does_not_hide_the_other() -> None:
    shedder = queueing(2.0)
    shedder.observe_lag(0.0, 100.0)
    assert passing(shedder)[8] == 0
    shedder = queueing(0.0, lag=1.0)
    shedder.observe_queue(0.0, 100.0)
    assert passing(shedder)[8] == 0


def test_each_goes_stale_by_itself() -> None:
    shedder = queueing(0.4, lag=1.0)
    for tenth in range(1001, 1051):
        shedder.observe_queue(0.4, tenth / 10)
    assert passing(shedder, 105.0) == [0] * 9 + [100]
    assert passing(shedder, 105.1) == pytest.approx([0, 0, 0, *[100] * 7], abs=1)
    figures = shedder.statistics()
    assert figures["lag"] == 0.0
    assert figures["queue"] == pytest.approx(0.4)
    assert figures["level"] == pytest.approx(3.0)


def test_a_queue_that_is_told_of_no_more_sheds_nobody_for_ever() -> None:
    shedder = queueing(2.0)
    shedder.observe_lag(0.0, 105.0)
    assert passing(shedder, 105.0)[8] == 0
    assert passing(shedder, 105.1) == [100] * 10
    assert shedder.statistics()["queue"] == 0.0


def test_after_a_silence_it_is_not_averaged_with_what_was_before() -> None:
    """An overload before a quiet night is no reason to turn the first ones of the morning away."""
    shedder = queueing(2.0, lag=1.0)
    shedder.observe_queue(0.0, 105.0)
    shedder.observe_lag(0.0, 105.0)
    figures = shedder.statistics()
    assert (figures["queue"], figures["lag"]) == pytest.approx((1.5, 0.75))
    shedder.observe_queue(0.0, 110.1)
    shedder.observe_lag(0.4, 110.1)
    figures = shedder.statistics()
    assert (figures["queue"], figures["lag"]) == pytest.approx((0.0, 0.1))
    assert passing(shedder, 110.1)[1:] == [100] * 9


def test_either_sign_raises_the_level_at_once() -> None:
    """Who looks at the level alone, as a gateway does while it is 0, is to see it."""
    late, crowded = Shedder("gateway"), Shedder("gateway")
    late.observe_lag(1.0, 1.0)
    crowded.observe_queue(1.0, 1.0)
    assert (late.level, crowded.level) == pytest.approx((4.0, 1.5))


def test_below_where_shedding_begins_the_level_is_none() -> None:
    shedder = Shedder("gateway")
    shedder.observe_lag(0.0, 1.0)
    shedder.observe_queue(0.0, 1.0)
    assert shedder.statistics()["level"] == 0.0


@pytest.mark.parametrize("priority", [-1, -7])
def test_a_priority_below_the_least_counts_as_the_least(priority: int) -> None:
    shedder = lagging(0.125)
    passed = sum(
        isinstance(shedder.admit(Ask(priority=priority), 100.0), Permit) for _ in range(40)
    )
    assert passed in (30, 31), "a quarter is shed, as of priority 0"
    assert shedder.statistics()["shed_0"] == 40 - passed
    assert isinstance(Shedder("gateway").admit(Ask(priority=priority), 0.0), Permit)


def test_what_was_shed_is_counted_by_priority() -> None:
    shedder = lagging(0.4)
    passing(shedder, calls=10)
    figures = shedder.statistics()
    assert [figures[f"shed_{p}"] for p in range(5)] == pytest.approx([10, 10, 10, 0, 0], abs=1)
    assert figures["refused"] == sum(int(figures[f"shed_{p}"]) for p in range(9))


def test_a_fresh_shedder_has_nothing_to_tell() -> None:
    assert Shedder("gateway").statistics() == {
        **dict.fromkeys(("admitted", "settled", "out", "refused"), 0),
        **dict.fromkeys(("lag", "queue", "level"), 0.0),
        **{f"shed_{priority}": 0 for priority in range(9)},
    }


def test_what_was_admitted_and_settled_is_counted() -> None:
    shedder = Shedder("gateway")
    shedder.observe_lag(0.01, 0.0)
    first, second, _third = (shedder.admit(Ask(), 0.0) for _ in range(3))
    for permit in (first, second):
        assert isinstance(permit, Permit)
        assert permit.at == 0.0
        assert shedder.settle(permit, GOOD, 1.0) == ()
    figures = shedder.statistics()
    assert [figures[name] for name in ("admitted", "settled", "out")] == [3, 2, 1]


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
    "edge",
    [
        {"begin": 0.01},
        {"smoothing": 0.01},
        {"retry_after": 0.0},
        {"stale": 0.1},
        {"queue_begin": 0.01},
    ],
)
def test_the_edges_of_the_ranges_are_right(edge: dict[str, float]) -> None:
    ShedderSettings(**edge)


def test_what_kind_of_gate_it_is_and_its_name_are_told() -> None:
    gate = Shedder("gateway")
    assert (gate.kind, gate.name) == ("shedder", "gateway")


def test_defaults() -> None:
    settings = ShedderSettings()
    assert (settings.begin, settings.full) == (0.05, 0.5)
    assert (settings.queue_begin, settings.queue_full) == (0.1, 1.0)
    assert (settings.smoothing, settings.retry_after, settings.stale) == (0.5, 1.0, 5.0)


def test_a_permit_is_dated_and_statistics_are_whole() -> None:
    shedder = Shedder("gateway")
    permit = shedder.admit(Ask(priority=0), 3.0)
    assert isinstance(permit, Permit)
    assert permit.at == 3.0
    figures = shedder.statistics()
    assert list(figures) == [
        *("lag", "queue", "level", "admitted", "settled", "out", "refused"),
        *(f"shed_{priority}" for priority in range(9)),
    ]
    assert (figures["admitted"], figures["settled"], figures["out"]) == (1, 0, 1)
    shedder.settle(permit, GOOD, 3.0)
    assert permit.spent
    assert shedder.statistics()["settled"] == 1
    assert (figures["lag"], figures["queue"], figures["level"]) == (0.0, 0.0, 0.0)


def test_who_is_waved_through_is_admitted_and_settled() -> None:
    shedder = Shedder("gateway")
    shedder.admit(Ask(), 1.0)
    shedder.waved += 3
    figures = shedder.statistics()
    assert (figures["admitted"], figures["settled"], figures["out"]) == (4, 3, 1)


def test_an_instant_from_the_past_weighs_nothing_and_makes_nothing_older() -> None:
    shedder = lagging(0.4)
    before = shedder.statistics()["lag"]
    shedder.observe_lag(9.0, 50.0)
    assert shedder.statistics()["lag"] == before
    assert passing(shedder, 105.0)[0] == 0


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    settings = ShedderSettings()
    with pytest.raises(AttributeError):
        settings.begin = 1  # type: ignore[misc]  # the point of the test
