"""The ramp, in situations."""

from switchgear.policy.ramp import Ramp


def started(span: float = 8.0, now: float = 100.0) -> Ramp:
    ramp = Ramp(span)
    ramp.start(now)
    return ramp


def test_before_it_was_ever_started_everything_goes_through() -> None:
    ramp = Ramp(8.0)
    assert ramp.share(0.0) == 1.0
    assert ramp.left(0.0) == 0.0
    assert all(ramp.admits(0.0) for _ in range(10))


def test_the_share_grows_evenly_from_nothing_to_all() -> None:
    ramp = started()
    assert [ramp.share(100.0 + passed) for passed in (0, 2, 4, 7, 8, 9)] == [
        0.0,
        0.25,
        0.5,
        0.875,
        1.0,
        1.0,
    ]


def test_what_is_left_is_the_time_until_all_go_through() -> None:
    ramp = started()
    assert [ramp.left(100.0 + passed) for passed in (0, 2, 8, 9)] == [8.0, 6.0, 0.0, 0.0]


def test_at_a_quarter_it_is_exactly_every_fourth_call() -> None:
    ramp = started()
    assert ramp.admits(100.0)  # the first after the start, whatever the share
    answers = [ramp.admits(102.0) for _ in range(12)]
    assert answers == [False, False, False, True] * 3


def test_the_first_call_after_the_start_goes_through_and_the_second_waits_its_turn() -> None:
    ramp = started()
    assert ramp.admits(100.0)
    assert not ramp.admits(100.0)


def test_what_was_saved_is_not_forgotten_while_the_share_grows() -> None:
    ramp = started()
    answers = [ramp.admits(100.0 + passed) for passed in (0, 2, 4, 4, 6, 6, 8, 8, 8)]
    assert answers == [True, False, False, True, True, False, True, True, True]


def test_a_clock_that_steps_back_admits_nothing_less_than_nothing() -> None:
    ramp = started()
    assert ramp.share(99.0) == 0.0
    assert ramp.admits(99.0)  # the one that was saved for the start
    assert not ramp.admits(99.0)


def test_a_ramp_of_no_length_admits_all_at_once() -> None:
    ramp = started(span=0.0)
    assert ramp.share(100.0) == 1.0
    assert ramp.share(99.0) == 0.0
    assert all(ramp.admits(100.0) for _ in range(10))


def test_a_new_start_begins_anew() -> None:
    ramp = started()
    assert ramp.share(108.0) == 1.0
    ramp.start(108.0)
    assert ramp.share(110.0) == 0.25
    assert [ramp.admits(108.0) for _ in range(3)] == [True, False, False]
