"""Counters, histograms, and the page that merges several processes."""

import math
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchgear.telemetry.exposition import render
from switchgear.telemetry.metrics import FamilyShot, Registry


def parsed(page: bytes) -> dict[tuple[str, ...], float]:
    """Read a page with the reference parser: (name, label=value...) -> value."""
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_a_bound_counter_is_one_integer() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests.", ["route"])
    users = requests.bind("/users")
    users.value += 2
    users.add()
    assert requests.bind("/users") is users
    assert parsed(render({"gateway-1": registry.snapshot()})) == {
        ("requests_total", "process=gateway-1", "route=/users"): 3
    }


def test_histogram_buckets_are_cumulative_and_include_their_bound() -> None:
    registry = Registry()
    took = registry.histogram("took_seconds", "Time.", bounds=(0.1, 1.0)).bind()
    for value in (0.05, 0.1, 0.5, 7.0):
        took.observe(value)
    page = parsed(render({"a": registry.snapshot()}))
    assert page["took_seconds_bucket", "le=0.1", "process=a"] == 2
    assert page["took_seconds_bucket", "le=1", "process=a"] == 3
    assert page["took_seconds_bucket", "le=+Inf", "process=a"] == 4
    assert page["took_seconds_count", "process=a"] == 4
    assert page["took_seconds_sum", "process=a"] == pytest.approx(7.65)


def test_processes_merge_into_one_family_and_survive_the_control_socket() -> None:
    registries = {name: Registry() for name in ("gateway-1", "gateway-2")}
    for number, registry in enumerate(registries.values(), 1):
        registry.counter("hits_total", "Hits.").bind().add(number)
    shots = {
        name: msgspec.json.decode(msgspec.json.encode(registry.snapshot()), type=list[FamilyShot])
        for name, registry in registries.items()
    }
    page = render(shots)
    assert page.count(b"# TYPE hits_total counter") == 1
    assert parsed(page) == {
        ("hits_total", "process=gateway-1"): 1,
        ("hits_total", "process=gateway-2"): 2,
    }


def test_label_values_are_escaped() -> None:
    registry = Registry()
    nasty = 'a"b\\c\nd'
    registry.gauge("depth", 'a "help"\nin two lines', ["name"]).bind(nasty).put(math.inf)
    assert parsed(render({"p": registry.snapshot()})) == {
        ("depth", f"name={nasty}", "process=p"): math.inf
    }


def test_a_process_of_another_shape_is_left_out_and_counted() -> None:
    old, new = Registry(), Registry()
    old.counter("hits_total", "Hits.").bind().add(1)
    new.counter("hits_total", "Hits.", ["route"]).bind("/").add(1)
    page = parsed(render({"old": old.snapshot(), "new": new.snapshot()}))
    assert page == {
        ("hits_total", "process=old"): 1,
        ("switchgear_metric_conflicts", "process=new"): 1,
    }


def test_an_empty_histogram_family_conflicts_with_nobody() -> None:
    full, empty = Registry(), Registry()
    full.histogram("took_seconds", "Time.").bind().observe(1)
    empty.histogram("took_seconds", "Time.")
    assert b"conflicts" not in render({"empty": empty.snapshot(), "full": full.snapshot()})


def test_label_sets_beyond_the_bound_share_one_series() -> None:
    registry = Registry()
    hits = registry.counter("hits_total", "Hits.", ["path"])
    for number in range(1500):
        hits.bind(f"/{number}").add()
    series = registry.snapshot()[0].series
    assert len(series) == 1001
    assert {one.labels[0]: one.value for one in series}["other"] == 500


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda r: r.counter("hits", ""), "ends in _total"),
        (lambda r: r.gauge("Depth", ""), "lower snake case"),
        (lambda r: r.gauge("depth", "", ["process"]), "may not use"),
        (lambda r: r.histogram("took", "", bounds=(2.0, 1.0)), "must rise"),
        (lambda r: (r.gauge("depth", ""), r.gauge("depth", "")), "registered already"),
        (lambda r: r.gauge("depth", "", ["a"]).bind("x", "y"), "told apart by"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_given(
    make: Callable[[Registry], object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make(Registry())
