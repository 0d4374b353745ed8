"""The Prometheus observer: every kind counted, labels bounded, both ways of keeping figures."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from switchgear.core.observe import (
    AttemptEnded,
    CallEnded,
    Coalesced,
    FellBack,
    Hedging,
    Overran,
    Refusing,
    Retrying,
)
from switchgear.policy.breaker_settings import State, Transition
from switchgear.policy.fault import Refusal
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL
from switchgear.telemetry.metrics import LATENCY
from switchgear.telemetry.observers import PrometheusObserver
from tests.support.events import KINDS, of

SRC = Path(__file__).resolve().parents[4] / "src"


@pytest.fixture(params=["plain", "shared"])
def registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Keep the figures both ways: as plain numbers, and in the client's own instruments."""
    if request.param == "shared":
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "read when the client was imported")
    return CollectorRegistry()


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(registry: CollectorRegistry) -> Samples:
    """Read what a scrape answers, without the creation times of the client's own instruments."""
    return {
        (
            sample.name.removeprefix("switchgear_"),
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"switchgear_{name}", {"policy": "mail", **labels})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_counted(registry: CollectorRegistry, kind: type) -> None:
    observer = PrometheusObserver(registry)
    before = scraped(registry)
    observer(of(kind))
    after = scraped(registry)
    assert after != before
    observer(of(kind))
    counted = {
        key
        for key, count in scraped(registry).items()
        if count == 2 and key[0].endswith(("_total", "_count"))
    }
    assert counted
    assert all(("policy", "mail") in labels for _, labels in counted)


def test_each_figure_and_its_labels(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    for event in (
        AttemptEnded("mail", 1, GOOD, 0.1),
        AttemptEnded("mail", 2, GOOD, 0.1),
        AttemptEnded("mail", 3, BAD, 0.1),
        *[AttemptEnded("mail", 1, NEUTRAL, 0.1)] * 3,
        CallEnded("mail", 1, GOOD, 0.1),
        *[CallEnded("mail", 1, BAD, 0.1, "unavailable")] * 2,
        Refusing("mail", "mail", "no", Refusal.OPEN, kind="breaker"),
        *[Refusing("mail", "mail", "no", Refusal.OPEN, enforced=False, kind="breaker")] * 2,
        Retrying("mail", 1, 0.1, BAD),
        *[Retrying("mail", 1, 0.1, BAD, enforced=False)] * 2,
        Hedging("mail", 0.1),
        Overran("mail", 0.1),
        *[Overran("mail", 0.1, enforced=False)] * 2,
        FellBack("mail", "static", "unavailable"),
        *[FellBack("mail", "stale", "unavailable", 2.0)] * 2,
        Coalesced("mail"),
    ):
        observer(event)
    assert value(registry, "attempts_total", health="good") == 2
    assert value(registry, "attempts_total", health="bad") == 1
    assert value(registry, "attempts_total", health="neutral") == 3
    assert value(registry, "calls_total", outcome="ok") == 1
    assert value(registry, "calls_total", outcome="unavailable") == 2
    assert value(registry, "call_duration_seconds_count") == 3
    for enforced, count in (("true", 1), ("false", 2)):
        assert value(registry, "retries_total", enforced=enforced) == count
        assert value(registry, "overruns_total", enforced=enforced) == count
        refused = {"gate": "breaker", "reason": "open", "enforced": enforced}
        assert value(registry, "refusals_total", **refused) == count
    assert value(registry, "hedges_total") == value(registry, "coalesced_total") == 1
    assert value(registry, "fallbacks_total", how="static") == 1
    assert value(registry, "fallbacks_total", how="stale") == 2
    assert value(registry, "calls_total", outcome="ok", policy="search") is None


def test_a_breaker_is_in_one_state_at_a_time(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    states = [State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED]
    for old, new in itertools.pairwise(states):
        observer(Transition("mail", old, new, 1.0, "why"))
        for state in State:
            expected = float(state is new)
            assert value(registry, "breaker_state", state=state.value) == expected
    assert [
        value(registry, "breaker_transitions_total", state=state) for state in ("open", "half_open")
    ] == [2, 2]
    assert value(registry, "breaker_transitions_total", state="closed") == 1


def test_durations_fall_under_their_bounds(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    for elapsed in (0.0005, 0.001, 0.3, 11.0):
        observer(CallEnded("mail", 1, GOOD, elapsed))
    assert value(registry, "call_duration_seconds_sum") == pytest.approx(11.3015)
    under = [value(registry, "call_duration_seconds_bucket", le=repr(bound)) for bound in LATENCY]
    assert under == [2.0] * 8 + [3.0] * 5
    assert value(registry, "call_duration_seconds_bucket", le="+Inf") == 4


def test_both_ways_expose_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, shared = CollectorRegistry(), CollectorRegistry()
    observers = [PrometheusObserver(plain)]
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "read when the client was imported")
    observers.append(PrometheusObserver(shared))
    for observer in observers:
        for kind in KINDS:
            observer(of(kind))
    assert scraped(plain) == scraped(shared)
    kinds = [
        {family.name: (family.type, family.documentation) for family in registry.collect()}
        for registry in (plain, shared)
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_figures_that_are_shared_are_the_clients_own(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    plain, shared = CollectorRegistry(), CollectorRegistry()
    observers = [PrometheusObserver(plain)]
    monkeypatch.setenv(variable, "read when the client was imported")
    observers.append(PrometheusObserver(shared))
    for observer in observers:
        observer(Hedging("mail", 0.1))
    created = b"switchgear_hedges_created"  # only the client's own instruments tell when
    assert created not in generate_latest(plain)
    assert created in generate_latest(shared)


def test_labels_are_bound_once(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    events = [AttemptEnded("mail", 1, GOOD, 0.1), CallEnded("mail", 1, GOOD, 0.1)]
    for event in events:
        observer(event)
    policy = observer._policies["mail"]
    bound = observer._refusals("mail", "breaker", "open", "true")
    for event in events:
        observer(event)
    assert observer._policies["mail"] is policy
    assert observer._refusals("mail", "breaker", "open", "true") is bound


def test_what_it_does_not_know_it_passes_over(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    before = scraped(registry)
    for event in (None, "text", object()):
        observer(event)
    assert scraped(registry) == before


def test_names_without_end_share_one_series(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    for number in range(1500):
        name = f"policy {number}"
        observer(AttemptEnded(name, 1, GOOD, 0.1))
        observer(CallEnded(name, 1, GOOD, 0.1))
        observer(Refusing(name, "breaker", "no"))
    assert len(observer._policies) == 1000
    samples = scraped(registry)
    assert sum(name == "refusals_total" for name, _ in samples) == 1001
    for family in ("attempts_total", "calls_total", "refusals_total"):
        series = {labels: count for (name, labels), count in samples.items() if name == family}
        assert len(series) <= 1001
        assert sum(series.values()) == 1500
        assert max(series.values()) >= 500
        assert [dict(labels)["policy"] for labels, count in series.items() if count > 1] == [
            "other"
        ]
    assert samples["call_duration_seconds_count", (("policy", "other"),)] >= 500


def test_by_default_it_registers_with_the_client_and_only_once() -> None:
    before = set(REGISTRY._collector_to_names)
    try:
        observer = PrometheusObserver()
        observer(Hedging("default", 0.1))
        sample = REGISTRY.get_sample_value("switchgear_hedges_total", {"policy": "default"})
        assert sample == 1
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            PrometheusObserver()
    finally:
        for collector in set(REGISTRY._collector_to_names) - before:
            REGISTRY.unregister(collector)


def test_processes_that_share_their_figures_are_added_up(tmp_path: Path) -> None:
    program = (
        "from prometheus_client import CollectorRegistry\n"
        "from switchgear.core.observe import CallEnded\n"
        "from switchgear.policy.breaker_settings import State, Transition\n"
        "from switchgear.policy.verdict import GOOD\n"
        "from switchgear.telemetry.observers import PrometheusObserver\n"
        "observer = PrometheusObserver()\n"
        "observer(CallEnded('mail', 1, GOOD, 0.2))\n"
        "observer(Transition('mail', State.CLOSED, State.OPEN, 1.0, 'why'))\n"
    )
    scrape = (
        "from prometheus_client import CollectorRegistry, generate_latest, multiprocess\n"
        "registry = CollectorRegistry()\n"
        "multiprocess.MultiProcessCollector(registry)\n"
        "print(generate_latest(registry).decode())\n"
    )

    def run(source: str) -> str:
        command = [sys.executable, "-c", source]
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(SRC)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    run(program)
    run(program)
    text = run(scrape)
    assert 'switchgear_calls_total{outcome="ok",policy="mail"} 2.0' in text
    assert 'switchgear_breaker_state{policy="mail",state="open"} 2.0' in text
    assert 'switchgear_call_duration_seconds_bucket{le="0.25",policy="mail"} 2.0' in text


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "prometheus_client", missing)
    with pytest.raises(ImportError, match="pip install prometheus-client"):
        PrometheusObserver()
