"""The OpenTelemetry observer: what an exporter gets of each event, and nothing without an SDK."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

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
from switchgear.policy.verdict import BAD, GOOD
from switchgear.telemetry.metrics import LATENCY
from switchgear.telemetry.observers import OpenTelemetryObserver
from tests.support.events import KINDS, of
from tools.source import SOURCE

ROOT = Path(__file__).resolve().parents[4]


class Signals:
    """A meter and a tracer of an SDK of their own, and what they would export."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.meter = self.meters.get_meter("test")
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = self.tracers.get_tracer("test")

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], float]:
        """Return the values of a counter by its attributes, without their common prefix."""
        return {
            tuple(
                (key.removeprefix("switchgear."), value)
                for key, value in sorted(point.attributes.items())
            ): point.value
            for point in self.metrics()[f"switchgear.{name}"].data.data_points
        }

    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_measured_and_all_but_endings_are_noted(signals: Signals, kind: type) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    with signals.tracer.start_as_current_span("request"):
        observer(of(kind))
    assert signals.metrics()
    noted = kind not in (AttemptEnded, CallEnded)
    (span,) = signals.spans()
    assert len(span.events) == noted
    for event in span.events:
        assert event.name.startswith("switchgear.")
        assert event.attributes["switchgear.policy"] == "mail"


TOLD = [
    (
        AttemptEnded("mail", 2, BAD, 0.25),
        ("attempts", "{attempt}", (("health", "bad"), ("policy", "mail"))),
        None,
    ),
    (
        Coalesced("mail"),
        ("coalesced", "{call}", (("policy", "mail"),)),
        ("coalesced", {"policy": "mail"}),
    ),
    (
        FellBack("mail", "static", "unavailable"),
        (
            "fallbacks",
            "{call}",
            (("error.type", "unavailable"), ("fallback", "static"), ("policy", "mail")),
        ),
        ("fallback", {"policy": "mail", "fallback": "static", "error.type": "unavailable"}),
    ),
    (
        FellBack("mail", "stale", "unavailable", 2.5),
        (
            "fallbacks",
            "{call}",
            (("error.type", "unavailable"), ("fallback", "stale"), ("policy", "mail")),
        ),
        (
            "fallback",
            {"policy": "mail", "fallback": "stale", "error.type": "unavailable", "age": 2.5},
        ),
    ),
    (
        Hedging("mail", 0.1),
        ("hedges", "{attempt}", (("policy", "mail"),)),
        ("hedge", {"policy": "mail", "after": 0.1}),
    ),
    (
        Overran("mail", 0.5, enforced=False),
        ("overruns", "{call}", (("enforced", False), ("policy", "mail"))),
        ("overrun", {"policy": "mail", "enforced": False, "after": 0.5}),
    ),
    (
        Refusing("mail", "mail", "it is open", Refusal.OPEN, kind="breaker"),
        (
            "refusals",
            "{call}",
            (("enforced", True), ("gate", "breaker"), ("policy", "mail"), ("refusal", "open")),
        ),
        (
            "refusal",
            {
                "policy": "mail",
                "gate": "breaker",
                "refusal": "open",
                "enforced": True,
                "detail": "it is open",
            },
        ),
    ),
    (
        Retrying("mail", 1, 0.125, BAD),
        ("retries", "{attempt}", (("enforced", True), ("policy", "mail"))),
        ("retry", {"policy": "mail", "enforced": True, "attempt": 1, "wait": 0.125}),
    ),
    (
        Transition("mail", State.CLOSED, State.OPEN, 5.0, "5 failures in a row"),
        (
            "breaker.transitions",
            "{transition}",
            (("breaker.state", "open"), ("policy", "mail")),
        ),
        (
            "transition",
            {
                "policy": "mail",
                "breaker.state": "open",
                "breaker.before": "closed",
                "why": "5 failures in a row",
            },
        ),
    ),
]


@pytest.mark.parametrize(("event", "counted", "noted"), TOLD)
def test_what_is_counted_and_what_is_noted(
    signals: Signals,
    event: Any,
    counted: tuple[str, str, Any],
    noted: tuple[str, dict[str, Any]] | None,
) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    with signals.tracer.start_as_current_span("request"):
        observer(event)
        observer(event)
    name, unit, attributes = counted
    assert signals.points(name) == {attributes: 2}
    assert signals.metrics()[f"switchgear.{name}"].unit == unit
    (span,) = signals.spans()
    told = [
        (
            found.name.removeprefix("switchgear."),
            {key.removeprefix("switchgear."): value for key, value in found.attributes.items()},
        )
        for found in span.events
    ]
    assert told == ([] if noted is None else [noted, noted])


def test_each_instrument_says_what_it_measures(signals: Signals) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    for kind in KINDS:
        observer(of(kind))
    metrics = signals.metrics()
    assert len(metrics) == len(KINDS) + 1  # a transition moves two
    assert all(metric.description.endswith(".") for metric in metrics.values())
    assert metrics["switchgear.breaker.state"].unit == "1"


def test_calls_are_measured_in_seconds_by_how_they_ended(signals: Signals) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    observer(CallEnded("mail", 1, GOOD, 0.02))
    observer(CallEnded("mail", 3, BAD, 1.5, "unavailable"))
    metric = signals.metrics()["switchgear.call.duration"]
    assert metric.unit == "s"
    found = {
        tuple(sorted(point.attributes.items())): (point.count, point.sum)
        for point in metric.data.data_points
    }
    assert found == {
        (("switchgear.policy", "mail"),): (1, 0.02),
        (("error.type", "unavailable"), ("switchgear.policy", "mail")): (1, 1.5),
    }
    assert metric.data.data_points[0].explicit_bounds == LATENCY


def test_a_breaker_is_in_one_state_at_a_time(signals: Signals) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    states = [State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED]
    for old, new in itertools.pairwise(states):
        observer(Transition("mail", old, new, 1.0, "why"))
        observer(Transition("search", State.CLOSED, State.OPEN, 1.0, "told twice"))
        points = signals.points("breaker.state")
        mine = {labels[0][1]: count for labels, count in points.items() if labels[1][1] == "mail"}
        assert {state: count for state, count in mine.items() if count} == {new.value: 1}
        others = {labels: count for labels, count in points.items() if labels[1][1] == "search"}
        assert others == {(("breaker.state", "open"), ("policy", "search")): 1}


def test_breakers_without_end_do_not_fill_the_memory(signals: Signals) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    for number in range(1200):
        observer(Transition(f"policy {number}", State.CLOSED, State.OPEN, 1.0, "why"))
    observer(Transition("policy 0", State.OPEN, State.HALF_OPEN, 1.0, "why"))
    points = signals.points("breaker.state")
    assert len(points) == 1001
    assert sum(points.values()) == 1000


def test_with_a_tracer_an_attempt_is_a_span_of_its_own(signals: Signals) -> None:
    observer = OpenTelemetryObserver(signals.tracer, signals.meter, now=lambda: 10_000_000_000)
    with signals.tracer.start_as_current_span("request"):
        observer(AttemptEnded("mail", 1, BAD, 0.25))
        observer(AttemptEnded("mail", 2, GOOD, 4.0))
    first, second, request = signals.spans()
    assert (first.name, second.name) == ("mail attempt", "mail attempt")
    assert first.parent.span_id == second.parent.span_id == request.context.span_id
    assert (first.start_time, first.end_time) == (9_750_000_000, 10_000_000_000)
    assert (second.start_time, second.end_time) == (6_000_000_000, 10_000_000_000)
    assert first.kind is SpanKind.CLIENT
    assert (first.status.status_code, second.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    assert first.attributes == {
        "switchgear.policy": "mail",
        "switchgear.health": "bad",
        "switchgear.attempt": 1,
    }


def test_an_attempt_outside_of_any_trace_begins_none(signals: Signals) -> None:
    OpenTelemetryObserver(signals.tracer, signals.meter)(AttemptEnded("mail", 1, GOOD, 0.5))
    assert signals.spans() == []
    assert signals.points("attempts")


def test_attempts_are_dated_by_the_wall(signals: Signals) -> None:
    before = time.time_ns()
    with signals.tracer.start_as_current_span("request"):
        OpenTelemetryObserver(signals.tracer, signals.meter)(AttemptEnded("mail", 1, GOOD, 0.0))
    assert before <= signals.spans()[0].end_time <= time.time_ns()


def test_what_it_does_not_know_it_passes_over(signals: Signals) -> None:
    observer = OpenTelemetryObserver(meter=signals.meter)
    with signals.tracer.start_as_current_span("request"):
        for event in (None, "text", object()):
            observer(event)
    assert signals.metrics() == {}
    assert not signals.spans()[0].events


def test_without_an_sdk_it_does_nothing_and_no_harm() -> None:
    program = (
        "import sys\n"
        "from switchgear.telemetry.observers import OpenTelemetryObserver\n"
        "from tests.support.events import KINDS, of\n"
        "from opentelemetry import trace\n"
        "for observer in (OpenTelemetryObserver(), OpenTelemetryObserver(trace.get_tracer('x'))):\n"
        "    for kind in KINDS:\n"
        "        observer(of(kind))\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {"PYTHONPATH": f"{SOURCE}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_configured_meter_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    signals = Signals()

    def configured(name: str) -> Any:
        asked.append(name)
        return signals.meter

    monkeypatch.setattr("opentelemetry.metrics.get_meter", configured)
    OpenTelemetryObserver()(Coalesced("mail"))
    assert asked == ["switchgear"]
    assert signals.points("coalesced")
    signals.close()


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "opentelemetry", missing)
    with pytest.raises(ImportError, match=r"pip install 'switchgear\[otel\]'"):
        OpenTelemetryObserver()


def test_a_provider_is_not_what_it_makes(signals: Signals) -> None:
    with pytest.raises(TypeError, match=r"tracer is .*, where its get_tracer\('policies'\) would"):
        OpenTelemetryObserver(signals.tracers)
    with pytest.raises(TypeError, match=r"meter is .*, where its get_meter\('policies'\) would be"):
        OpenTelemetryObserver(signals.tracer, signals.meters)
    with pytest.raises(TypeError, match=r"Observer\.tracer is .*, where a tracer would be right$"):
        OpenTelemetryObserver(signals.meter, signals.tracer)
