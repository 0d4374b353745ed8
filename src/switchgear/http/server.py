"""The server: a listening socket, the connections it accepted, and the handler they call.

```
   socket -> Connection -> Exchange (a delivery) -> dispatch(handler) -> settle -> socket
```

`drive` says who runs the handler: EAGER steps our own frames in the callback that brought the
request (a gateway), PARKED runs user code in the connection's own task (a service).
"""

import asyncio
import socket
import ssl
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum
from math import inf
from typing import Any, Final

from switchgear.core.clock import FINE, Clock
from switchgear.core.handler import Handler
from switchgear.core.observe import Event, Observer
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.connection import Connection
from switchgear.http.defects import log_defect
from switchgear.http.message import Request, Response
from switchgear.http.problem import problem as public_problem
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["Counters", "Drive", "Intake", "Server"]

Intake = Callable[[Request, float], Call[Request]]
"""Makes the call of a request that arrived at an instant. Raises Fault to turn it away."""

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-length: 0\r\n\r\n"
)

# Doing them twice does no more than once (RFC 9110 section 9.2.2).
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class Drive(Enum):
    """Who runs the handler."""

    EAGER = "eager"
    PARKED = "parked"


class Counters:
    """What a server has counted: plain integers, read by whoever wants to."""

    __slots__ = ("accepted", "defects", "refused", "requests", "sent", "timeouts", "turned_away")

    def __init__(self) -> None:
        self.accepted = 0  # connections
        self.turned_away = 0  # connections over a cap
        self.requests = 0
        self.refused = 0  # heads and bodies that broke a rule
        self.timeouts = 0  # connections closed for slowness
        self.defects = 0
        self.sent = 0  # bytes


class Server:
    """Serve `handler` over HTTP/1.1 on a listening socket.

    `intake` makes the call of each request (its deadline, principal and trace); by default the
    deadline is the configured one, whatever the client says. `problem` writes faults;
    `observer` is shown one `Exchanged` per request and one `Turned` per refusal.
    """

    def __init__(
        self,
        handler: Handler[Request, Response],
        settings: ServerSettings | None = None,
        *,
        drive: Drive = Drive.PARKED,
        intake: Intake | None = None,
        problem: Callable[[Fault], Response] = public_problem,
        observer: Observer | None = None,
        on_defect: Callable[[BaseException, Call[Request]], None] | None = None,
        clock: Clock = FINE,
        sweep: Sweep | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.handler = handler
        self.settings = settings or ServerSettings()
        self.eager = drive is Drive.EAGER
        self.intake = intake or self._intake
        self.problem = problem
        self.observer = observer
        self.on_defect = on_defect or log_defect
        self.clock = clock
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self.draining = False
        self.drains_at = inf
        self.scheme = "http"
        self.full = _FULL
        self.loop: AbstractEventLoop
        self.sweep: Sweep
        self._given_sweep = sweep
        self._wall = wall
        self._date = b""
        self._date_until = -inf
        self._per_address: dict[str, int] = {}
        self._tls: dict[str, Any] = {}
        self._listener: asyncio.Server | None = None
        self._spare: socket.socket | None = None
        self._empty: Future[None] | None = None

    async def start(
        self, sock: socket.socket, *, backlog: int = 1024, tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on a bound socket, which may be shared with other processes."""
        self.loop = loop = asyncio.get_running_loop()
        self.sweep = self._given_sweep or sweep_of(loop, self.clock)
        self._tls = {}
        if tls is not None:
            self.scheme = "https"
            self._tls = {"ssl": tls, "ssl_handshake_timeout": self.settings.head_timeout}
        self._spare = sock.dup()
        create: Any = loop.create_server
        if sock.family == socket.AF_UNIX:
            create = loop.create_unix_server
        self._listener = await create(
            lambda: Connection(self), sock=sock, backlog=backlog, **self._tls
        )

    @property
    def port(self) -> int:
        """The port that is listened on; 0 where there is none."""
        name = self._spare.getsockname() if self._spare is not None else ""
        return int(name[1]) if isinstance(name, tuple) else 0

    async def drain(self, timeout: float = 20.0) -> bool:
        """Stop accepting, finish every request whose head arrived, then close (rule 29).

        Connections that are idle are kept for a moment, because a request may be on its way
        in them. Returns whether everything ended in time; what did not is cut.
        """
        await self._close_listener()
        self.draining = True
        self.drains_at = self.clock()
        for connection in tuple(self.connections):
            connection.drain()
        if self.connections:
            self._empty = self.loop.create_future()
            handle = self.loop.call_later(timeout, _wake, self._empty)
            try:
                await self._empty
            finally:
                handle.cancel()
                self._empty = None
        clean = not self.connections
        await self.stop()
        return clean

    async def stop(self) -> None:
        """End now: every connection is cut, and the work of each is called off."""
        await self._close_listener()
        for connection in tuple(self.connections):
            connection.cut()
        if self.connections:
            self._empty = self.loop.create_future()
            await self._empty
            self._empty = None

    async def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        spare, self._spare = self._spare, None
        assert spare is not None  # noqa: S101 - made by `start` beside the listener
        # Who has connected already is not to be reset: the queue is taken to its end.
        spare.setblocking(False)
        with spare:
            while True:
                try:
                    accepted, _ = spare.accept()
                except (BlockingIOError, OSError):
                    return
                accepted.setblocking(False)
                await self.loop.connect_accepted_socket(
                    lambda: Connection(self), accepted, **self._tls
                )

    # What connections ask

    def enter(self, connection: Connection) -> bool:
        """Count a new connection in, unless a cap is reached."""
        per_address = self._per_address
        address = _address(connection.peer)
        held = per_address.get(address, 0)
        settings = self.settings
        if (
            len(self.connections) >= settings.connections
            or held >= settings.connections_per_address
        ):
            self.counters.turned_away += 1
            return False
        per_address[address] = held + 1
        self.connections.add(connection)
        self.counters.accepted += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection out, if it was counted in."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        address = _address(connection.peer)
        held = self._per_address.get(address, 0)
        if held > 1:
            self._per_address[address] = held - 1
        else:
            self._per_address.pop(address, None)
        if not self.connections and self._empty is not None:
            _wake(self._empty)

    def date(self, now: float) -> bytes:
        """Return the Date line, written once a second."""
        if now >= self._date_until:
            wall = self._wall()
            self._date = f"date: {formatdate(wall, usegmt=True)}\r\n".encode("ascii")
            self._date_until = now + 1.0 - wall % 1.0
        return self._date

    def answer(self, fault: Fault) -> Response:
        """Write a fault; one that cannot be written is a plain 500, and a defect."""
        try:
            return self.problem(fault)
        except Exception as error:  # noqa: BLE001 - whoever asked must have an answer
            self.report("a fault could not be written", error)
            return public_problem(Fault(Code.INTERNAL))

    def show(self, event: Event) -> None:
        """Show an event to the observer, whose defect is nobody else's."""
        if self.observer is not None:
            try:
                self.observer(event)
            except Exception as error:  # noqa: BLE001 - see above
                self.report(f"an observer failed on {type(event).__name__}", error)

    def report(self, message: str, error: BaseException) -> None:
        """Report a defect of what was injected here."""
        self.counters.defects += 1
        self.loop.call_exception_handler({"message": message, "exception": error})

    def _intake(self, request: Request, now: float) -> Call[Request]:
        return Call(request, now + self.settings.deadline, repeatable=request.method in _REPEATABLE)


def _address(peer: str) -> str:
    """Return what an address is counted by: an IPv6 network of 64 bits is one client."""
    if ":" not in peer:
        return peer
    try:
        return socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])[:8].hex()
    except OSError:
        return peer


def _wake(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
