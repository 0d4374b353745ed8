"""What is told of refusals: bounded lines, and counts by reasons that are known."""

import resource
from asyncio import sleep

import pytest

from switchgear.assembly.bodies.refusals import RefusalLog, server_metrics
from switchgear.assembly.bodies.serving import request_log
from switchgear.assembly.kernel import seats
from switchgear.http.events import Turned
from switchgear.http.refusals import OTHER, REASONS
from switchgear.http.server import Server
from switchgear.telemetry.exposition import render
from switchgear.telemetry.logs import Log
from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.writer import LogWriter
from tests.support.bodies import Lines
from tests.unit.http.wire import ok


def full(peer: str = "192.0.2.1", reason: str = "address-full") -> Turned:
    return Turned(peer, 503, reason, "x" * 5000, 1024)


@pytest.mark.virtual
async def test_a_flood_of_refusals_is_a_few_lines_and_a_sum() -> None:
    lines = Lines()
    log = Log(LogWriter(lines), "test")
    refused = RefusalLog(log, most=5)
    for number in range(1000):
        refused(full(f"192.0.2.{number % 250}"))
    refused(full(reason="host"))
    for number in range(100):
        refused(full(reason=f"invented-{number}"))
    await sleep(1.1)
    refused(full())
    log.writer.flush(5)
    told = lines.of("turned_away")
    assert [line["reason"] for line in told].count("address-full") == 6
    assert len(told) == 5 + 1 + 5 + 1
    assert max(map(len, lines.raw)) < 500
    assert (told[0]["peer"], told[0]["configured"]) == ("192.0.2.0", 1024)
    assert [(line["reason"], line["count"]) for line in lines.of("turned_away_more")] == [
        ("address-full", 995),
        (OTHER, 95),
    ]
    await sleep(1.1)  # what came last was all told: there is nothing to sum up
    log.writer.flush(5)
    assert len(lines.of("turned_away_more")) == 2
    log.writer.close()


@pytest.mark.virtual
async def test_the_log_of_requests_bounds_the_lines_of_refusals() -> None:
    lines = Lines()
    log = Log(LogWriter(lines), "test")
    observe = request_log(log)
    for _ in range(100):
        observe(full())
    await sleep(1.1)
    log.writer.flush(5)
    assert len(lines.of("turned_away")) == 5
    assert [line["count"] for line in lines.of("turned_away_more")] == [95]
    log.writer.close()


def test_refusals_are_series_by_reason_and_never_more() -> None:
    registry = Registry()
    server = Server(ok)
    server_metrics(registry, server)
    server.refused("192.0.2.1", "address-full")
    server.refused("192.0.2.1", "a stranger's")
    page = render({"gateway-1": registry.snapshot()}).decode()
    assert 'http_refusals_total{process="gateway-1",reason="address-full"} 1\n' in page
    assert 'http_refusals_total{process="gateway-1",reason="other"} 1\n' in page
    assert 'http_refusals_total{process="gateway-1",reason="head-timeout"} 0\n' in page
    assert page.count("http_refusals_total{") == len(REASONS) + 1
    assert 'http_connections_open{process="gateway-1"} 0\n' in page
    server.census.take("192.0.2.1")
    page = render({"gateway-1": registry.snapshot()}).decode()
    assert 'http_connections_open{process="gateway-1"} 1\n' in page


@pytest.mark.parametrize(
    ("limit", "onward", "found"),
    [(1 << 20, 768, 4096), (4096, 768, 3200), (1024, 768, 448), (1024, 256, 640), (100, 0, 1)],
)
def test_a_cap_leaves_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, limit: int, onward: int, found: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert seats(4096, onward) == found
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, limit))
    assert seats(4096, onward) == 4096
