"""What the bodies that serve HTTP have in common: a socket at their endpoint, and the log of it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from switchgear.assembly.bodies.line_text import PATH_CHARS, LineText
from switchgear.assembly.bodies.lines import RequestLine
from switchgear.assembly.bodies.refusals import RefusalLog
from switchgear.assembly.kernel import seats
from switchgear.assembly.listen import bind
from switchgear.assembly.roles import RoleContext
from switchgear.core.observe import Observer
from switchgear.gateway.passage import Passage
from switchgear.http.exchanged import Exchanged
from switchgear.http.message import Request
from switchgear.http.methods import METHODS
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.telemetry.logs import RANKS, Log, trace_of
from switchgear.telemetry.metrics import Counter, Histogram, Registry

__all__ = [
    "RequestLine",
    "cuts_told",
    "defects_to",
    "listen_at",
    "request_log",
    "request_metrics",
    "requests_told",
    "seated",
]


_BACKLOG: Final = 4096


def listen_at(endpoint: str) -> socket.socket:
    """Bind the socket at which a role's peers look for it: "unix:/path" or "tcp:host:port"."""
    kind, _, rest = endpoint.partition(":")
    host, _, port = rest.rpartition(":")
    if kind != "unix":
        return bind(host.strip("[]"), int(port), _BACKLOG)
    Path(rest).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)  # nobody else gets in, not even before a change of mode
        try:
            sock.bind(rest)
        finally:
            os.umask(before)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def seated(context: RoleContext, *, onward: int) -> ServerSettings:
    """Return the limits of a role's server, with no more connections than it has descriptors for.

    `onward` is how many connections it may itself have to others.
    """
    wanted = context.settings.http.connections
    found = seats(wanted, onward)
    if found < wanted:
        context.log.warning(
            "fewer_connections",
            configured=wanted,
            now=found,
            why="the limit of open descriptors (ulimit -n) leaves no room for more",
        )
    return replace(context.settings.http, connections=found)


def defects_to(log: Log) -> Callable[[BaseException, Call[Request]], None]:
    """Write every defect with its traceback."""

    def defect(error: BaseException, call: Call[Request]) -> None:
        trace = call.trace.trace_id if call.trace is not None else ""
        where = f"{call.payload.method} {call.payload.path}"
        log.write("error", "defect", request=where, trace=trace, traceback=trace_of(error))

    return defect


def request_log(log: Log) -> Callable[[Any], None]:
    """Write one line for each request, and those of what was refused."""
    refused = RefusalLog(log)
    told = {level: RANKS[level] >= log.rank for level in ("info", "warning")}
    text = LineText(log.process)

    def observe(event: Any) -> None:
        if isinstance(event, Exchanged):
            level = "warning" if event.status >= 500 or event.cut else "info"
            if told[level]:
                line = text.write(log.stamp(), event) if log.json else None
                if line is None:
                    log.event(_line(log, level, event))
                else:
                    log.line(line)
        else:
            refused(event)

    return observe


def cuts_told(log: Log) -> Callable[[Any], None]:
    """Write a line for each answer that a fault has cut, and those of what was refused.

    The head has left by then: whoever asked, a gateway too, learns that it was cut, and not why.
    """
    refused = RefusalLog(log)

    def observe(event: Any) -> None:
        if not isinstance(event, Exchanged):
            refused(event)
        elif event.cut and event.fault:
            trace = event.call.trace
            log.warning(
                "answer cut",
                request=f"{event.call.payload.method} {event.call.payload.path[:PATH_CHARS]}",
                trace="" if trace is None else trace.trace_id,
                bytes=event.sent,
                fault=event.fault,
                detail=event.detail,
            )

    return observe


def _line(log: Log, level: str, event: Exchanged) -> RequestLine:
    call = event.call
    request, trail = call.payload, call.trail
    if isinstance(trail, Passage):
        who, request_id = trail.vouched.principal, trail.request_id
    else:
        who, request_id = call.principal, ""
    upstream = trail.upstream
    return RequestLine(
        log.stamp(),
        level,
        log.process,
        "request",
        trail.route,
        request.method,
        request.path[:PATH_CHARS],
        event.status,
        call.trace.trace_id if call.trace is not None else "",
        _millis(event.elapsed - upstream),
        _millis(upstream),
        event.sent,
        request.peer,
        trail.attempts,
        trail.endpoints[-1] if trail.endpoints else "",
        trail.fault or event.fault,
        trail.detail or event.detail,
        who.subject if who is not None else "",
        request_id,
        event.left,
        event.cut,
    )


def _millis(seconds: float) -> float:
    """Return milliseconds, to the hundredth (`round` would write them out in digits for that)."""
    return int(seconds * 1e5 + 0.5) / 100


def requests_told(log: Log, registry: Registry) -> Observer:
    """Log and count requests; a defect of the one leaves the other."""
    logged, counted = request_log(log), request_metrics(registry)

    def observe(event: Any) -> None:
        try:
            logged(event)
        finally:
            counted(event)

    return observe


class _Series:
    """What the requests of one route, method and status are counted by."""

    __slots__ = ("count", "method", "status", "times")

    def __init__(self, count: Counter, times: Histogram, status: int) -> None:
        self.count = count
        self.times = times
        self.status = status
        self.method = ""  # as it was sent last


def request_metrics(registry: Registry, other: Observer | None = None) -> Callable[[Any], None]:
    """Count requests by route, method and status, and time them by route.

    Events of other kinds, and answers that were cut, are shown to `other`: a request is not to pay
    for a second observer.
    """
    counts = registry.counter(
        "http_requests_total", "Requests answered.", ("route", "method", "status")
    )
    times = registry.histogram(
        "http_request_seconds", "From the head's arrival to the last byte sent.", ("route",)
    )
    bound: dict[tuple[str, str, int], _Series] = {}
    latest: dict[str, _Series] = {}  # of each route, which mostly are what is asked for next

    def series(route: str, method: str, status: int) -> _Series:
        # Routes and statuses are few; methods are a stranger's to invent.
        known = method if method in METHODS else "other"
        found = bound.get((route, known, status))
        if found is None:
            name = route or "none"
            count = counts.bind(name, known, str(status))
            found = bound[(route, known, status)] = _Series(count, times.bind(name), status)
        found.method = method
        return found

    def observe(event: Any) -> None:
        if isinstance(event, Exchanged):
            route, method = event.call.trail.route, event.call.payload.method
            status = event.status
            found = latest.get(route)
            if found is None or found.status != status or found.method != method:
                found = latest[route] = series(route, method, status)
            found.count.value += 1
            found.times.observe(event.elapsed)
            if event.cut and other is not None:
                other(event)
        elif other is not None:
            other(event)

    return observe
