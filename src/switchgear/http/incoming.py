"""Incoming bodies: a request's body that was not all there when its head was.

It feeds a `Stream`, asks a waiting client to go on (100-continue), holds the body to its limits of
size and rate, and reads to its end what nobody wants, so that the connection lives on.
"""

from typing import TYPE_CHECKING, Final

from switchgear.http.bodies import Chunks, Counted, Decoder
from switchgear.http.heads import Fields
from switchgear.http.refusals import refuse
from switchgear.http.stream import Body, Stream, Whole, too_large
from switchgear.policy.fault import Code, Fault

if TYPE_CHECKING:
    from switchgear.http.connection import Connection

__all__ = ["Incoming", "begun"]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FIRST: Final = 1024  # bytes that are looked through first of a body whose end is not known
_DISCARDED: Final = 64 << 10  # bytes of an unread body that we rather read than reconnect for


class Incoming:
    """The body of the present request, on its way. It is the feeder of its `stream`."""

    __slots__ = ("_at", "_connection", "_count", "_decoder", "_due", "_expects", "_held", "_size",
                 "stream")  # fmt: skip

    def __init__(
        self, connection: "Connection", decoder: Decoder, first: bytes, *, expects: bool, now: float
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self._expects = expects
        self._size = len(first)
        self._at = now  # the rate is measured from here
        self._count = 0  # bytes since then
        self._held = False  # whether it was we who paused since then
        self._due = False  # chunks that were left are read in the next turn
        length = decoder.left + len(first) if isinstance(decoder, Counted) else None
        self.stream: Stream | None = Stream(self, length, connection.server.settings.buffer_bytes)
        if first:
            self.stream.feed(first)
        if decoder.more:
            self._later()

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return what follows the body once it is complete.

        Raises Fault for a body that broke a rule of framing or size.
        """
        payload, rest = self._decoder.feed(data)
        if self._expects:  # it did not wait
            self._expects = False
            self._at = self._connection.server.clock()
        self._count += len(data)
        self._size += len(payload)
        limit = self._connection.server.settings.body_bytes
        if self._size > limit:
            raise too_large(limit)
        stream = self.stream
        if payload and stream is not None:
            stream.feed(payload)
        if not self._decoder.done:
            if self._decoder.more:
                self._later()
            return None
        if stream is not None:
            stream.trailers = getattr(self._decoder, "trailers", [])
            stream.finish()
        return rest

    def _later(self) -> None:
        """Have the chunks that were left read in another turn, and no more before."""
        connection = self._connection
        if not connection.transport.is_closing():
            connection.pause_reading()
        if not self._due:
            self._due = True
            connection.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._due = False
        connection = self._connection
        connection.data_received(b"")
        if not (self._decoder.done or self.paused or connection.transport.is_closing()):
            connection.resume_reading()

    def fail(self, fault: Fault) -> None:
        """Cut the body: its reader, if any, gets the fault."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.fail(fault)

    def left(self) -> None:
        """Be told that the client has gone."""
        self.fail(Fault(Code.CANCELLED, "the client left before its body was complete"))

    def answered(self) -> None:
        """Be told that the answer was given: whoever still reads gets no more."""
        self.fail(Fault(Code.CANCELLED, "the answer was given before the body was complete"))

    def discard(self) -> None:
        """Read what still comes for nobody."""
        self.answered()
        self.resume()

    @property
    def short(self) -> bool:
        """Whether reading the rest costs less than another connection."""
        decoder = self._decoder
        return isinstance(decoder, Counted) and decoder.left <= _DISCARDED and not self._expects

    @property
    def paused(self) -> bool:
        """Whether its taker is behind, or we are."""
        return self._decoder.more or (self.stream is not None and self.stream.paused)

    # What the stream asks of its feeder

    def pause(self) -> None:
        """Stop reading: the body's taker is behind."""
        self._held = True
        self._connection.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._at = self._connection.server.clock()
        self._count = 0
        if not self._decoder.more:
            self._connection.resume_reading()

    def wanted(self) -> None:
        """Ask the client for its body if it waits to be asked, once (rule 25).

        Not amid its answer, nor behind it: that has told the client enough.
        """
        if self._expects:
            self._expects = False
            self._at = self._connection.server.clock()
            exchange = self._connection.exchange
            if self.stream is not None and exchange is not None and not exchange.begun:
                self._connection.send(_CONTINUE)

    def abandoned(self) -> None:
        """Read the rest of the body for nobody."""
        self.discard()

    # The rate

    def look(self, now: float) -> float:
        """Return when to look again. It is the client's rate, so our own pauses do not count.

        Raises Fault (408) when the body comes too slowly.
        """
        settings = self._connection.server.settings
        behind = self.stream is not None and self.stream.idle
        if self._held or behind or self._expects:
            self._held = self.paused
            self._at, self._count = now, 0
        elif now - self._at >= settings.body_grace:
            if self._count < settings.body_rate * (now - self._at):
                rate = settings.body_rate
                raise refuse("body-timeout", f"the body came below {rate} B/s", status=408)
            self._at, self._count = now, 0
        return self._at + settings.body_grace


def begun(
    connection: "Connection", fields: Fields, buffer: bytes, at: int, now: float
) -> tuple[Body, int, Incoming | None]:
    """Return the body that begins there, where the next message begins, and what is on its way.

    Raises Fault for a body that is too long already, or breaks a rule in its first bytes.
    """
    settings = connection.server.settings
    length = fields.length
    if length > settings.body_bytes:
        raise too_large(settings.body_bytes)
    if 0 < length <= len(buffer) - at:
        return Whole(buffer[at : at + length]), at + length, None
    decoder: Decoder = Counted(length) if length > 0 else Chunks()
    payload, end = _decoded(decoder, buffer, at, len(buffer) - at if length > 0 else _FIRST)
    if len(payload) > settings.body_bytes:
        raise too_large(settings.body_bytes)
    if decoder.done:
        return Whole(payload), end, None
    waits = fields.expects and at == end  # else it did not wait to be asked
    incoming = Incoming(connection, decoder, payload, expects=waits, now=now)
    assert incoming.stream is not None  # noqa: S101 - it was just made
    connection.watch(now + settings.body_grace)
    return incoming.stream, end, incoming


def _decoded(decoder: Decoder, buffer: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Decode what is here of a body that begins there; return it, and where it ends.

    In pieces, the first of `size`, and each of twice the one before: else all that stands behind a
    short body, which may be many more requests, would be copied for each of them.
    """
    payload = b""
    while at < len(buffer) and not decoder.done:
        data = buffer[at : at + size]
        part, rest = decoder.feed(data)
        payload = payload + part if payload else part
        at += len(data) - len(rest)
        size = len(buffer) if decoder.more else size * 2
    return payload, at
