"""The breaker, in situations: each trap is a test that bears its words."""

from functools import partial
from typing import Any

import pytest

from switchgear.policy.breaker import Breaker, BreakerSettings, State, Transition
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import ANYONE, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict


def middling() -> float:
    """No jitter: the middle of the range."""
    return 0.5


def make(settings: BreakerSettings | None = None) -> Breaker:
    return Breaker("mail", settings or BreakerSettings(), jitter=middling)


def admitted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(ANYONE, now)
    assert isinstance(permit, Permit), permit
    return permit


def refused(breaker: Breaker, now: float) -> Refused:
    refusal = breaker.admit(ANYONE, now)
    assert isinstance(refusal, Refused), refusal
    return refusal


def run(breaker: Breaker, verdict: Verdict, now: float, took: float = 0.0) -> None:
    permit = admitted(breaker, now - took)
    assert breaker.settle(permit, verdict, now) == ()


def state(breaker: Breaker) -> State:
    """Read the state anew, as a type checker thinks that no call changes it."""
    return breaker.state


def opened(now: float = 0.0, settings: BreakerSettings | None = None) -> Breaker:
    breaker = make(settings)
    for _ in range(5):
        run(breaker, BAD, now)
    assert state(breaker) is State.OPEN
    return breaker


def closed_again(now: float = 0.0) -> Breaker:
    """A breaker that opened at `now` and whose ramp starts at `now` + 5."""
    breaker = opened(now)
    for _ in range(3):
        run(breaker, GOOD, now + 5.0)
    assert state(breaker) is State.CLOSED
    return breaker


# -- opening


def test_calls_that_one_event_ends_are_one_failure_in_a_row() -> None:
    """A process is killed, and all calls at it fail: they say no more than one of them does."""
    breaker = make(BreakerSettings(consecutive=3, calls=100))
    for blow in range(3):
        assert breaker.statistics()["consecutive"] == blow
        for permit in [admitted(breaker, 60.0 * blow + n) for n in range(5)]:
            breaker.settle(permit, BAD, 60.0 * blow + 5.0)
    assert state(breaker) is State.OPEN


def test_calls_whose_time_is_over_together_are_a_row() -> None:
    """Each has waited for itself, and tells of its own wait."""
    breaker = make(BreakerSettings(consecutive=3, calls=100, slow_after=0.8))
    for permit in [admitted(breaker, 0.0) for _ in range(3)]:
        breaker.settle(permit, BAD, 1.0)
    assert state(breaker) is State.OPEN


def test_calls_that_fail_apart_or_one_after_the_other_are_a_row() -> None:
    breaker = make(BreakerSettings(consecutive=100, calls=100))
    under_way = [admitted(breaker, 0.0) for _ in range(6)]
    for permit, at, counted in zip(
        under_way, [1.0, 1.005, 1.0099, 1.01, 1.019, 1.025], [1, 1, 1, 2, 2, 3], strict=True
    ):
        breaker.settle(permit, BAD, at)
        assert breaker.statistics()["consecutive"] == counted, at
    later = admitted(breaker, 1.024)  # one was under way since before the last that counted
    breaker.settle(later, BAD, 1.026)
    assert breaker.statistics()["consecutive"] == 3
    run(breaker, BAD, 1.027, took=0.002)
    assert breaker.statistics()["consecutive"] == 4, "begun when that one had failed"
    exact = make(BreakerSettings(consecutive=100, calls=100))
    for permit, at in zip([admitted(exact, -1.0) for _ in range(2)], [0.0, 0.01], strict=True):
        exact.settle(permit, BAD, at)
    assert exact.statistics()["consecutive"] == 2, "10 ms are apart"
    run(breaker, GOOD, 1.028)
    late = admitted(breaker, 0.0)
    breaker.settle(late, BAD, 1.029)
    assert breaker.statistics()["consecutive"] == 1, "a good one ends the row, and what struck"


def test_five_failures_in_a_row_open_a_quiet_route() -> None:
    breaker = make()
    for second in range(4):
        run(breaker, BAD, second * 60.0)
    assert state(breaker) is State.CLOSED
    run(breaker, BAD, 240.0)
    assert state(breaker) is State.OPEN


def test_one_success_in_ten_does_not_hide_ninety_percent_failure() -> None:
    settings = BreakerSettings(consecutive=1000)
    breaker = make(settings)
    run(breaker, GOOD, 1.0)
    for _ in range(8):
        run(breaker, BAD, 1.0)
    assert state(breaker) is State.CLOSED, "below ten calls nothing is concluded"
    run(breaker, BAD, 1.0)
    assert state(breaker) is State.OPEN


def test_half_of_the_calls_failing_opens_and_less_does_not() -> None:
    breaker = make()
    for second in range(40):
        run(breaker, GOOD if second % 5 < 3 else BAD, second / 4)
    assert state(breaker) is State.CLOSED
    for turn in range(20):
        if state(breaker) is State.CLOSED:
            run(breaker, BAD if turn % 2 else GOOD, 30.0)
    assert state(breaker) is State.OPEN


def test_failures_that_left_the_window_are_forgotten() -> None:
    breaker = make()
    for _ in range(4):
        run(breaker, BAD, 1.0)
    run(breaker, GOOD, 1.0)
    for _ in range(4):
        run(breaker, BAD, 1.0)
    run(breaker, GOOD, 30.0)
    run(breaker, BAD, 30.0)
    assert state(breaker) is State.CLOSED


def test_good_calls_of_every_bucket_weigh_against_failures() -> None:
    breaker = make()
    for tenth in range(80):
        run(breaker, GOOD, tenth / 10)
    for _ in range(4):
        run(breaker, BAD, 8.0)
    run(breaker, GOOD, 8.0)
    for _ in range(4):
        run(breaker, BAD, 8.0)
    assert state(breaker) is State.CLOSED
    assert breaker.statistics()["settled"] == 89


def test_sixty_percent_slow_calls_open() -> None:
    breaker = make(BreakerSettings(slow_after=0.8))
    for turn in range(9):
        run(breaker, GOOD, 10.0, took=1.0 if turn < 5 else 0.1)
    assert state(breaker) is State.CLOSED
    run(breaker, GOOD, 10.0, took=1.0)
    assert state(breaker) is State.OPEN


def test_fewer_slow_calls_do_not_open() -> None:
    breaker = make(BreakerSettings(slow_after=0.8))
    for turn in range(20):
        run(breaker, GOOD, 10.0, took=1.0 if turn % 2 else 0.1)
    assert state(breaker) is State.CLOSED


def test_slow_is_longer_than_slow_after_not_as_long() -> None:
    breaker = make(BreakerSettings(slow_after=1.0))
    for _ in range(20):
        run(breaker, GOOD, 10.0, took=1.0)
    assert state(breaker) is State.CLOSED


def test_good_calls_on_the_edge_of_a_bucket_belong_to_the_next() -> None:
    breaker = make(BreakerSettings(calls=2, consecutive=100))
    run(breaker, GOOD, 0.0)
    for _ in range(9):
        run(breaker, GOOD, 1.0)
    for _ in range(2):
        run(breaker, BAD, 10.0)
    assert state(breaker) is State.CLOSED


def test_slowness_is_off_by_default() -> None:
    breaker = make()
    for _ in range(50):
        run(breaker, GOOD, 1000.0, took=900.0)
    assert state(breaker) is State.CLOSED


def test_a_stream_is_slow_by_its_head_not_by_its_end() -> None:
    breaker = make(BreakerSettings(slow_after=0.8))
    for _ in range(20):
        permit = admitted(breaker, 100.0)
        permit.answered = 100.1
        breaker.settle(permit, GOOD, 900.0)
    assert state(breaker) is State.CLOSED


def test_neutral_is_no_call_at_all() -> None:
    breaker = make()
    for _ in range(4):
        run(breaker, BAD, 1.0)
        run(breaker, NEUTRAL, 1.0)
    assert state(breaker) is State.CLOSED
    run(breaker, BAD, 1.0)
    assert state(breaker) is State.OPEN, "a NEUTRAL between failures does not break the row"


# -- open


def test_open_refuses_with_the_time_that_is_left() -> None:
    breaker = opened()
    refusal = refused(breaker, 2.0)
    assert refusal.refusal is Refusal.OPEN
    assert refusal.retry_after == pytest.approx(3.0)
    assert refusal.detail == "breaker 'mail' is open for 3 s more"
    assert breaker.statistics()["refused"] == 1
    assert not breaker.available(2.0)
    assert breaker.available(5.0)


def test_open_time_doubles_up_to_its_most() -> None:
    breaker = opened()
    now, waits = 0.0, []
    for _ in range(6):
        wait = refused(breaker, now).retry_after
        assert wait is not None
        waits.append(wait)
        now += wait
        run(breaker, BAD, now)
    assert waits == pytest.approx([5.0, 10.0, 15.0, 15.0, 15.0, 15.0])
    steady = Breaker(
        "mail",
        BreakerSettings(open_for=30.0, open_most=30.0, consecutive=1),
        jitter=partial(float, 0.5),
    )
    run(steady, BAD, 0.0)
    run(steady, BAD, 30.0)
    assert refused(steady, 30.0).retry_after == 30.0, "where both are the same, so is each time"


def test_jitter_spreads_the_open_time_by_a_fifth_either_way() -> None:
    waits = []
    for draw in (0.0, 0.5, 0.75):
        breaker = Breaker("mail", jitter=partial(float, draw))
        for _ in range(5):
            run(breaker, BAD, 0.0)
        waits.append(refused(breaker, 0.0).retry_after)
    assert waits == pytest.approx([4.0, 5.0, 5.5])


def test_a_recovered_breaker_starts_from_the_shortest_open_time() -> None:
    breaker = closed_again()
    for _ in range(5):
        run(breaker, BAD, 15.0)
    assert refused(breaker, 15.0).retry_after == pytest.approx(5.0)


def test_opening_again_on_the_ramp_doubles_the_open_time() -> None:
    breaker = closed_again()
    now = 5.0
    while state(breaker) is State.CLOSED:
        now += 0.5
        permit = breaker.admit(ANYONE, now)
        if isinstance(permit, Permit):
            breaker.settle(permit, BAD, now)
    assert refused(breaker, now).retry_after == pytest.approx(10.0)


# -- half open


def test_half_open_admits_its_probes_and_no_more() -> None:
    breaker = opened()
    for _ in range(3):
        probe = admitted(breaker, 5.0)
        for _ in range(10):
            assert "its probe is out" in refused(breaker, 5.0).detail
        assert not breaker.available(5.0)
        breaker.settle(probe, GOOD, 5.0)
    assert state(breaker) is State.CLOSED


def test_probes_count_within_the_very_second_of_the_failures() -> None:
    breaker = opened(settings=BreakerSettings(open_for=0.125))
    for _ in range(3):
        run(breaker, GOOD, 0.125)
    assert state(breaker) is State.CLOSED


def test_a_failed_probe_opens_again() -> None:
    breaker = opened()
    run(breaker, GOOD, 5.0)
    run(breaker, BAD, 5.0)
    assert state(breaker) is State.OPEN


def test_a_cancelled_probe_does_not_leave_the_breaker_stuck_half_open() -> None:
    breaker = opened()
    run(breaker, NEUTRAL, 5.0)
    assert state(breaker) is State.HALF_OPEN
    for _ in range(3):
        run(breaker, GOOD, 5.0)
    assert state(breaker) is State.CLOSED


def test_a_lost_probe_does_not_leave_the_breaker_stuck_half_open() -> None:
    breaker = opened()
    admitted(breaker, 5.0)
    assert refused(breaker, 14.9).retry_after == pytest.approx(0.1)
    for _ in range(3):
        run(breaker, GOOD, 15.0)
    assert state(breaker) is State.CLOSED
    assert breaker.statistics()["lapsed"] == 1


def test_a_stale_probe_does_not_free_the_place_of_the_next() -> None:
    breaker = opened()
    stale = admitted(breaker, 5.0)
    admitted(breaker, 15.0)
    breaker.settle(stale, NEUTRAL, 16.0)
    assert not breaker.available(16.0)
    refused(breaker, 16.0)


def test_a_dependency_slower_than_the_lease_can_still_close_its_breaker() -> None:
    breaker = opened()
    probes = [admitted(breaker, 5.0 + 10.0 * turn) for turn in range(3)]
    for turn, probe in enumerate(probes):
        breaker.settle(probe, GOOD, 40.0 + turn)
    assert state(breaker) is State.CLOSED


def test_a_single_probe_that_fails_opens_again() -> None:
    breaker = opened(settings=BreakerSettings(probes=1))
    run(breaker, BAD, 5.0)
    assert state(breaker) is State.OPEN


def test_probes_that_are_slow_to_the_last_open_again() -> None:
    breaker = opened(settings=BreakerSettings(slow_after=0.8, slow=1.0))
    for turn in range(3):
        permit = admitted(breaker, 5.0 + turn)
        breaker.settle(permit, GOOD, 6.0 + turn)
    assert state(breaker) is State.OPEN


def test_slow_probes_open_again() -> None:
    breaker = opened(settings=BreakerSettings(slow_after=0.8))
    run(breaker, GOOD, 7.0)
    for now in (10.0, 12.0):
        permit = admitted(breaker, now)
        breaker.settle(permit, GOOD, now + 1.0)
    assert state(breaker) is State.OPEN


# -- the ramp


def test_the_ramp_admits_a_growing_share_evenly() -> None:
    breaker = closed_again()
    shares = []
    for second in range(10):
        passed = 0
        for call in range(100):
            answer = breaker.admit(ANYONE, 5.0 + second + call / 100)
            if isinstance(answer, Permit):
                breaker.settle(answer, GOOD, 5.0 + second + call / 100)
                passed += 1
        shares.append(passed)
    assert shares == pytest.approx([5, 15, 25, 35, 45, 55, 65, 75, 85, 95], abs=2)
    assert all(isinstance(breaker.admit(ANYONE, 15.0), Permit) for _ in range(100))


def test_a_refusal_on_the_ramp_says_how_much_is_admitted() -> None:
    breaker = closed_again()
    run(breaker, GOOD, 7.5)
    refusal = refused(breaker, 7.5)
    assert refusal.detail == "breaker 'mail' has just closed and admits 25 % of the calls"
    assert refusal.retry_after == 1.0


def test_no_ramp_admits_all_at_once() -> None:
    breaker = opened(settings=BreakerSettings(ramp=0.0))
    for _ in range(3):
        run(breaker, GOOD, 5.0)
    for _ in range(100):
        run(breaker, GOOD, 5.0)


# -- generations


def test_a_late_result_of_an_older_state_changes_nothing() -> None:
    breaker = make()
    late_bad = [admitted(breaker, 0.0) for _ in range(20)]
    late_good = [admitted(breaker, 0.0) for _ in range(20)]
    for _ in range(5):
        run(breaker, BAD, 0.0)
    for permit in late_good:
        breaker.settle(permit, GOOD, 1.0)
    assert state(breaker) is State.OPEN
    run(breaker, GOOD, 5.0)
    for permit in late_bad[:10]:
        breaker.settle(permit, BAD, 5.0)
    assert state(breaker) is State.HALF_OPEN
    for _ in range(2):
        run(breaker, GOOD, 5.0)
    for permit in late_bad[10:]:
        breaker.settle(permit, BAD, 6.0)
    assert state(breaker) is State.CLOSED
    assert breaker.statistics()["late"] == 40
    assert breaker.statistics()["out"] == 0


def test_a_late_good_result_does_not_break_a_row_of_failures() -> None:
    breaker = make()
    late = admitted(breaker, 0.0)
    breaker.reset(0.0)
    for _ in range(4):
        run(breaker, BAD, 0.0)
    breaker.settle(late, GOOD, 0.0)
    run(breaker, BAD, 0.0)
    assert state(breaker) is State.OPEN


@pytest.mark.parametrize("verdict", [GOOD, BAD, NEUTRAL])
def test_a_double_settle_raises_and_changes_nothing(verdict: Verdict) -> None:
    breaker = make()
    for _ in range(4):
        run(breaker, BAD, 0.0)
    permit = admitted(breaker, 0.0)
    breaker.settle(permit, NEUTRAL, 0.0)
    before = breaker.statistics()
    with pytest.raises(RuntimeError, match="'mail' was settled twice"):
        breaker.settle(permit, verdict, 0.0)
    assert breaker.statistics() == before
    assert state(breaker) is State.CLOSED


# -- the operator, the observer


def test_an_operator_holds_it_open_and_lets_go() -> None:
    breaker = make()
    breaker.force_open(0.0)
    refusal = refused(breaker, 1e6)
    assert refusal.detail == "breaker 'mail' is held open: forced by an operator"
    assert refusal.retry_after is None
    assert not breaker.available(1e6)
    breaker.reset(1e6)
    for _ in range(100):
        run(breaker, GOOD, 1e6)


def test_an_operator_holds_it_closed_whatever_fails() -> None:
    breaker = opened()
    breaker.force_closed(1.0)
    for _ in range(100):
        run(breaker, BAD, 1.0)
    assert state(breaker) is State.CLOSED
    breaker.reset(1.0)
    for _ in range(5):
        run(breaker, BAD, 1.0)
    assert state(breaker) is State.OPEN


def test_reset_while_half_open_admits_all_at_once() -> None:
    breaker = opened()
    run(breaker, GOOD, 5.0)
    breaker.reset(5.0)
    for _ in range(100):
        run(breaker, GOOD, 5.0)


def test_reset_forgets_the_good_calls_too() -> None:
    breaker = make(BreakerSettings(consecutive=100))
    for _ in range(50):
        run(breaker, GOOD, 0.0)
    breaker.reset(0.0)
    for _ in range(10):
        run(breaker, BAD, 0.0)
    assert state(breaker) is State.OPEN


def test_reset_on_the_ramp_admits_all_at_once() -> None:
    breaker = closed_again()
    breaker.reset(6.0)
    for _ in range(100):
        run(breaker, GOOD, 6.0)


def test_every_live_transition_is_observable() -> None:
    seen: list[Transition] = []
    breaker = Breaker("mail", jitter=middling, on_transition=seen.append)
    for _ in range(5):
        run(breaker, BAD, 0.0)
    run(breaker, BAD, 5.0)
    for _ in range(3):
        run(breaker, GOOD, 15.0)
    breaker.reset(16.0)
    assert seen == [
        Transition("mail", State.CLOSED, State.OPEN, 0.0, "5 failures in a row"),
        Transition("mail", State.OPEN, State.HALF_OPEN, 5.0, "open for 5 s, now probing"),
        Transition("mail", State.HALF_OPEN, State.OPEN, 5.0, "a probe failed"),
        Transition("mail", State.OPEN, State.HALF_OPEN, 15.0, "open for 10 s, now probing"),
        Transition("mail", State.HALF_OPEN, State.CLOSED, 15.0, "3 probes succeeded"),
    ]


def test_the_reason_names_the_figures() -> None:
    seen: list[Transition] = []
    breaker = Breaker(
        "mail", BreakerSettings(consecutive=100), jitter=middling, on_transition=seen.append
    )
    for turn in range(10):
        run(breaker, BAD if turn % 2 else GOOD, 0.0)
    assert [transition.why for transition in seen] == ["5 of 10 calls failed within 10 s"]


def test_a_breaker_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="no waiting places"):
        make().abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"failures": 0}, r"failures is 0, where a number above 0 and up to 1 would be right"),
        ({"failures": 1.5}, r"failures is 1\.5, where a number above 0 and up to 1 would be right"),
        ({"slow": float("nan")}, "slow is nan"),
        ({"calls": 0}, "calls is 0, where a whole number of at least 1"),
        ({"consecutive": 0}, "consecutive is 0"),
        ({"slow_after": -1.0}, "slow_after is -1"),
        ({"open_for": 0}, "open_for is 0"),
        ({"open_most": 4.0}, r"open_most is 4\.0, where a finite number of at least 5 would be"),
        ({"jitter": 1.0}, r"jitter is 1\.0"),
        ({"probes": 0}, "probes is 0"),
        ({"probe_lease": 0}, "probe_lease is 0"),
        ({"ramp": -1.0}, "ramp is -1"),
    ],
)
def test_wrong_settings_say_what_where_and_what_would_be_right(
    wrong: dict[str, Any], right: str
) -> None:
    with pytest.raises(ValueError, match=rf"BreakerSettings\.{right}"):
        BreakerSettings(**wrong)


# -- the express way


def test_a_closed_breaker_lets_everybody_through_by_hand() -> None:
    breaker = make()
    assert breaker.kind == "breaker"
    assert breaker.freely
    assert breaker.available(0.0)
    assert (breaker.generation, breaker.admitted, breaker.fresh) == (0, 0, 0)
    assert breaker.slow_after == float("inf")
    assert make(BreakerSettings(slow_after=0.8)).slow_after == 0.8


def test_good_calls_only_count_once_their_bucket_has_begun() -> None:
    breaker = make(BreakerSettings(slow_after=0.8))
    assert breaker.edge == float("-inf")
    run(breaker, GOOD, 100.25)
    assert (breaker.edge, breaker.fresh) == (101.0, 0)
    run(breaker, GOOD, 100.5)
    run(breaker, GOOD, 100.75, took=0.5)
    assert breaker.fresh == 2
    run(breaker, GOOD, 101.0)
    assert (breaker.edge, breaker.fresh) == (102.0, 0)


def test_a_call_that_took_just_as_long_as_is_not_slow_only_counts() -> None:
    breaker = make(BreakerSettings(slow_after=0.5))
    run(breaker, GOOD, 100.0)
    run(breaker, GOOD, 100.75, took=0.5)
    assert breaker.fresh == 1
    run(breaker, GOOD, 100.75, took=0.625)
    assert breaker.fresh == 0


def test_a_failure_ends_the_express_way_until_the_next_good_call() -> None:
    breaker = make()
    run(breaker, GOOD, 0.0)
    run(breaker, BAD, 0.0)
    assert breaker.edge == float("-inf")
    for _ in range(3):
        run(breaker, BAD, 0.0)
    run(breaker, GOOD, 0.0)
    assert breaker.edge == 1.0
    run(breaker, BAD, 0.0)
    assert state(breaker) is State.CLOSED, "the good call broke the row"


def test_a_late_good_call_does_not_count_on_the_express_way_either() -> None:
    breaker = make()
    late = admitted(breaker, 0.0)
    breaker.reset(0.0)
    run(breaker, GOOD, 0.25)
    assert breaker.edge == 1.0
    breaker.settle(late, GOOD, 0.5)
    assert breaker.fresh == 0
    assert breaker.statistics()["late"] == 1


def test_there_is_no_express_way_on_the_ramp_and_there_is_one_after_it() -> None:
    breaker = closed_again()
    assert not breaker.freely
    assert breaker.available(5.0)
    run(breaker, GOOD, 5.0)
    assert breaker.edge == float("-inf")
    assert not breaker.freely
    run(breaker, GOOD, 15.0)
    assert breaker.freely
    assert breaker.edge == 16.0


def test_probes_count_in_the_second_of_the_slow_calls_that_opened() -> None:
    breaker = make(BreakerSettings(slow_after=0.5, open_for=0.125))
    for _ in range(10):
        run(breaker, GOOD, 0.75, took=0.625)
    assert state(breaker) is State.OPEN
    assert breaker.edge == float("-inf")
    for _ in range(3):
        run(breaker, GOOD, 0.875)
    assert state(breaker) is State.CLOSED


def test_an_operator_opens_the_express_way_whatever_the_ramp() -> None:
    breaker = closed_again()
    breaker.force_closed(6.0)
    assert breaker.freely
    breaker.force_open(6.0)
    assert not breaker.freely
    breaker.reset(6.0)
    assert breaker.freely
    run(breaker, GOOD, 6.0)
    assert state(breaker) is State.CLOSED


# -- what is told, and how exactly


def test_a_good_call_opens_nothing_however_many_failed_before() -> None:
    breaker = make(BreakerSettings(consecutive=1000))
    for _ in range(9):
        run(breaker, BAD, 0.0)
    run(breaker, GOOD, 0.0)
    assert state(breaker) is State.CLOSED
    run(breaker, BAD, 0.0)
    assert state(breaker) is State.OPEN


def test_one_slow_probe_of_three_is_not_too_many() -> None:
    breaker = opened(settings=BreakerSettings(slow_after=0.8))
    for took in (1.0, 0.1, 0.1):
        permit = admitted(breaker, 5.0)
        breaker.settle(permit, GOOD, 5.0 + took)
    assert state(breaker) is State.CLOSED


def test_probes_that_took_just_as_long_as_is_not_slow_close() -> None:
    breaker = opened(settings=BreakerSettings(slow_after=0.5))
    for turn in range(3):
        permit = admitted(breaker, 5.0 + turn)
        breaker.settle(permit, GOOD, 5.5 + turn)
    assert state(breaker) is State.CLOSED


def test_nobody_is_told_to_come_back_later_than_in_a_second_nor_than_it_takes() -> None:
    breaker = opened()
    admitted(breaker, 5.0)
    assert refused(breaker, 5.0).retry_after == 1.0
    breaker = closed_again()
    admitted(breaker, 14.75)
    while isinstance(answer := breaker.admit(ANYONE, 14.75), Permit):
        pass
    assert answer.retry_after == 0.25


def test_the_share_on_the_ramp_is_told_to_the_percent() -> None:
    breaker = closed_again()
    while isinstance(answer := breaker.admit(ANYONE, 12.5), Permit):
        pass
    assert answer.detail == "breaker 'mail' has just closed and admits 75 % of the calls"


def test_the_figures() -> None:
    breaker = opened()
    figures = {
        "state": "open",
        "forced": 0.0,
        "generation": 1,
        "consecutive": 0,
        "admitted": 5,
        "settled": 5,
        "out": 0,
        "refused": 0,
        "late": 0,
        "lapsed": 0,
    }
    assert breaker.statistics() == figures
    refused(breaker, 1.0), refused(breaker, 2.0)
    assert breaker.statistics() == figures | {"refused": 2}
    breaker.force_closed(2.0)
    run(breaker, BAD, 2.0)
    run(breaker, BAD, 2.0)
    changed = {"state": "closed", "forced": 1.0, "generation": 2, "consecutive": 2}
    assert breaker.statistics() == figures | changed | {"refused": 2, "admitted": 7, "settled": 7}
