"""The pool: kept connections to one endpoint. It is a handler that another server answers.

Taking the connection that was used last keeps the others idle enough to be closed. A kept
connection may have been closed by its peer: a request that finds out is sent again on a fresh
one only when doing it twice does no harm (rule 27).
"""

import asyncio
import random
import re
import ssl
import sys
from asyncio import Future
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

from switchgear.core.clock import FINE, Clock
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.client import Upstream
from switchgear.http.dial import EXHAUSTED, Dial, Hurry, Secure, reach
from switchgear.http.handshake import check_request
from switchgear.http.memo import AnswerMemo
from switchgear.http.message import Request, Response
from switchgear.http.room import Room
from switchgear.http.settings import ClientSettings, TlsSettings
from switchgear.http.spoken import connected
from switchgear.http.stream import Whole
from switchgear.http.tls import client_context, verifying
from switchgear.http.watch import readable
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.remaining import HEADER, remaining_ms

__all__ = ["Dialler", "Pool", "PoolCounters", "Stamp", "deadline_line"]

Stamp = Callable[[float, float], bytes]
"""Makes further field lines for a request with that deadline, which is sent at that instant."""

Dialler = Callable[["Pool"], Awaitable[Upstream]]
"""Opens a connection for a pool. Raises OSError where nobody answers."""

# CONNECT is none of it: there is no tunnel through an upstream here.
_LINE: Final = re.compile(
    r"(?!CONNECT )(?:[A-Z][A-Z0-9_-]*+ /[!$-;=?-\[\]_a-z~]*+|OPTIONS \*) HTTP/1\.1\r\n"
)
_SPREAD: Final = 0.2  # of a connection's lifetime, by which it may end earlier
_STRIDE: Final = 0.618034  # the golden ratio: steps of this size, taken in a circle, never meet


class PoolCounters:
    """What a pool has counted. What ends a connection, and what refuses a call, by its reason."""

    __slots__ = ("connects", "failures", "poisoned", "refused", "requests", "retired", "stale")

    def __init__(self) -> None:
        self.connects = 0
        self.failures = 0  # connects that failed
        self.poisoned = 0  # connections closed because the upstream broke a rule
        self.requests = 0
        self.stale = 0  # requests sent again because a kept connection was dead
        self.refused: Counter[str] = Counter()
        self.retired: Counter[str] = Counter()

    def figures(self) -> dict[str, Any]:
        """Return all of them by name."""
        return {
            "connects": self.connects,
            "failures": self.failures,
            "poisoned": self.poisoned,
            "refused": self.refused,
            "requests": self.requests,
            "retired": self.retired,
            "stale": self.stale,
        }


class Pool:
    """Ask the server at `host` and `port`, or at the unix socket `path`.

    `name` is the origin of the faults it raises. `stamp` adds field lines of our own to every
    request, after everything that came from elsewhere. `room` bounds the connections of several
    pools together, a `memo` knows the answers of several. A `dialler` opens connections otherwise
    than by a socket.

    Raises ValueError for a TLS context that does not verify, OSError for files that it cannot have.
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
        tls: TlsSettings | ssl.SSLContext | None = None,
        room: Room | None = None,
        clock: Clock = FINE,
        sweep: Sweep | None = None,
        dialler: "Dialler | None" = None,
        memo: AnswerMemo | None = None,
    ) -> None:
        self.settings = settings or ClientSettings()
        self.dialler = dialler
        self.clock = clock
        self.counters = PoolCounters()
        self.name = name or path or f"{host}:{port}"
        self._host = host
        self._port = port
        self._path = path
        self.stamp = stamp
        self._secure = _secure(tls, host)
        self._room = room
        self.memo = AnswerMemo() if memo is None else memo
        self._uses = self.settings.uses or sys.maxsize
        self._spread = random.random()
        self._sweep = sweep
        self._idle: list[Upstream] = []
        self._open: set[Upstream] = set()
        self._dials: set[Dial] = set()
        self._closed = False
        if room is not None:
            room.join(self)
        authority = f"[{host}]" if ":" in host else host or "localhost"
        if port and port != (443 if tls is not None else 80):
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
        again = call.repeatable and isinstance(request.body, Whole)
        connection = self.take(again)
        if connection is not None:
            try:
                return await connection.exchange(call, head, key)
            except Fault as fault:
                if not (again and connection.stale(fault)):
                    raise
                self.counters.stale += 1
        connection = await self.connect(call.deadline)
        return await connection.exchange(call, head, key)

    async def again(self, call: Call[Request], wire: bytes, by: float) -> Response:
        """Send a request once more, on a fresh connection: the kept one had been dead."""
        self.counters.stale += 1
        return await (await self.connect(by)).carry(call, wire, by)

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
        if self.stamp is not None:
            head += self.stamp(call.deadline, self.clock())
        return head

    # Connections

    def take(self, repeatable: bool) -> Upstream | None:
        """Return the connection that was used last, if it still lives.

        One that may not be tried twice is asked of the kernel first.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.lost or connection.transport.is_closing():
                continue
            if not repeatable and readable(connection.transport):
                connection.quit("stale")
                continue
            return connection
        return None

    async def connect(self, deadline: float) -> Upstream:
        """Open a connection for one call. Raises Fault where there is none by its deadline."""
        if self._closed:
            raise self._refuse("closed", Refusal.DRAINING, "the pool is closed")
        limit = self.settings.connections
        if len(self._open) + len(self._dials) >= limit:
            raise self._refuse("full", Refusal.FULL, f"all {limit} connections are in use")
        room = self._room
        if room is not None and not room.enter():
            detail = f"all {room.connections} connections of the process are in use"
            raise self._refuse("full in all", Refusal.FULL, detail)
        dial = Dial(self)
        self._dials.add(dial)
        hurry = Hurry(dial.found, self)
        slot = self.sweep.arm(deadline, hurry)
        try:
            made = await dial.found
        except BaseException:
            self._untaken(dial.found)
            raise
        finally:
            slot.discard(hurry)
        if made.lost or made.transport.is_closing():
            raise self._unreached("it was closed before it was used")
        return made

    async def dial(self) -> Upstream:
        """Open one more connection."""
        if self.dialler is not None:
            return await self.dialler(self)
        settings, secure = self.settings, self._secure
        given = {} if secure is None else secure.arguments(settings.connect_timeout)
        if self._path is None:
            delay = settings.address_delay
            return await reach(lambda: Upstream(self), self._host, self._port, given, delay)
        loop = asyncio.get_running_loop()
        connect = loop.create_unix_connection
        return await connected(connect, lambda: Upstream(self), self._path, **given)

    def dialled(self, dial: Dial, made: Upstream | None, error: BaseException | None) -> None:
        """Take the end of a dial: give the connection to who waits, or keep it."""
        self._dials.discard(dial)
        found = dial.found
        if made is None:
            self.counters.failures += 1
            if self._room is not None:
                self._room.leave()
            failure = self._undialled(error)
            if not found.done():
                found.set_exception(failure)
            elif not isinstance(failure, Fault):  # nobody waits who would tell of it
                what = {"message": f"{self.name}: dialling failed", "exception": failure}
                found.get_loop().call_exception_handler(what)
            return
        self.counters.connects += 1
        self._open.add(made)
        if self._closed or made.lost:
            made.quit("closed" if self._closed else "ended")
            if not found.done():
                found.set_exception(self._unreached("it was closed at once"))
        elif not found.done():
            found.set_result(made)
        else:  # who asked for it has left
            self.release(made)

    def _untaken(self, found: Future[Upstream]) -> None:
        """Keep what was given to a caller who was called off before it could take it."""
        if found.done() and not found.cancelled() and found.exception() is None:
            made = found.result()
            if not made.lost and not made.transport.is_closing():
                self.release(made)

    def release(self, connection: Upstream) -> None:
        """Keep a connection for the next call."""
        now = self.clock()
        if connection.uses >= self._uses or now >= connection.ends_at or self._closed:
            worn = "uses" if connection.uses >= self._uses else "lifetime"
            connection.quit("closed" if self._closed else worn)
            return
        connection.rest(now)
        self._idle.append(connection)

    def forget(self, connection: Upstream) -> None:
        """Drop a connection from the books, once."""
        if connection in self._open:
            self._open.discard(connection)
            self.counters.retired[connection.why] += 1
            if self._room is not None:
                self._room.leave()
            if connection in self._idle:
                self._idle.remove(connection)

    def lifetime(self) -> float:
        """Return how long the next connection may live: none ends together with many others."""
        self._spread = (self._spread + _STRIDE) % 1.0
        return self.settings.lifetime * (1 - _SPREAD * self._spread)

    def idle_since(self) -> float:
        """Return since when the connection that is idle the longest has been so."""
        return self._idle[0].idle_since if self._idle else inf

    def evict(self) -> None:
        """Close that connection: another pool needs its place."""
        self._idle[0].quit("evicted")

    async def close(self) -> None:
        """Close what is idle now, and the rest as it ends."""
        self._closed = True
        dials = tuple(self._dials)
        for dial in dials:
            dial.ring()
        for connection in tuple(self._idle):
            connection.quit("closed")
        if self._room is not None:
            self._room.part(self)
        if dials:
            await asyncio.wait([dial.task for dial in dials])

    def statistics(self) -> dict[str, Any]:
        """Return the present figures; what was refused and retired, by reason."""
        return {
            "name": self.name,
            "open": len(self._open),
            "idle": len(self._idle),
            "in_use": len(self._open) - len(self._idle),
            "dialling": len(self._dials),
            **self.counters.figures(),
            "refused": dict(self.counters.refused),
            "retired": dict(self.counters.retired),
        }

    # Faults

    def _refuse(self, reason: str, refusal: Refusal, detail: str) -> Fault:
        self.counters.refused[reason] += 1
        return Fault(
            Code.UNAVAILABLE,
            f"{self.name}: {detail}",
            effect=Effect.NONE,
            refusal=refusal,
            origin=self.name,
        )

    def _undialled(self, error: BaseException | None) -> BaseException:
        """Return what ended a dial: a fault, or the defect of a dialler as it is."""
        if error is not None and not isinstance(error, OSError | asyncio.CancelledError):
            return error
        if self._closed:
            return self._refuse("closed", Refusal.DRAINING, "the pool is closed")
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            # Ours, not the server's: it would open the breaker of one that is well.
            detail = f"no connection could be made here: {error.strerror}"
            return self._refuse("descriptors", Refusal.FULL, detail)
        return self._unreached(error)

    def _unreached(self, error: object) -> Fault:
        """Make the fault of a connection that was not to be had. Nothing was sent on it."""
        if isinstance(error, ssl.SSLCertVerificationError):
            # No attempt will change that: INTERNAL is bad, and not tried again.
            return Fault(
                Code.INTERNAL,
                f"{self.name}: its certificate cannot be believed: {error.verify_message}",
                effect=Effect.NONE,
                origin=self.name,
                extra={"status": 502, "reason": "certificate"},
            )
        return self.fault(f"no connection: {error}", effect=Effect.NONE)

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


def _secure(tls: TlsSettings | ssl.SSLContext | None, host: str) -> Secure | None:
    if tls is None:
        return None
    name = host if isinstance(tls, ssl.SSLContext) else tls.server_name or host
    if not name:  # a unix socket has none, and without one OpenSSL takes whatever name there is
        raise ValueError("TLS needs a name that the certificate must bear: a host or server_name")
    context = verifying(tls) if isinstance(tls, ssl.SSLContext) else client_context(tls)
    return Secure(context, name)


def deadline_line(deadline: float, now: float) -> bytes:
    """Write the deadline as remaining milliseconds: clocks differ, durations do not (rule 11)."""
    return f"{HEADER}: {remaining_ms(deadline, now)}\r\n".encode("ascii")
