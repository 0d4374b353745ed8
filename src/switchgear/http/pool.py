"""The pool: kept connections to one endpoint. It is a handler that another server answers.

Taking the connection that was used last keeps the others idle enough to be closed. A kept
connection may have been closed by its peer: a request that finds out is sent again on a fresh
one only when doing it twice does no harm (rule 27).
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Final

from switchgear.core.clock import FINE, Clock
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.client import Upstream
from switchgear.http.dial import Dial, Hurry
from switchgear.http.handshake import check_request
from switchgear.http.message import Request, Response
from switchgear.http.settings import ClientSettings
from switchgear.http.stream import Whole
from switchgear.http.watch import readable
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.remaining import HEADER, remaining_ms

__all__ = ["Pool", "PoolCounters", "Stamp", "deadline_line"]

Stamp = Callable[[Call[Request], float], bytes]
"""Makes further field lines for a request that is sent at an instant: a token, the deadline."""

_LINE: Final = re.compile(r"[A-Z][A-Z0-9_-]*+ [/*][!-~]*+ HTTP/1\.1\r\n")


class PoolCounters:
    """What a pool has counted: plain integers."""

    __slots__ = ("connects", "failures", "full", "poisoned", "requests", "stale")

    def __init__(self) -> None:
        self.connects = 0
        self.failures = 0  # connects that failed
        self.full = 0  # calls refused because every connection was in use
        self.poisoned = 0  # connections closed because the upstream broke a rule
        self.requests = 0
        self.stale = 0  # requests sent again because a kept connection was dead


class Pool:
    """Ask the server at `host` and `port`, or at the unix socket `path`.

    `name` is the origin of the faults it raises. `stamp` adds field lines of our own to every
    request, after everything that came from elsewhere.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        settings: ClientSettings | None = None,
        *,
        path: str | None = None,
        name: str = "",
        stamp: Stamp | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock = FINE,
        sweep: Sweep | None = None,
    ) -> None:
        self.settings = settings or ClientSettings()
        self.clock = clock
        self.counters = PoolCounters()
        self.name = name or path or f"{host}:{port}"
        self._host = host
        self._port = port
        self._path = path
        self._stamp = stamp
        self._tls = tls
        self._sweep = sweep
        self._idle: list[Upstream] = []
        self._open: set[Upstream] = set()
        self._dials: set[Dial] = set()
        self._closed = False
        authority = f"[{host}]" if ":" in host else host or "localhost"
        if port and port != (443 if tls else 80):
            authority += f":{port}"
        self._authority = f"host: {authority}\r\n".encode("ascii")

    @property
    def sweep(self) -> Sweep:
        """The sweep of the loop that the pool is used on."""
        if self._sweep is None:
            self._sweep = sweep_of(asyncio.get_running_loop(), self.clock)
        return self._sweep

    async def __call__(self, call: Call[Request]) -> Response:
        """Send the call's request and return the answer, whatever its status.

        Raises Fault when there is no answer to be had: `effect` is NONE where nothing was sent.
        Raises ValueError for a request that would break out of its line.
        """
        self.counters.requests += 1
        request = call.payload
        key = check_request(request) if request.upgrade else ""
        head = self._head(call, request)
        connection = self._take(call.repeatable)
        if connection is not None:
            try:
                return await connection.exchange(call, head, key)
            except Fault:
                whole = isinstance(request.body, Whole)
                dead = connection.lost and not connection.heard
                if not (dead and call.repeatable and whole):
                    raise
                self.counters.stale += 1
        connection = await self._connect(call.deadline)
        return await connection.exchange(call, head, key)

    def _head(self, call: Call[Request], request: Request) -> bytes:
        """Write a request's head up to its framing."""
        target = f"{request.path}?{request.query}" if request.query else request.path
        line = f"{request.method} {target} HTTP/1.1\r\n"
        if _LINE.fullmatch(line) is None:
            raise ValueError(f"this request line cannot be sent: {line[:80]!r}")
        head = line.encode("ascii") + request.headers.wire()
        if request.headers.get("host") is None:
            head += self._authority
        if request.upgrade:
            head += b"connection: upgrade\r\nupgrade: websocket\r\n"
        if self._stamp is not None:
            head += self._stamp(call, self.clock())
        return head

    # Connections

    def _take(self, repeatable: bool) -> Upstream | None:
        """Return the connection that was used last, if it still lives.

        One that may not be tried twice is asked of the kernel first.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.lost or connection.transport.is_closing():
                continue
            if not repeatable and readable(connection.transport):
                connection.quit()
                continue
            return connection
        return None

    async def _connect(self, deadline: float) -> Upstream:
        if self._closed:
            raise self.fault("the pool is closed", effect=Effect.NONE)
        if len(self._open) + len(self._dials) >= self.settings.connections:
            self.counters.full += 1
            raise Fault(
                Code.UNAVAILABLE,
                f"{self.name}: all {self.settings.connections} connections are in use",
                effect=Effect.NONE,
                refusal=Refusal.FULL,
                origin=self.name,
            )
        dial = Dial(self)
        self._dials.add(dial)
        hurry = Hurry(dial.found, self)
        slot = self.sweep.arm(deadline, hurry)
        try:
            return await dial.found
        finally:
            slot.discard(hurry)

    async def dial(self) -> Upstream:
        """Open one more connection."""
        loop = asyncio.get_running_loop()
        if self._path is not None:
            _, made = await loop.create_unix_connection(lambda: Upstream(self), self._path)
        else:
            _, made = await loop.create_connection(
                lambda: Upstream(self), self._host, self._port, ssl=self._tls
            )
        return made

    def dialled(self, dial: Dial, made: Upstream | None, error: BaseException | None) -> None:
        """Take the end of a dial: give the connection to who waits, or keep it."""
        self._dials.discard(dial)
        found = dial.found
        if made is None:
            self.counters.failures += 1
            if not found.done():
                found.set_exception(self.fault(f"no connection: {error}", effect=Effect.NONE))
            return
        self.counters.connects += 1
        self._open.add(made)
        if self._closed:
            made.quit()
        elif not found.done():
            found.set_result(made)
        else:  # who asked for it has left
            self.release(made)

    def release(self, connection: Upstream) -> None:
        """Keep a connection for the next call."""
        if self._closed:
            connection.quit()
            return
        connection.rest(self.clock())
        self._idle.append(connection)

    def forget(self, connection: Upstream) -> None:
        """Drop a connection from the books."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """Close what is idle now, and the rest as it ends."""
        self._closed = True
        dials = tuple(self._dials)
        for dial in dials:
            dial.ring()
        for connection in tuple(self._idle):
            connection.quit()
        if dials:
            await asyncio.wait([dial.task for dial in dials])

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures."""
        return {
            "name": self.name,
            "open": len(self._open),
            "idle": len(self._idle),
            "dialling": len(self._dials),
            **{key: getattr(self.counters, key) for key in PoolCounters.__slots__},
        }

    # Faults

    def fault(
        self, detail: str, *, effect: Effect = Effect.UNKNOWN, reason: str = "upstream"
    ) -> Fault:
        """Make the fault of an upstream that gave no answer to be believed."""
        return Fault(
            Code.UNAVAILABLE,
            f"{self.name}: {detail}",
            effect=effect,
            origin=self.name,
            extra={} if effect is Effect.NONE else {"status": 502, "reason": reason or "upstream"},
        )

    def overdue(self, effect: Effect = Effect.UNKNOWN) -> Fault:
        """Make the fault of an upstream that did not answer in time."""
        return Fault(
            Code.DEADLINE_EXCEEDED,
            f"{self.name}: no answer before the deadline",
            effect=effect,
            origin=self.name,
        )


def deadline_line(call: Call[Request], now: float) -> bytes:
    """Write the deadline as remaining milliseconds: clocks differ, durations do not (rule 11)."""
    return f"{HEADER}: {remaining_ms(call.deadline, now)}\r\n".encode("ascii")
