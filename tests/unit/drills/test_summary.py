"""Figures from records."""

from switchgear.drills.summary import Percentiles, Record, percentile, summarise


def record(sequence: int, latency: float, status: int = 200, error: str = "") -> Record:
    return Record(sequence, float(sequence), float(sequence), sequence + latency, status, error)


def test_percentiles_are_nearest_rank() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7
    assert Percentiles.of([3.0, 1.0, 2.0]) == Percentiles(2.0, 3.0, 3.0, 3.0)
    assert Percentiles.of([]) == Percentiles()


def test_a_latency_counts_from_the_instant_it_was_due() -> None:
    assert Record(0, scheduled=10.0, sent=14.0, ended=15.0, status=200).latency == 5.0


def test_only_whole_right_successes_are_good() -> None:
    assert record(1, 0.1).good
    assert record(1, 0.1, 304).good
    assert not record(1, 0.1, 404).good
    assert not record(1, 0.1, 200, "wrong").good
    assert not record(1, 0.1, 0, "reset").good


def test_a_summary_counts_every_request_once() -> None:
    records = [record(0, 0.25), record(1, 0.5, 503), record(2, 4.0, 0, "timeout")]
    summary = summarise(records)
    assert (summary.requests, summary.good) == (3, 1)
    assert summary.goodput == 1 / 3
    assert summary.statuses == {"200": 1, "503": 1}
    assert summary.errors == {"timeout": 1}
    assert summary.answered.highest == 0.5
    assert summary.every.highest == 4.0
    assert summary.seconds == 6.0
    assert "3 requests, 1 good (33.3%), 1 x 200, 1 x 503, 1 timeout" in summary.text()
    assert summarise([]).goodput == 1.0
