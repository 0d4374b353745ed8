"""Links: what a server's connection does to its transport, whatever is spoken on it.

Sending with backpressure, and the ends: closing after what was written, lingering for a client that
is still sending; cutting, so that nobody takes an answer for complete.

Whoever closes a socket with bytes unread, or to which bytes still come, resets it; and a client
that is still sending learns of the reset before it looks for an answer. So the answer's end is
said, and what comes is read for nobody, within bounds. Source: RFC 9112 section 9.6.
"""

import socket
import struct
from asyncio import Future
from typing import TYPE_CHECKING, Final

from switchgear.core.clock import Clock
from switchgear.core.sweep import Sweep
from switchgear.http.corked import Corked
from switchgear.http.watch import LOOKS, Watching, gone, untaken

if TYPE_CHECKING:
    from switchgear.http.server import Server

__all__ = ["Link"]

Ends = tuple[tuple[str, int] | None, tuple[str, int | None] | None]
"""A client's address, where it has one, and our own."""

_RESET: Final = struct.pack("ii", 1, 0)
_TCP: Final = (socket.AF_INET, socket.AF_INET6)


class Link(Watching):
    """One accepted connection, as a transport."""

    __slots__ = ("_blocked_since", "_closing", "_ends", "_heard", "_linger", "_paused", "_spoilt",
                 "_unread", "_untaken", "_writers", "admitted", "blocked", "loop", "lost", "peer",
                 "server", "transport")  # fmt: skip

    transport: Corked

    def __init__(self, server: "Server") -> None:
        super().__init__()
        self.server = server
        self.loop = server.loop
        self.peer = ""
        self.admitted = False  # whether it is counted
        self.lost = False
        self.blocked = False  # the client reads slowly
        self._paused = False  # reading
        self._closing = False
        self._spoilt = False  # something broke a rule: what follows is read for nobody
        self._linger = 0.0  # until when, at most, what follows is read for nobody
        self._heard = 0.0  # when something last came of that
        self._unread = 0  # bytes of that
        self._writers: list[Future[None]] = []
        self._blocked_since = 0.0
        self._ends: Ends | None = None  # once somebody has asked, for that is dear
        self._untaken = 0  # bytes, when it had last taken enough

    def clockwork(self) -> tuple[Clock, Sweep]:
        """Return the server's clock and sweep."""
        return self.server.clock, self.server.sweep

    def ends(self) -> Ends:
        """Return the client's address, where it has one, and our own."""
        ends = self._ends
        if ends is None:
            peer = self.transport.get_extra_info("peername")
            name = self.transport.get_extra_info("sockname")
            own = (name[0], name[1]) if isinstance(name, tuple) else (str(name or ""), None)
            ends = (peer[0], peer[1]) if isinstance(peer, tuple) else None, own
            self._ends = ends
        return ends

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._paused and not self.lost:
            self._paused = True
            self.transport.pause_reading()
            self.watch(self.server.clock() + self.server.settings.body_grace)

    def ring(self) -> None:
        """Look, unless the client has gone: while nothing is read, its leaving is not told."""
        if self._paused and not self.lost and gone(self.transport):
            self.cut()
        else:
            super().ring()

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused and not self.lost:
            self._paused = False
            self.transport.resume_reading()

    def send(self, data: bytes) -> None:
        """Send bytes of the present answer."""
        if not self.lost:
            self.server.counters.sent += len(data)
            self.transport.write(data)

    def turn_away(self, answer: bytes) -> None:
        """Close a connection that is not taken, with one answer to whatever it would ask."""
        self.lost = True
        self.transport.write(answer)
        self.transport.close()

    async def drained(self) -> None:
        """Wait until the client has caught up."""
        while self.blocked and not self.lost:
            waiter: Future[None] = self.loop.create_future()
            self._writers.append(waiter)
            await waiter

    def outlet(self) -> int:
        """Return a descriptor by which to write past the transport, or -1 where there is none."""
        if self.lost or self.blocked or self._closing:
            return -1
        return self.transport.outlet()

    def stalled(self) -> None:
        """Take note that the client, who may have read just now, reads no more for the moment."""
        if not self.lost:
            self._slow()

    def flows(self) -> None:
        """Take note that a client that had stalled has caught up."""
        self.blocked = False

    def pause_writing(self) -> None:
        """Take note that the client reads slowly."""
        self._slow()

    def _slow(self) -> None:
        self.blocked = True
        self._blocked_since = now = self.server.clock()
        self._untaken = untaken(self.transport)
        self.watch(now + self.server.settings.write_timeout / LOOKS)

    def resume_writing(self) -> None:
        """Take note that the client has caught up."""
        self.blocked = False
        self._wake()

    def _wake(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    def stuck(self, now: float, unsent: int) -> float | None:
        """Look at a client that has bytes to read, or a connection that closes.

        Returns when to look again, or None when the connection was given up.
        """
        # Where all is sent and nobody lingers, the end is on its way: it must not become a reset.
        if unsent or self.blocked or not self._linger:
            return self.unread(now)
        due = min(self._linger, self._heard + self.server.settings.linger)
        if now < due:
            return due
        if self.transport.is_closing():
            self.transport.abort()
        elif now >= self._linger:
            self.give_up("still-sending")
        else:
            return self._bye(now)
        return None

    def unread(self, now: float, since: float = 0.0) -> float | None:
        """Look at a client that has bytes to read: it is given up once it takes too few of them.

        At the rate at which a body may come: whom one byte now and then would do could hold every
        place before an upstream by a few hundred connections, for ever, and for next to nothing.
        How it read what came before `since` says nothing. Returns as `stuck` does.
        """
        settings = self.server.settings
        within = settings.write_timeout
        left = untaken(self.transport)
        enough = max(1.0, settings.body_rate * within)
        if self._untaken - left >= enough or self._blocked_since < since:
            self._blocked_since, self._untaken = now, left
        elif left > self._untaken:  # there is more for it
            self._untaken = left
        due = self._blocked_since + within
        if now < due:
            return min(due, now + within / LOOKS)
        self.give_up("write-timeout")
        return None

    def _bye(self, now: float) -> float:
        """Close in full after lingering; TLS, which knows no half of it, has its goodbye now."""
        self.transport.close()
        self._heard = now
        self._linger = now + self.server.settings.linger
        return self._linger

    def discard(self, size: int) -> None:
        """Take note of bytes that were read for nobody: so many, and no more."""
        self._heard = self.server.clock()
        self._unread += size
        if self._unread > self.server.settings.linger_bytes:
            self.give_up("still-sending")

    def give_up(self, reason: str) -> None:
        """Drop a client that does not keep to its limits.

        By a reset: else the kernel would hold what is unread for as long as the client likes.
        """
        self.server.refused(self.peer, reason)
        self.cut()

    def close(self, *, linger: bool) -> None:
        """Close after what was written; with `linger`, once the client has done sending.

        Over TLS there is no half-close: the end is said when the lingering is over.
        """
        self._closing = True
        if self.lost or self.transport.is_closing():  # a cut is to stay one: no end is said
            return
        server, transport = self.server, self.transport
        now = server.clock()
        self._blocked_since = now
        transport.flush()
        self._untaken = untaken(transport)
        if linger:
            self._heard = now
            self._linger = now + server.settings.linger_timeout
            self.resume_reading()
            if transport.can_write_eof():
                try:
                    transport.write_eof()
                except OSError:  # asyncio tells so of a client that has gone
                    transport.abort()
                    return
            self.watch(min(self._linger, now + server.settings.linger))
        else:
            transport.close()
            self.watch(now + server.settings.write_timeout / LOOKS)

    def cut(self) -> None:
        """Break the connection so that nobody takes what was sent for complete."""
        if self.lost:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0 and raw.family in _TCP:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._closing = True
        self.transport.abort()
