"""Accepting: a listening socket, and what happens before a connection is one.

We accept by ourselves, not by the loop's own server, because it tells nobody whom it accepts until
a TLS handshake is over, and because out of descriptors asyncio's rests for a second and uvloop's
drops whoever waits. Here whoever is over a cap costs three system calls and no transport.
"""

import errno
import socket
from asyncio import TimerHandle
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from switchgear.core.drivers import Stepper, step
from switchgear.http.connection import Connection
from switchgear.http.dial import EXHAUSTED
from switchgear.http.limits import peer_of
from switchgear.http.spoken import connected

if TYPE_CHECKING:
    from switchgear.http.server import Server

__all__ = ["Acceptor"]

AT_ONCE: Final = 16  # accepted before other connections get a turn
REST: Final = 0.1  # seconds without accepting, where the system has nothing left to accept with

_NOT_SENT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_AHEAD: Final = 8  # times our own buffer; with less, large bodies cost more calls
_LEFT: Final = frozenset(  # it is the connection that failed, not the listener: accept(2)
    {errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
     errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.EPROTO}
)  # fmt: skip
_SPENT: Final = 64 << 10  # bytes of a request that came: unread, they would reset the answer


class Acceptor:
    """Accept from one listening socket, for a server."""

    def __init__(self, server: "Server", sock: socket.socket, tls: dict[str, Any]) -> None:
        self._server = server
        self._sock = sock
        self._tls = tls
        self._backlog = 0
        self._timer: TimerHandle | None = None
        self._joining: dict[Connection, Stepper] = {}

    @property
    def port(self) -> int:
        """The port that is listened on; 0 where there is none."""
        name = self._sock.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def open(self, backlog: int) -> None:
        """Listen."""
        self._backlog = backlog
        self._sock.setblocking(False)
        if self._sock.family != socket.AF_UNIX:
            # Inherited by what is accepted. (asyncio sends without delay only on sockets that
            # were made by naming TCP, which few are.)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if _NOT_SENT is not None:  # for a slow reader the kernel, too, holds little
                self._sock.setsockopt(
                    socket.IPPROTO_TCP, _NOT_SENT, _AHEAD * self._server.settings.buffer_bytes
                )
        self._sock.listen(backlog)
        self._resume()

    def close(self, *, take: bool) -> None:
        """Listen no more. Who has connected already is not to be reset: `take` lets them in."""
        self._server.loop.remove_reader(self._sock)
        for _ in range(self._backlog if take else 0):
            if not self._one():
                break
        if self._timer is not None:  # it may be the last one who found no descriptor
            self._timer.cancel()
        self._sock.close()

    def cut(self) -> None:
        """Call off the handshakes that are under way."""
        for connection, stepper in tuple(self._joining.items()):
            self._server.refused(connection.peer, "draining", detail="its handshake was not over")
            stepper.cancel()

    def _resume(self) -> None:
        self._timer = None
        # In an empty Context: what is set in it would be seen by every connection.
        Context().run(self._server.loop.add_reader, self._sock, self._ready)

    def _ready(self) -> None:
        for _ in range(AT_ONCE):
            if not self._one():
                return

    def _one(self) -> bool:
        """Accept a connection; return whether there may be another."""
        try:
            sock, address = self._sock.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _LEFT:
                return True
            self._rest(error)
            return False
        sock.setblocking(False)
        server = self._server
        peer = peer_of(address)
        reason = server.no_room(peer)
        if reason:
            self._turn_away(sock, peer, reason)
            return True
        connection = Connection(server)
        server.admit(connection, peer)
        stepper = step(self._join(sock, connection))
        if not stepper.ended:
            self._joining[connection] = stepper
        return True

    async def _join(self, sock: socket.socket, connection: Connection) -> None:
        """Make the accepted socket a connection; with TLS, when the handshake is over."""
        server = self._server
        try:
            connect = server.loop.connect_accepted_socket
            await connected(connect, lambda: connection, sock, **self._tls)
        except OSError as error:
            if self._tls:
                server.refused(connection.peer, "tls-handshake", detail=str(error)[:200])
            self._lost(sock, connection)
        except BaseException:
            self._lost(sock, connection)
            raise
        finally:
            self._joining.pop(connection, None)

    def _lost(self, sock: socket.socket, connection: Connection) -> None:
        sock.close()
        self._server.leave(connection)

    def _turn_away(self, sock: socket.socket, peer: str, reason: str) -> None:
        """Close at once; where no handshake is needed for it, say why."""
        status = 0
        with sock:
            if not self._tls:
                try:
                    status = 503
                    sock.send(self._server.full)
                    sock.recv(_SPENT)
                except OSError:
                    pass  # nothing has come yet, or the client has left
        self._server.refused(peer, reason, status)

    def _rest(self, error: OSError) -> None:
        """Go on with what there is. Idle connections give way; the queue waits in the kernel."""
        server = self._server
        loop = server.loop
        loop.remove_reader(self._sock)
        self._timer = loop.call_later(REST, self._resume)
        if error.errno in EXHAUSTED:
            server.refused("", "descriptors", detail=f"accepting failed: {error}")
            server.make_room()
        else:
            server.report("accepting failed", error)
