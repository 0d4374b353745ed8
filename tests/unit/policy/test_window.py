"""The sliding window, in situations."""

import pytest

from switchgear.policy.window import Window, WindowSettings


def test_what_happened_within_the_span_is_counted_by_kind() -> None:
    window = Window(2)
    window.add(0, 100.0)
    window.add(1, 104.0, 3)
    assert window.total(0, 109.0) == 1
    assert window.total(1, 109.0) == 3


def test_each_bucket_is_forgotten_as_it_leaves_the_span() -> None:
    window = Window()
    for second in range(100, 110):
        window.add(0, second + 0.5)
    assert window.total(0, 109.9) == 10
    assert window.total(0, 110.0) == 9
    assert window.total(0, 114.0) == 5
    assert window.total(0, 119.0) == 0


def test_a_bucket_ends_where_the_next_begins() -> None:
    window = Window()
    window.add(0, 100.0)
    assert window.edge == 101.0
    window.add(0, 101.0)
    assert window.edge == 102.0
    assert window.total(0, 110.0) == 1


def test_the_edge_of_the_newest_bucket_follows_the_settings() -> None:
    window = Window(1, WindowSettings(span=2.0, buckets=8))
    assert window.total(0, 0.3) == 0
    assert window.edge == 0.5
    window.total(0, 7.125)
    assert window.edge == 7.25
    window.total(0, 3.0)
    assert window.edge == 7.25


def test_what_was_forgotten_is_not_forgotten_twice() -> None:
    window = Window()
    window.add(0, 100.0, 2)
    for second in range(101, 150):
        assert window.total(0, float(second)) == (2 if second < 110 else 0)


def test_a_long_silence_empties_the_window() -> None:
    window = Window()
    window.add(0, 100.0)
    assert window.total(0, 1e9) == 0
    window.add(0, 1e9)
    assert window.total(0, 1e9) == 1


def test_an_instant_from_the_past_counts_as_the_newest() -> None:
    window = Window()
    window.add(0, 105.0)
    window.add(0, 42.0)
    assert window.total(0, 105.0) == 2
    assert window.total(0, 115.0) == 0


def test_clear_forgets_and_counting_goes_on() -> None:
    window = Window()
    window.add(0, 100.0)
    window.clear()
    assert window.total(0, 100.0) == 0
    window.add(0, 100.0)
    assert window.total(0, 109.0) == 1


def test_the_clock_may_start_below_zero() -> None:
    window = Window()
    window.add(0, -3.5)
    assert window.total(0, -3.5) == 1
    assert window.total(0, 5.5) == 1
    assert window.total(0, 7.0) == 0
    window = Window()
    window.add(0, -0.5)
    assert window.edge == 0.0
    assert window.total(0, 8.9) == 1
    assert window.total(0, 9.0) == 0


def test_the_clock_may_start_far_below_zero() -> None:
    window = Window()
    window.add(0, -10_000.0)
    assert window.edge == -9_999.0
    assert window.total(0, -9_900.0) == 0


def test_a_window_counts_one_kind_unless_told_otherwise() -> None:
    with pytest.raises(IndexError):
        Window().total(1, 0.0)
