"""Quantiles of the latest latencies, in situations."""

import pytest

from switchgear.policy.quantile import Latencies, LatencySettings

CLOSE = 0.026  # what a bucket's width may cost


def seen(*seconds: float, at: float = 0.0, samples: int = 1, span: float = 10.0) -> Latencies:
    latencies = Latencies(LatencySettings(span=span, samples=samples))
    for each in seconds:
        latencies.observe(each, at)
    return latencies


def test_nothing_is_told_before_there_are_enough_samples() -> None:
    latencies = seen(0.1, 0.1, samples=3)
    assert latencies.quantile(0.5, 0.0) is None
    latencies.observe(0.1, 0.0)
    assert latencies.quantile(0.5, 0.0) == pytest.approx(0.1, rel=CLOSE)


@pytest.mark.parametrize(
    ("share", "rank"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.95, 95), (1.0, 100)]
)
def test_it_is_the_sample_at_the_nearest_rank(share: float, rank: int) -> None:
    latencies = seen(*(0.001 * 1.1**number for number in range(1, 101)))
    assert latencies.quantile(share, 0.0) == pytest.approx(0.001 * 1.1**rank, rel=CLOSE)


@pytest.mark.parametrize("seconds", [1.01e-5, 1e-4, 0.0123, 1.0, 59.9, 9999.0])
def test_it_is_close_over_nine_orders_of_magnitude(seconds: float) -> None:
    assert seen(seconds).quantile(0.5, 0.0) == pytest.approx(seconds, rel=CLOSE)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e-5])
def test_the_shortest_are_all_alike(seconds: float) -> None:
    assert seen(seconds).quantile(0.5, 0.0) == 1e-5


@pytest.mark.parametrize("seconds", [1e4, 1e9, float("inf")])
def test_the_longest_are_all_alike(seconds: float) -> None:
    assert seen(seconds).quantile(0.5, 0.0) == pytest.approx(1e4, rel=CLOSE)
    assert seen(9000.0, seconds).quantile(1.0, 0.0) != seen(9000.0).quantile(1.0, 0.0)


def test_both_halves_of_the_span_count_and_older_ones_are_gone() -> None:
    latencies = seen(1.0, 1.0, 1.0, at=4.9, span=10.0)
    latencies.observe(0.1, 5.0)
    assert latencies.quantile(0.5, 9.9) == pytest.approx(1.0, rel=CLOSE)
    assert latencies.seen(9.9) == 4
    assert latencies.quantile(0.5, 10.0) == pytest.approx(0.1, rel=CLOSE)
    assert latencies.seen(10.0) == 1
    assert latencies.quantile(0.5, 15.0) is None
    assert latencies.seen(15.0) == 0


def test_a_long_silence_leaves_nothing_of_either_half() -> None:
    latencies = seen(1.0, at=4.9)
    latencies.observe(1.0, 5.0)
    assert latencies.seen(15.0) == 0
    latencies = seen(1.0, at=4.9)
    latencies.observe(1.0, 1000.0)
    assert latencies.seen(1000.0) == 1


def test_asking_how_many_turns_on_too() -> None:
    latencies = seen(1.0, at=0.0)
    assert latencies.seen(4.9) == 1
    assert latencies.seen(5.0) == 1
    assert latencies.seen(9.9) == 1
    assert latencies.seen(10.0) == 0


def test_an_instant_before_the_newest_counts_as_the_newest() -> None:
    latencies = seen(1.0, at=50.0)
    latencies.observe(1.0, 3.0)
    assert latencies.seen(3.0) == 2
    assert latencies.seen(55.0) == 2


def test_buckets_are_five_per_cent_wide() -> None:
    told = {seen(1.0 + number / 1000).quantile(0.5, 0.0) for number in range(1, 1001)}
    assert len(told) == 15, "20 for each factor of e: 14 in a factor of 2, and one cut by the edges"
    assert seen(1.0).quantile(0.5, 0.0) == pytest.approx(1.01215, rel=1e-5)


@pytest.mark.parametrize("many", [32, 47])
def test_a_quantile_is_told_again_until_more_than_a_sixteenth_is_new(many: int) -> None:
    latencies = seen(*[0.1] * many)
    told = latencies.quantile(1.0, 0.0)
    for _ in range(2):
        latencies.observe(1.0, 0.0)
        assert latencies.quantile(1.0, 0.0) == told
    assert latencies.quantile(0.99, 0.0) == pytest.approx(1.0, rel=CLOSE), (
        "asked for the first time"
    )
    latencies.observe(1.0, 0.0)
    assert latencies.quantile(1.0, 0.0) == pytest.approx(1.0, rel=CLOSE)


def test_with_few_samples_each_new_one_counts_at_once() -> None:
    latencies = seen(0.1)
    assert latencies.quantile(1.0, 0.0) == pytest.approx(0.1, rel=CLOSE)
    latencies.observe(1.0, 0.0)
    assert latencies.quantile(1.0, 0.0) == pytest.approx(1.0, rel=CLOSE)


def test_a_new_half_is_counted_anew() -> None:
    latencies = seen(*[1.0] * 32, at=0.0)
    for _ in range(32):
        latencies.observe(0.1, 5.0)
    assert latencies.quantile(0.9, 9.0) == pytest.approx(1.0, rel=CLOSE)
    assert latencies.quantile(0.9, 10.0) == pytest.approx(0.1, rel=CLOSE)


def test_defaults() -> None:
    settings = LatencySettings()
    assert (settings.span, settings.samples) == (30.0, 20)
    latencies = Latencies()
    for _ in range(20):
        assert latencies.quantile(0.5, 0.0) is None
        latencies.observe(0.1, 0.0)
    assert latencies.quantile(0.5, 29.9) is not None
    assert latencies.quantile(0.5, 30.0) is None


def test_a_short_span_is_right_too() -> None:
    latencies = seen(1.0, span=0.5)
    assert latencies.seen(0.4) == 1
    assert latencies.seen(0.5) == 0
