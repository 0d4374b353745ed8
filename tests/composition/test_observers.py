"""Policies shown to all the observers at once, in an outage that chaos makes."""

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from switchgear.core.observe import CallEnded, Refusing, fan_out
from switchgear.core.policy import Policy
from switchgear.policy.breaker_settings import State, Transition
from switchgear.policy.fault import Fault
from switchgear.telemetry.observers import (
    LogObserver,
    OpenTelemetryObserver,
    PrometheusObserver,
)
from switchgear.testing import Chaos, EventRecorder, Failure, Latency, clock


async def send() -> str:
    return "sent"


@pytest.mark.virtual
async def test_they_all_tell_the_same_of_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    registry, reader, recorder = CollectorRegistry(), InMemoryMetricReader(), EventRecorder()
    meters = MeterProvider([reader])
    observe = fan_out(
        LogObserver(most=2, clock=clock),
        PrometheusObserver(registry),
        OpenTelemetryObserver(meter=meters.get_meter("test")),
        recorder,
    )
    chaos = Chaos(7, [Latency(0.01), Failure(ConnectionResetError, since=1.0, until=3.0)])
    mail = Policy("mail", chaos=chaos, observe=observe, clock=clock, random=lambda: 0.5)
    with caplog.at_level(logging.INFO, "switchgear"):
        for _ in range(300):
            try:
                await mail.call(send)
            except (Fault, ConnectionResetError):
                pass
            await asyncio.sleep(0.05)
    assert chaos.injected > 0

    def prometheus(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"switchgear_{name}", {"policy": "mail", **labels}) or 0

    ended = recorder.of(CallEnded)
    assert len(ended) == 300
    for code in {event.code for event in ended}:
        count = recorder.count(CallEnded, code=code)
        assert prometheus("calls_total", outcome=code or "ok") == count
    opened = recorder.count(Transition, new=State.OPEN)
    assert opened == prometheus("breaker_transitions_total", state="open") > 0
    refused = recorder.count(Refusing)
    data: Any = reader.get_metrics_data()
    found = [
        (metric.name, point)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    told = sum(point.value for name, point in found if name == "switchgear.refusals")
    assert told == refused > 20
    assert sum(point.count for name, point in found if name == "switchgear.call.duration") == 300

    lines = [record for record in caplog.records if vars(record)["kind"] == "refusing"]
    written = len(lines) + sum(vars(line).get("left_out", 0) for line in lines)
    assert len(lines) < refused / 2
    assert refused - 20 <= written <= refused  # the last second's are told by its next line
    meters.shutdown()
