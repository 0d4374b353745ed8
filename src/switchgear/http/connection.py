"""A server's side of one connection: receiving, its deadlines, and the order of exchanges.

One request is in progress at a time; what arrives behind it waits, bounded, and is
answered in order (rule 28). One alarm per connection looks after every deadline: it rings at the
earliest that could be due, and looks again.
"""

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from switchgear.core.drivers import step
from switchgear.core.parked import Parked
from switchgear.http.corked import corked
from switchgear.http.exchange import Exchange
from switchgear.http.half_close import HalfClosed
from switchgear.http.head import Memo
from switchgear.http.headers import Headers
from switchgear.http.heads import incomplete, read_request
from switchgear.http.incoming import Incoming, begun
from switchgear.http.limits import peer_of
from switchgear.http.link import Link
from switchgear.http.message import NOTHING, Request
from switchgear.http.refusals import reason_of, refuse, status_of
from switchgear.http.stream import EMPTY, Body
from switchgear.http.tunnel import Tunnel
from switchgear.http.turned import turned
from switchgear.http.watch import readable
from switchgear.policy.fault import Fault

if TYPE_CHECKING:
    from switchgear.http.server import Server

__all__ = ["Connection"]

_HEAD: Final = b"HEAD "
AT_ONCE: Final = 8  # pipelined requests answered before other connections get a turn


class Connection(Link):
    """One client, from accept to close."""

    __slots__ = ("_buffer", "_followed", "_head_since", "_idle_since", "_incoming", "_memo",
                 "_parked", "_pumping", "_scanned", "_skipped", "_tunnel", "exchange",
                 "half")  # fmt: skip

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self.exchange: Exchange | None = None
        self.half: HalfClosed | None = None  # once the client has ended what it sends
        self._buffer = b""
        self._followed = False  # whether bytes stand behind the present request
        self._memo = Memo()
        self._scanned = 0  # bytes of the buffer that hold no end of a head
        self._skipped = False  # an empty line, before the next head
        self._pumping = False
        self._incoming: Incoming | None = None
        self._parked: Parked | None = None
        self._tunnel: Tunnel | None = None
        self._head_since = 0.0
        self._idle_since = 0.0

    # Coming and going

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the new connection, or turn it away when there are too many."""
        server = self.server
        self.transport = corked(transport, self.loop)
        if not self.admitted:  # else it was accepted by us, and its address is known
            self.peer = peer_of(transport.get_extra_info("peername"))
        self._idle_since = server.clock()
        self.transport.set_write_buffer_limits(high=server.settings.buffer_bytes)
        if server.enter(self):
            self.watch(self._idle_since + server.settings.idle_timeout)
        else:
            self.turn_away(server.full)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and call off what still works for it."""
        self.unwatch()
        if self._tunnel is not None:
            self.lost = True
            self._tunnel.connection_lost(exc)
        self._leave()
        self._wake()
        self.server.leave(self)

    def eof_received(self) -> bool:
        """Take the end of what the client sends for its leaving, unless its answer is due.

        Amid a request of its own it may have closed but one half: it is found out (rule 16).
        """
        self.transport.flush()  # an answer that was just written: the loop closes without it
        if self._tunnel is not None:
            return bool(self._tunnel.eof_received())
        due = self.exchange is not None or (not self._closing and b"\r\n\r\n" in self._buffer)
        amid = due and self._incoming is None and not self.lost
        if amid and self.server.settings.half_close and self.server.scheme == "http":
            self.half = HalfClosed(self)
            return True  # (TLS has no halves)
        self._leave()
        return False

    def _leave(self) -> None:
        if self.lost:
            return
        self.lost = True
        self._call_off()
        if self._incoming is not None:
            self._incoming.left()

    def _call_off(self) -> None:
        """Cancel what works for this connection."""
        if self._parked is not None:
            self._parked.close()
        elif self.exchange is not None and self.exchange.work is not None:
            self.exchange.work.cancel()

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a body, of the next head, or of whatever the protocol is now."""
        if self._incoming is not None:
            self._body(data)
        elif self._tunnel is not None:
            self._tunnel.data_received(data)
        elif self._closing or self.lost:
            self.discard(len(data))
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self.exchange is None:
                self._pump()
            if len(self._buffer) > self.server.settings.buffer_bytes:
                self.pause_reading()

    def _pump(self, due: bool = False) -> None:
        """Start the requests that are here, in order: a turn's part, till one is `due`."""
        if self._pumping and not due:
            return
        self._pumping = True
        buffer, self._buffer = self._buffer, b""
        at, turns = 0, 0
        try:
            while at < len(buffer) and self.exchange is None and self._incoming is None:
                if self.blocked or self._closing or self.lost or turns == AT_ONCE:
                    break
                end = buffer.find(b"\r\n\r\n", at + self._scanned)
                if end >= 0 and not buffer.startswith(b"\r\n", at):
                    at = self._start(buffer, at, end + 4)
                    turns += 1
                elif self._partial(buffer, at):
                    at += 2
                else:
                    break
        finally:
            self._pumping = False
            if turns == AT_ONCE:
                self._pump_later()
            if at < len(buffer) and not self._closing:
                self._buffer = buffer[at:] if at else buffer
                if self._tunnel is not None:
                    self._early()
            elif self.half is not None and self.exchange is None and not self._closing:
                self._close()  # an empty line was the last that came
        if self._paused:
            self._unpause()

    def _pump_later(self) -> None:
        """Leave the requests that are here for another turn."""
        self._pumping = True
        self.loop.call_soon(self._pump, True)

    def _unpause(self) -> None:
        """Read on when what waits has become little, or is all that a head or a body has so far."""
        if self._incoming is not None:
            more = not self._incoming.paused  # a body that began while its bytes waited
        else:
            stuck = self.exchange is None and not self.blocked and not self._pumping
            more = stuck or len(self._buffer) * 2 < self.server.settings.buffer_bytes
        if more:
            self.resume_reading()

    def _partial(self, buffer: bytes, at: int) -> bool:
        """Look at a head that is not complete; return whether an empty line was skipped."""
        if not self._skipped and buffer.startswith(b"\r\n", at):  # RFC 9112 section 2.2
            self._skipped = True  # one is tolerated, and begins nothing
            return True
        if not self._head_since and buffer[at:] != b"\r":  # which may be half of an empty line
            self._head_since = self.server.clock()
            self.watch(self._head_since + self.server.settings.head_timeout)
        fault = incomplete(buffer, at, self._scanned, self.server.settings)
        if fault is not None:
            self._turn(fault, buffer.startswith(_HEAD, at))
        elif self.half is not None:  # what is missing will never come
            self._close()
        self._scanned = max(0, len(buffer) - at - 3)
        return False

    def _start(self, buffer: bytes, at: int, end: int) -> int:
        """Begin the request whose head stands there; return where the rest begins."""
        server = self.server
        self._scanned = 0
        self._skipped = False
        self._head_since = 0.0
        now = server.clock()
        body: Body = EMPTY
        headers = NOTHING  # until they are read
        try:
            head = read_request(buffer[at:end], server.settings, self._memo)
            fields = head.fields
            headers = fields.headers
            if fields.length:
                body, end, self._incoming = begun(self, fields, buffer, end, now)
            self._followed = end < len(buffer)
            request = Request(
                head.method, head.path, head.query, headers, body, head.target, self.peer,
                server.scheme, head.minor, fields.upgrade if head.method == "GET" else "", self,
            )  # fmt: skip
            call = server.intake(request, now)
        except Fault as fault:
            self._turn(fault, buffer.startswith(_HEAD, at), headers)
            return len(buffer)
        server.counters.requests += 1
        self.exchange = exchange = Exchange(self, call, head.minor, fields.keep_alive, now)
        if server.eager:
            step(server.run(exchange), server.place)
        else:
            if self._parked is None:
                self._parked = Parked(self.loop)
            self._parked.run(server.run(exchange))
        return end

    def _body(self, data: bytes) -> None:
        assert self._incoming is not None  # noqa: S101 - the caller has looked
        try:
            rest = self._incoming.feed(data)
        except Fault as fault:
            self._spoil(fault)
            return
        if rest is not None:
            self._incoming = None
            self._buffer = rest
            self._idle_since = self.server.clock()
            if self.exchange is None:
                self._pump()
            elif self._paused:
                self._unpause()

    def _spoil(self, fault: Fault) -> None:
        """Give up on a body: its reader gets the fault, and no next request is believed."""
        incoming, self._incoming = self._incoming, None
        self._closing = self._spoilt = True
        self.server.refused(self.peer, reason_of(fault), status_of(fault) or 0, fault.detail)
        if incoming is not None:
            incoming.fail(fault)
        if self.exchange is None:
            self._close()

    # Answering

    def keeps(self) -> bool:
        """Say whether another request may follow the one that is being answered."""
        if self._closing:
            return False
        ending = self.server.draining or self.half is not None
        if ending and not (self._followed or self._buffer):
            return False  # but what had arrived before is answered
        return self._incoming is None or self._incoming.short

    def over(self, exchange: Exchange, now: float) -> None:
        """Take the end of an exchange: go on to the next request, or close."""
        self.exchange = None
        if self.lost:
            return
        if not exchange.keep or self._closing:
            self._close()
            return
        self._idle_since = now
        if self._incoming is not None:
            self._incoming.discard()
        elif self._buffer and self._parked is not None:
            self._pump_later()  # its task would go on for as long as there is another
        elif self._buffer:
            self._pump()
        elif self.half is not None and not self._pumping:
            self._close()
        elif self.server.draining:  # its head had not said so: another request may be on its way
            self.watch(now + self.server.settings.drain_grace)

    def pause_writing(self) -> None:
        """Hold what feeds the client: it reads slowly."""
        super().pause_writing()
        if self._tunnel is not None:
            self._tunnel.pause_writing()
        elif self.exchange is not None:
            self.exchange.hold()

    def resume_writing(self) -> None:
        """Let what feeds the client go on: it has caught up."""
        super().resume_writing()
        if self._tunnel is not None:
            self._tunnel.resume_writing()
        elif self.exchange is not None:
            self.exchange.release()
        elif not self.lost and self._incoming is None:
            self._pump()

    async def tunnel(self, tunnel: Tunnel, client: str) -> None:
        """Hand the connection over to what the upgrade speaks, until it has ended."""
        self._tunnel = tunnel
        self.server.census.sessions.take(client)
        now = self.server.clock()
        self.watch(tunnel.look(now, self.server.settings.session_idle))
        self.resume_reading()  # what waited goes to the tunnel, which pauses by itself
        tunnel.attach(self.transport, self._call_off)
        if self.blocked:
            tunnel.pause_writing()
        self._early()
        if self.server.draining:
            tunnel.drain()
        try:
            await tunnel.run()
        finally:
            self._tunnel, self._followed = None, tunnel.sending
            self.server.census.sessions.give(client)
            if self.lost and self._parked is not None:
                self._parked.leave()  # nobody comes after it, and nobody else will end its task

    def _early(self) -> None:
        """Pass on what the client sent right behind its handshake."""
        early, self._buffer = self._buffer, b""
        if early and self._tunnel is not None:
            self._tunnel.data_received(early)

    # Ends

    def _turn(self, fault: Fault, bodiless: bool, headers: Headers = NOTHING) -> None:
        """Turn bytes away that are no request: say so once, and close."""
        self._spoilt = True
        self.send(turned(self.server, self.peer, fault, headers, bodiless=bodiless))
        self._close()

    def _close(self) -> None:
        """Close after what was written, and read on a while where more may be under way."""
        incoming, self._incoming = self._incoming, None
        more = self._spoilt or incoming is not None or self._followed or bool(self._buffer)
        if incoming is not None:
            incoming.answered()
        self.close(linger=more and self.half is None)

    @property
    def idle_since(self) -> float:
        """Since when there is nothing to do (an empty line is nothing); infinite if there is."""
        if self._linger:  # for a client that has its answer
            return self._blocked_since
        busy = self.exchange is not None or self._incoming is not None or self._closing
        return inf if busy or self._head_since or len(self._buffer) > 1 else self._idle_since

    def drain(self) -> None:
        """Be told that the process is on its way out: no request after the present one."""
        if self._tunnel is not None:
            self._tunnel.drain()
        else:
            self.watch(self.server.drains_at + self.server.settings.drain_grace)

    def look(self, now: float) -> float | None:
        """Enforce what is due at `now`; return when to look again, or None when it is over."""
        settings = self.server.settings
        unsent = self.transport.get_write_buffer_size()
        if self.blocked or (self._closing and self.exchange is None):
            return self.stuck(now, unsent)
        if self._incoming is not None:
            try:
                return self._incoming.look(now)
            except Fault as fault:
                self._spoil(fault)
                return now + settings.write_timeout
        if self._tunnel is not None:
            return self._tunnel.look(now, settings.session_idle)
        if self.exchange is not None or self._pumping:
            return now + (settings.body_grace if self._paused else settings.idle_timeout)
        if self._head_since:
            due = self._head_since + settings.head_timeout
            if now < due:
                return due
            late = refuse("head-timeout", "the head did not arrive in time", status=408)
            self._turn(late, self._buffer.startswith(_HEAD))
            return None
        due = self._idle_since + settings.idle_timeout
        if self.server.draining:
            due = min(due, max(self.server.drains_at, self._idle_since) + settings.drain_grace)
        if now < due:
            return due
        if unsent:
            return self.unread(now, self._idle_since)
        if readable(self.transport):  # a request has just come in: it is answered
            return now + 0.01
        self._close()
        return None
