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
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from enum import Enum
from math import inf
from typing import Any, Final

from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE, Clock
from switchgear.core.delivery import dispatch
from switchgear.core.handler import Handler
from switchgear.core.here import HERE
from switchgear.core.observe import Event, Observer
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.accept import Acceptor
from switchgear.http.connection import Connection
from switchgear.http.defects import log_defect
from switchgear.http.events import Turned
from switchgear.http.exchange import Exchange
from switchgear.http.headers import Headers
from switchgear.http.limits import Census, Counters
from switchgear.http.message import NOTHING, Request, Response
from switchgear.http.problem import problem as public_problem
from switchgear.http.refusals import CONFIGURED
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["Counters", "Drive", "Intake", "Problem", "Run", "Server"]

Intake = Callable[[Request, float], Call[Request]]
"""Makes the call of a request that arrived at an instant. Raises Fault to turn it away."""

Run = Callable[[Exchange], Coroutine[Any, Any, None]]
"""Answers one exchange and settles it, as `core.delivery.dispatch` does."""

Problem = Callable[[Fault, Headers], Response]
"""Writes a fault for whoever has sent these fields; none, where they could not be read."""

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


class Server:
    """Serve `handler` over HTTP/1.1 on a listening socket.

    `intake` makes the call of each request (its deadline, principal and trace); by default the
    deadline is the configured one, whatever the client says. `problem` writes faults;
    `observer` is shown one `Exchanged` per request and one `Turned` per refusal. `several` says
    which peers stand for many clients (load balancers): for them only the cap of all holds.
    `run` takes an exchange from its beginning to its settlement, in place of `dispatch` with the
    handler; where it is user code that it runs, it makes the call ambient itself.
    """

    def __init__(
        self,
        handler: Handler[Request, Response],
        settings: ServerSettings | None = None,
        *,
        drive: Drive = Drive.PARKED,
        intake: Intake | None = None,
        run: Run | None = None,
        problem: Problem | None = None,
        observer: Observer | None = None,
        several: Callable[[str], bool] | None = None,
        on_defect: Callable[[BaseException, Call[Request]], None] | None = None,
        clock: Clock = FINE,
        sweep: Sweep | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.handler = handler
        self.settings = settings or ServerSettings()
        self.eager = drive is Drive.EAGER
        self.intake = intake or self._intake
        self.run = run or (self._run if self.eager else self._user)
        self.problem = problem or _public
        self.observer = observer
        self.on_defect = on_defect or log_defect
        self.clock = clock
        self.counters = Counters()
        self.census = Census(self.settings, several)
        self.connections: set[Connection] = set()
        self.draining = False
        self.cutting = False  # what is not complete now was cut by us: no client has left
        self.drains_at = inf
        self.scheme = "http"
        self.full = _FULL
        self.loop: AbstractEventLoop
        self.place = HERE.place  # of the thread that it runs in
        self.sweep: Sweep
        self._given_sweep = sweep
        self._wall = wall
        self._date = b""
        self._date_until = -inf
        self._port = 0
        self._acceptors: list[Acceptor] = []
        self._closed: list[Acceptor] = []
        self._empty: Future[None] | None = None

    async def start(
        self, sock: socket.socket, *, backlog: int = 1024, tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on a bound socket, which may be shared with other processes."""
        self.loop = loop = asyncio.get_running_loop()
        self.place = HERE.place
        self.sweep = self._given_sweep or sweep_of(loop, self.clock)
        options: dict[str, Any] = {}
        if tls is not None:
            self.scheme = "https"
            options = {"ssl": tls, "ssl_handshake_timeout": self.settings.head_timeout}
        acceptor = Acceptor(self, sock, options)
        acceptor.open(backlog)
        self._acceptors.append(acceptor)
        self._port = acceptor.port

    @property
    def port(self) -> int:
        """The port that is listened on; 0 where there is none."""
        return self._port if self._acceptors else 0

    async def drain(self, timeout: float = 20.0) -> bool:
        """Stop accepting, finish every request whose head arrived, then close (rule 29).

        Connections that are idle are kept for a moment, because a request may be on its way
        in them. Returns whether everything ended in time; what did not is cut.
        """
        self.draining = True
        self.drains_at = self.clock()
        self._close(take=True)
        for connection in tuple(self.connections):
            connection.drain()
        if self.census.total:
            self._empty = self.loop.create_future()
            handle = self.loop.call_later(timeout, _wake, self._empty)
            try:
                await self._empty
            finally:
                handle.cancel()
                self._empty = None
        clean = not self.census.total
        await self.stop()
        return clean

    async def stop(self) -> None:
        """End now: every connection is cut, and the work of each is called off."""
        self.cutting = True
        self._close(take=False)
        for acceptor in self._closed:
            acceptor.cut()
        for connection in tuple(self.connections):
            connection.cut()
        if self.census.total:
            self._empty = self.loop.create_future()
            await self._empty
            self._empty = None

    def _close(self, *, take: bool) -> None:
        """Close the listening sockets; their handshakes may still be under way."""
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.close(take=take)
        self._closed += acceptors

    # What acceptors and connections ask

    def no_room(self, peer: str) -> str:
        """Return the reason why no connection of `peer` gets in, or nothing."""
        reason = self.census.refuses(peer)
        if reason == "server-full":
            self.make_room()  # for the next one
        return reason

    def admit(self, connection: Connection, peer: str) -> None:
        """Count an accepted connection in: there is room for it."""
        connection.peer = peer
        connection.admitted = True
        self.census.take(peer)
        self.counters.accepted += 1
        if self.census.crowded:
            self.make_room()

    def enter(self, connection: Connection) -> bool:
        """Take a connection that is ready to speak; False turns it away, over a cap."""
        if not connection.admitted:
            reason = self.no_room(connection.peer)
            if reason:
                self.refused(connection.peer, reason, 503)
                return False
            self.admit(connection, connection.peer)
        self.connections.add(connection)
        if self.draining:
            connection.drain()
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection out, if it was counted in."""
        if not connection.admitted:
            return
        connection.admitted = False
        self.connections.discard(connection)
        self.census.give(connection.peer)
        if not self.census.total and self._empty is not None:
            _wake(self._empty)

    def make_room(self) -> None:
        """Close idle connections, those that have been idle longest first."""
        self.counters.made_room += self.census.make_room(self.connections, self.clock())

    def refused(self, peer: str, reason: str, status: int = 0, detail: str = "") -> None:
        """Count a refusal, and show it to the observer."""
        self.counters.refuse(reason)
        if self.observer is not None:
            setting = CONFIGURED.get(reason)
            configured = None if setting is None else getattr(self.settings, setting)
            self.show(Turned(peer, status, reason, detail, configured))

    def date(self, now: float) -> bytes:
        """Return the Date line, written once a second."""
        if now >= self._date_until:
            wall = self._wall()
            self._date = f"date: {formatdate(wall, usegmt=True)}\r\n".encode("ascii")
            self._date_until = now + 1.0 - wall % 1.0
        return self._date

    def answer(self, fault: Fault, headers: Headers = NOTHING) -> Response:
        """Write a fault; one that cannot be written is a plain 500, and a defect.

        `headers` are the client's, where they could be read.
        """
        try:
            return self.problem(fault, headers)
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

    async def _user(self, exchange: Exchange) -> None:
        """Answer one exchange by user code, to which its call is ambient."""
        ambient.set(exchange.call)
        await dispatch(self.handler, exchange)

    def _run(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return dispatch(self.handler, exchange)

    def _intake(self, request: Request, now: float) -> Call[Request]:
        return Call(request, now + self.settings.deadline, repeatable=request.method in _REPEATABLE)


def _public(fault: Fault, _: Headers) -> Response:
    return public_problem(fault)


def _wake(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
