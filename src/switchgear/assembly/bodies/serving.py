"""What the bodies that serve HTTP have in common: a socket at their endpoint, and the log of it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from switchgear.http.exchange import Exchanged, Turned
from switchgear.http.message import Request
from switchgear.policy.call import Call
from switchgear.telemetry.logs import Log, trace_of
from switchgear.telemetry.metrics import Registry

__all__ = ["RequestLine", "defects_to", "listen_at", "request_log", "request_metrics"]


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request in the log. Times are milliseconds; `own` is what was not spent upstream."""

    at: str
    level: str
    process: str
    event: str
    route: str
    method: str
    path: str
    status: int
    trace: str
    own_ms: float
    upstream_ms: float
    bytes: int
    peer: str
    attempts: int = 0
    endpoint: str = ""
    fault: str = ""
    detail: str = ""
    principal: str = ""
    left: bool = False
    cut: bool = False


def listen_at(endpoint: str) -> socket.socket:
    """Bind the socket at which a role's peers look for it: "unix:/path" or "tcp:host:port"."""
    kind, _, rest = endpoint.partition(":")
    if kind == "unix":
        Path(rest).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(rest)
        os.chmod(rest, 0o600)
    else:
        host, _, port = rest.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), int(port)))
    sock.listen(4096)
    sock.setblocking(False)
    return sock


def defects_to(log: Log) -> Callable[[BaseException, Call[Request]], None]:
    """Write every defect with its traceback."""

    def defect(error: BaseException, call: Call[Request]) -> None:
        trace = call.trace.trace_id if call.trace is not None else ""
        where = f"{call.payload.method} {call.payload.path}"
        log.write("error", "defect", request=where, trace=trace, traceback=trace_of(error))

    return defect


def request_log(log: Log) -> Callable[[Any], None]:
    """Write one line for each request, and one for what never became a request."""

    def observe(event: Any) -> None:
        if isinstance(event, Exchanged):
            log.event(_line(log, event))
        elif isinstance(event, Turned):
            log.write("info", "turned_away", peer=event.peer, status=event.status,
                      reason=event.reason, detail=event.detail)  # fmt: skip

    return observe


def _line(log: Log, event: Exchanged) -> RequestLine:
    call = event.call
    request, trail = call.payload, call.trail
    return RequestLine(
        log.stamp(),
        "info" if event.status < 500 else "warning",
        log.process,
        "request",
        trail.route,
        request.method,
        request.path,
        event.status,
        call.trace.trace_id if call.trace is not None else "",
        round((event.elapsed - trail.upstream) * 1000, 2),
        round(trail.upstream * 1000, 2),
        event.sent,
        request.peer,
        trail.attempts,
        trail.endpoints[-1] if trail.endpoints else "",
        trail.fault or event.fault,
        trail.detail or event.detail,
        call.principal.subject if call.principal is not None else "",
        event.left,
        event.cut,
    )


def request_metrics(registry: Registry) -> Callable[[Any], None]:
    """Count requests by route, method and status, and time them by route."""
    counts = registry.counter(
        "http_requests_total", "Requests answered.", ("route", "method", "status")
    )
    times = registry.histogram(
        "http_request_seconds", "From the head's arrival to the last byte sent.", ("route",)
    )
    turned = registry.counter(
        "http_turned_away_total", "Bytes that never became a request.", ("reason",)
    )
    bound: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def observe(event: Any) -> None:
        if isinstance(event, Exchanged):
            method = event.call.payload.method
            key = (event.call.trail.route, method, event.status)
            pair = bound.get(key)
            if pair is None:
                route = key[0] or "none"
                known = method if method.isalpha() and len(method) <= 7 else "other"
                pair = (counts.bind(route, known, str(event.status)), times.bind(route))
                if len(bound) < 10_000:
                    bound[key] = pair
            pair[0].value += 1
            pair[1].observe(event.elapsed)
        elif isinstance(event, Turned):
            turned.bind(event.reason).add()

    return observe
