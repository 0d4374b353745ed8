"""What serving bodies share: a socket that is ours alone, and what is told of each request."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from switchgear.assembly.bodies.serving import (
    cuts_told,
    listen_at,
    request_log,
    request_metrics,
    requests_told,
)
from switchgear.assembly.failures import StartError
from switchgear.gateway.passage import Passage
from switchgear.http.events import Turned
from switchgear.http.exchanged import Exchanged
from switchgear.http.message import Request
from switchgear.identity.internal import Vouched
from switchgear.policy.call import Call, Principal, Trace
from switchgear.policy.trail import Trail
from switchgear.telemetry.logs import Log
from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.settings import Level
from switchgear.telemetry.writer import LogWriter
from tests.support.bodies import Lines

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def exchanged(
    status: int = 200, method: str = "GET", path: str = "/a", route: str = ""
) -> Exchanged:
    passage = Passage(route, None, "an-id")
    passage.vouched = Vouched(Principal("ada"))
    passage.upstream, passage.attempts, passage.endpoints = 0.25, 2, ["service-1", "service-2"]
    passage.fault, passage.detail = "", ""
    request = Request(method, path, peer="192.0.2.1")
    return Exchanged(Call(request, 1.0, trace=TRACE, trail=passage), status, 7, 0.5)


@contextmanager
def logging(level: Level = "info") -> Iterator[tuple[Log, Lines]]:
    lines = Lines()
    writer = LogWriter(lines)
    try:
        yield Log(writer, "gateway-1", level=level), lines
    finally:
        writer.close()


def test_a_request_is_one_line_with_all_that_was_learnt_of_it() -> None:
    with logging() as (log, lines):
        request_log(log)(exchanged(route="GET /a"))
        log.writer.flush(5)
        (line,) = lines.of("request")
        line.pop("at")
        assert line == {
            "level": "info", "process": "gateway-1", "event": "request", "route": "GET /a",
            "method": "GET", "path": "/a", "status": 200, "trace": TRACE.trace_id, "own_ms": 250.0,
            "upstream_ms": 250.0, "bytes": 7, "peer": "192.0.2.1", "attempts": 2,
            "endpoint": "service-2", "principal": "ada", "request_id": "an-id",
        }  # fmt: skip


def test_a_long_path_does_not_make_a_long_line() -> None:
    with logging() as (log, lines):
        request_log(log)(exchanged(path="/" + "x" * 8000))
        log.writer.flush(5)
        assert len(lines.of("request")[0]["path"]) == 500


@pytest.mark.parametrize(("level", "count"), [("info", 3), ("warning", 1), ("error", 0)])
async def test_the_level_of_the_log_counts_for_requests_too(level: Level, count: int) -> None:
    with logging(level) as (log, lines):
        observe = request_log(log)
        for status in (200, 404, 503):
            observe(exchanged(status))
        observe(Turned("192.0.2.1", 400, "host", "no Host header"))
        log.writer.flush(5)
        assert len(lines.of("request")) == count
        assert len(lines.of("turned_away")) == (level == "info")


def cut(fault: str, detail: str) -> Exchanged:
    whole = exchanged(route="GET /a")
    whole.cut, whole.fault, whole.detail = True, fault, detail
    return whole


async def test_an_answer_that_a_fault_has_cut_says_why() -> None:
    """Its status is the one that it began with, and the gateway knows only that it was cut."""
    with logging("warning") as (log, lines):
        observe = request_metrics(Registry(), cuts_told(log))
        observe(exchanged())
        observe(cut("", ""))  # by the client, who has left
        observe(cut("unavailable", "breaker 'mail' is open"))
        observe(Turned("192.0.2.1", 400, "host", "no Host header"))
        log.writer.flush(5)
        (line,) = lines.of("answer cut")
        line.pop("at")
        assert line == {
            "level": "warning", "process": "gateway-1", "event": "answer cut", "request": "GET /a",
            "trace": TRACE.trace_id, "bytes": 7, "fault": "unavailable",
            "detail": "breaker 'mail' is open",
        }  # fmt: skip


def test_a_request_whose_answer_was_cut_is_a_warning() -> None:
    with logging("warning") as (log, lines):
        request_log(log)(exchanged())
        request_log(log)(cut("unavailable", "service-1: it was closed"))
        log.writer.flush(5)
        assert [line["cut"] for line in lines.of("request")] == [True]


def series(registry: Registry, name: str) -> dict[tuple[str, ...], float]:
    (family,) = [one for one in registry.snapshot() if one.name.endswith(name)]
    return {one.labels: one.value for one in family.series}


def test_methods_are_a_strangers_to_invent_and_not_to_count() -> None:
    registry = Registry()
    observe = request_metrics(registry)
    for method in ("GET", "GET", "PURGE", *(f"X{number}" for number in range(100))):
        observe(exchanged(method=method, route="* /*"))
    observe(exchanged(404))
    assert series(registry, "http_requests_total") == {
        ("* /*", "GET", "200"): 2,
        ("* /*", "other", "200"): 101,
        ("none", "GET", "404"): 1,
    }


def test_a_call_of_a_services_own_has_an_ordinary_trail() -> None:
    with logging() as (log, lines):
        call: Call[Any] = Call(Request("GET", "/a"), 1.0, principal=Principal("bob"), trail=Trail())
        request_log(log)(Exchanged(call, 200, 7, 0.5))
        log.writer.flush(5)
        assert lines.of("request")[0]["principal"] == "bob"


def test_a_socket_is_its_owners_alone_from_the_first_moment(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):  # whoever was killed has left its file behind
            with listen_at(f"unix:{tmp_path}/s") as sock:
                assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(f"{tmp_path}/s")
                assert not sock.getblocking()
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_socket_at_an_address() -> None:
    with listen_at("tcp:127.0.0.1:0") as sock:
        host, port = sock.getsockname()
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            listen_at(f"tcp:{host}:{port}")
    with listen_at("tcp:[::1]:0") as sock:
        assert sock.getsockname()[0] == "::1"


def test_a_path_that_is_too_long_is_the_systems_to_refuse(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(OSError, match="too long"):
            listen_at(f"unix:{tmp_path}/{'x' * 108}")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


class Broken:
    """A writer that has a defect."""

    def put(self, line: bytes) -> bool:
        raise LookupError(line)


def test_a_request_whose_line_cannot_be_written_is_counted_all_the_same() -> None:
    registry = Registry()
    observe = requests_told(Log(Broken(), "gateway-1"), registry)
    for _ in range(2):
        with pytest.raises(LookupError):
            observe(exchanged(route="GET /a"))
    (count,) = [family for family in registry.snapshot() if family.name == "http_requests_total"]
    assert [series.value for series in count.series] == [2]
