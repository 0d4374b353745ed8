"""Flows: an answer's body on its way to a client, framed as its head has announced."""

from asyncio import Future
from typing import TYPE_CHECKING, Final

from switchgear.http.bodies import chunk
from switchgear.http.heads import CHUNKED
from switchgear.http.splice import spliced
from switchgear.http.stream import Body, Stream

if TYPE_CHECKING:
    from switchgear.http.connection import Connection
    from switchgear.http.exchange import Exchange

__all__ = ["Flow"]

_PATIENCE: Final = 1.0  # seconds that a head waits for what a handler makes


class Flow:
    """The body of one answer that is not whole. It is the sink of a piped stream.

    `head` goes before its first bytes; `framing` is how many are still to come, CHUNKED or
    UNTIL_CLOSE.
    """

    __slots__ = ("_connection", "_ended", "_exchange", "_framing", "_piped", "head")

    def __init__(
        self, exchange: "Exchange", connection: "Connection", head: bytes, framing: int
    ) -> None:
        self.head = head
        self._framing = framing
        self._exchange = exchange
        self._connection = connection
        self._ended: Future[None] | None = None
        self._piped: Stream | None = None

    async def run(self, body: Body) -> None:
        """Send all of a body. Raises what has cut it, and ValueError if it has another length."""
        if isinstance(body, Stream):
            await self._pipe(body)
        else:
            await self._pump(body)

    async def _pipe(self, body: Stream) -> None:
        connection = self._connection
        self._ended = ended = connection.loop.create_future()
        self._piped = body
        splice = spliced(body, self, connection)
        try:
            if splice is not None:
                splice.begin()
            else:
                self._begin(body, ended)
            await ended
        finally:
            self._piped = None
            if splice is not None:
                splice.stop()

    def _begin(self, body: Stream, ended: Future[None]) -> None:
        """Send what there is of a body, and have the rest sent as it comes."""
        if self._connection.blocked:
            body.hold()
        body.pipe(self)
        if not self.head:
            return
        head, self.head = self.head, b""
        if ended.done() and ended.exception() is not None:
            self._exchange.status = 0  # nothing was sent: the answer can still be an honest one
        else:
            self._connection.send(head)

    async def _pump(self, body: Body) -> None:
        """Send what a handler makes. Its head waits for the first piece, but not for long.

        What fails before that can still be answered honestly; but an answer that begins with
        silence, as of a stream of events, has to begin, before its deadline and for who listens.
        """
        connection, exchange = self._connection, self._exchange
        left = exchange.call.deadline - connection.server.clock()
        wait = min(_PATIENCE, max(0.0, left / 2))
        alarm = connection.loop.call_later(wait, self._open, context=connection.server.place.bare)
        try:
            while data := await body.chunk():
                self.write(data)
                if connection.blocked:
                    await connection.drained()
            self._complete()
        except BaseException:
            if self.head:
                exchange.status = 0  # as above
            raise
        finally:
            alarm.cancel()

    def _open(self) -> None:
        """Send the head alone."""
        head, self.head = self.head, b""
        if head:
            self._connection.send(head)

    # The sink of a piped stream

    def write(self, data: bytes) -> None:
        """Send one piece of the body."""
        self._connection.send(self.frame(data))

    def frame(self, data: bytes) -> bytes:
        """Return one piece of the body as it is to be sent, with the head before the first."""
        if 0 <= self._framing < len(data):
            self._overrun()
            return b""
        self.passed(len(data))
        if self._framing == CHUNKED:
            data = chunk(data)
        if self.head:
            data, self.head = self.head + data, b""
        return data

    def passed(self, size: int) -> None:
        """Take note of bytes of the body."""
        self._exchange.sent += size
        if self._framing >= 0:
            self._framing -= size

    def end(self, error: Exception | None) -> None:
        """Take the end of the piped stream."""
        ended = self._ended
        if ended is None or ended.done():
            return
        if error is not None:
            ended.set_exception(error)
            return
        try:
            self._complete()
        except ValueError as short:
            ended.set_exception(short)
        else:
            ended.set_result(None)

    def _overrun(self) -> None:
        error = ValueError("the body is longer than it was announced")
        if self._ended is None:
            raise error
        if not self._ended.done():  # the feeder of a piped stream is not to blame
            self._ended.set_exception(error)

    def hold(self) -> None:
        """Be told that the client reads slowly."""
        if self._piped is not None:
            self._piped.hold()

    def release(self) -> None:
        """Be told that the client has caught up."""
        if self._piped is not None:
            self._piped.release()

    def _complete(self) -> None:
        if self._framing > 0:
            raise ValueError("the body is shorter than it was announced")
        tail = b""
        if self._framing == CHUNKED:
            tail = b"0\r\n%b\r\n" % (self._piped.tail if self._piped is not None else b"")
        if self.head:
            tail, self.head = self.head + tail, b""
        if tail:
            self._connection.send(tail)
        self._exchange.over()
