"""A client's side of one connection: one request at a time, its answer read strictly.

An upstream that breaks a rule is not argued with: the connection is closed, never used again,
and the caller gets a fault (rule 22). The deadline bounds the head of the answer; its body is
bounded by progress, and only while it is the upstream whom we wait for.
"""

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from switchgear.core.drivers import Wait
from switchgear.core.here import HERE
from switchgear.http.answer import check_bare, check_start
from switchgear.http.bodies import Decoder, decoder
from switchgear.http.corked import FRESH, corked
from switchgear.http.handshake import check_switch
from switchgear.http.heads import CHUNKED, ResponseHead
from switchgear.http.message import Request, Response, StreamResponse, Upgrade, hint
from switchgear.http.outgoing import Outgoing, framed
from switchgear.http.patience import Patience, Waiter
from switchgear.http.refusals import reason_of
from switchgear.http.stream import Stream, Whole
from switchgear.http.tls import announced
from switchgear.http.tunnel import Relay
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

if TYPE_CHECKING:
    from switchgear.http.pool import Pool

__all__ = ["Upstream"]

INTERIM: Final = 8  # informational answers before the final one
HINT: Final = 103
AT_ONCE: Final = 4096  # bytes that the kernel takes of a request, whatever its buffers are set to


class Upstream(Patience):
    """One connection of a pool. It is the feeder of the body that it brings."""

    __slots__ = ("_again", "_buffer", "_call", "_interim", "_keep", "_key", "_method", "_outgoing",
                 "_size", "heard", "uses")  # fmt: skip

    def __init__(self, pool: "Pool") -> None:
        super().__init__(pool)
        self.uses = 0
        self.heard = False  # whether anything of the present answer has come
        self._call: Call[Request] | None = None  # until the head of its answer is there
        self._method = ""
        self._size = 0  # of the request on the wire, where it was given as a whole
        self._key = ""  # of the WebSocket handshake that is under way
        self._buffer = b""
        self._again = False  # chunks that were left are read in the next turn
        self._interim = 0
        self._keep = True
        self._outgoing: Outgoing | None = None  # the request's body, while it is being sent

    # The exchange

    async def exchange(self, call: Call[Request], head: bytes, key: str = "") -> Response:
        """Send a request and return its answer; the rest of a long body follows by itself.

        `key` is that of a WebSocket handshake, and nothing for any other request.

        Raises Fault when there was none, or none that can be believed.
        """
        body, by = call.payload.body, call.deadline
        if isinstance(body, Whole):
            return await self.carry(call, framed(head, call.payload.method, body.data), by, key)
        waiter = self._waiting()
        self.launch(waiter, call, b"", by)
        self._outgoing = Outgoing(self, body)
        self._outgoing.start(head)
        return await self._answer_to(waiter)

    async def carry(self, call: Call[Request], wire: bytes, by: float, key: str = "") -> Response:
        """Send a request as it is on the wire, and return its answer. Raises as `exchange` does."""
        waiter = self._waiting()
        self.launch(waiter, call, wire, by)
        self._key = key
        return await self._answer_to(waiter)

    def _waiting(self) -> Waiter:
        return self._loop.create_future() if HERE.place.stepper is None else Wait()

    async def _answer_to(self, waiter: Waiter) -> Response:
        try:
            return await waiter
        except BaseException:
            self.recall(waiter)
            raise

    def launch(self, waiter: Waiter, call: Call[Request], wire: bytes, by: float) -> None:
        """Send a call's request as it is on the wire; `waiter` gets its answer, or why not.

        It must come before the instant `by`.
        """
        self.uses += 1
        self.heard = False
        self._call = call
        self._method = call.payload.method
        self._size = len(wire)
        self._key = ""
        self._interim = 0
        self._waiter = waiter
        self._head_by = by
        self.transport.fresh = FRESH
        if wire:
            self.transport.write(wire)
        if by < self._due:
            self.watch(by)

    def stale(self, error: BaseException) -> bool:
        """Say whether a request failed because its kept connection had been dead before."""
        return isinstance(error, Fault) and self.why == "unanswered"

    def recall(self, waiter: Waiter) -> None:
        """Be told that nobody waits for the answer any more: it failed, or was called off."""
        if self._waiter is waiter:
            self._waiter = self._call = None
            self._abort("left")
        elif not waiter.cancelled() and waiter.exception() is None:
            # It was called off with the answer in hand: the connection may be another's by now.
            answer = waiter.result()
            if isinstance(answer, StreamResponse):
                answer.abandon()

    # Receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the new connection."""
        self.transport = corked(transport, self._loop)
        self.transport.set_write_buffer_limits(high=self.pool.settings.buffer_bytes)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer; any other bytes poison the connection."""
        if self._decoder is not None:
            self._more(data)
        elif self._waiter is not None and not self._waiter.done():
            if self.transport.fresh:
                self._untimely()
                return
            self.heard = True
            self._buffer = self._buffer + data if self._buffer else data
            try:
                self._head()
            except Fault as fault:
                self._distrust(fault.detail, reason_of(fault))
        elif self._waiter is not None:  # who has left, and was not recalled yet
            self._abort("left")
        elif not self.transport.is_closing():
            self.pool.counters.poisoned += 1
            self._abort("poisoned")

    def _untimely(self) -> None:
        """Take nothing for the answer to a request that has not left, which may go elsewhere."""
        self.pool.counters.poisoned += 1
        detail = "bytes came before the request had left"
        self.fail(self.pool.fault(detail, effect=self._recalled()), "unanswered")

    def _recalled(self) -> Effect:
        """Take back what has not left yet; say what effect the request may have had."""
        recalled = self._size and self.transport.held  # else some of its body may be used up
        self.transport.drop()
        return Effect.NONE if recalled else Effect.UNKNOWN

    def _head(self) -> None:
        settings = self.pool.settings
        while True:
            buffer = self._buffer
            end = buffer.find(b"\r\n\r\n") + 4
            if (len(buffer) if end == 3 else end) > settings.head_bytes:
                raise Fault(Code.UNAVAILABLE, f"a head over {settings.head_bytes} bytes")
            if end == 3:
                check_start(buffer)
                return
            head = self.pool.memo.read(buffer[:end], settings.head_lines, self._method)
            self._buffer = buffer[end:]
            if head.status >= 200:
                break
            check_bare(head)
            self._interim += 1
            if head.status == 101 and self._key:
                self._switch(head)
                return
            if head.status == 101 or self._interim > INTERIM:
                raise Fault(Code.UNAVAILABLE, f"an answer {head.status} that was not asked for")
            if head.status == HINT and self._call is not None:
                hint(self._call, head.headers)
        data, self._buffer = self._buffer, b""
        self._keep = head.keep_alive
        self._answer(head, data)

    def _switch(self, head: ResponseHead) -> None:
        """Give the connection away: from here on it speaks WebSocket."""
        check_switch(head.headers, self._key)
        waiter, self._waiter = self._waiter, None
        self._call = None
        early, self._buffer = self._buffer, b""
        self.unwatch()
        self.why = "switched"
        self.pool.forget(self)
        self.lost = True
        if waiter is not None:
            waiter.set_result(Upgrade(101, head.headers, Relay(self.transport, early)))

    def _answer(self, head: ResponseHead, data: bytes) -> None:
        """Give the caller the answer: whole if all of it is here."""
        waiter = self._waiter
        assert waiter is not None  # noqa: S101 - the caller has looked
        if head.length <= 0 and head.length != CHUNKED:
            check_bare(head)
        if head.length == 0 or 0 < head.length <= len(data):
            body, rest = data[: head.length], data[head.length :]
        else:
            reader = decoder(head.length)
            body, rest = reader.feed(data) if data else (b"", b"")
            if not reader.done:
                self._flow(head, reader, body, waiter)
                return
        if rest:
            raise Fault(Code.UNAVAILABLE, f"{len(rest)} bytes follow the answer")
        self._waiter = self._call = None
        self._done()
        waiter.set_result(Response(head.status, head.headers, body))

    def _flow(self, head: ResponseHead, reader: Decoder, first: bytes, waiter: Waiter) -> None:
        self._decoder = reader
        length = head.length if head.length > 0 else None
        self._stream = stream = Stream(self, length, self.pool.settings.buffer_bytes, self)
        self._moved = self.pool.clock()
        self.watch(self._moved + self.pool.settings.body_timeout)
        if first:
            stream.feed(first)
        if reader.more:
            self._later()
        self._waiter = self._call = None
        waiter.set_result(StreamResponse(head.status, head.headers, stream))

    def _more(self, data: bytes) -> None:
        reader, stream = self._decoder, self._stream
        assert reader is not None and stream is not None  # noqa: S101, PT018 - set together
        try:
            payload, rest = reader.feed(data)
            if rest:
                raise Fault(Code.UNAVAILABLE, f"{len(rest)} bytes follow the answer")
        except Fault as fault:
            self._distrust(fault.detail, reason_of(fault))
            return
        self._moved = self.pool.clock()
        if reader.done:
            self._decoder = self._stream = None
            stream.trailers = getattr(reader, "trailers", [])
            if payload:
                stream.feed(payload)
            self._done()
            stream.finish()
            return
        if payload:
            stream.feed(payload)
        if self._behind:
            self._later()

    def _later(self) -> None:
        """Have the chunks that were left read in another turn, and no more before."""
        if not self.transport.is_closing():
            self.transport.pause_reading()
        if not self._again:
            self._again = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._again = False
        if self._behind:
            self._more(b"")
        if not (self._behind or self._paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Take the upstream's end: of a body that lasts until then, or of what it has cut.

        It may still read, but nothing more will come: whoever waits is told at once.
        """
        while self._behind:  # over TLS an end is told of while nothing is read
            self._more(b"")
        reader, stream = self._decoder, self._stream
        ended = reader is not None and reader.close() and announced(self.transport)
        if stream is not None and ended:
            self._decoder = self._stream = None
            self._close("closed")
            stream.finish()
        elif not self.lost:
            self._ended("")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that no more will come."""
        if not self.lost:
            self._ended("" if exc is None else f": {exc}")
        self.unwatch()

    def _ended(self, what: str) -> None:
        detail = f"the connection was closed before the answer was complete{what}"
        if self._waiter is not None and not self.heard:
            why = "unanswered"
        else:
            why = "cut" if self._waiter is not None or self._stream is not None else "ended"
        self.fail(self.pool.fault(detail, effect=self._recalled()), why)
        self.lost = True

    # Ends

    def _done(self) -> None:
        """Give the connection back, unless it cannot carry another exchange."""
        if not 0 < self._size <= AT_ONCE or self._stuck_since != inf:
            self._unfinished()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self._keep and not self.lost:
            self.pool.release(self)
        else:
            self._close("closed")

    def _unfinished(self) -> None:
        """Keep no connection on which the request was answered before it was all sent.

        An upstream that does not read the rest could take it for the next request.
        """
        self._stuck_since = inf
        if self._outgoing is not None or self.transport.get_write_buffer_size():
            self._drop_body()
            self._keep = False
            self.why = "unfinished"
            self.rest(self.pool.clock())  # till it has taken the rest, but not for ever

    def _drop_body(self) -> None:
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is not None:
            outgoing.drop()

    def sent(self) -> None:
        """Be told that the request's body was all sent."""
        self._outgoing = None

    def _distrust(self, detail: str, reason: str) -> None:
        """Fail what is in progress because the upstream broke a rule."""
        self.pool.counters.poisoned += 1
        fault = self.pool.fault(f"the answer broke a rule: {detail}", reason=reason)
        self.fail(fault, "poisoned")

    def fail(self, error: BaseException, why: str = "left") -> None:
        """End the exchange in progress by an error, and the connection with it."""
        waiter, self._waiter = self._waiter, None
        stream, self._stream = self._stream, None
        self._decoder = self._call = None
        self._abort(why)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if stream is not None:
            stream.fail(error if isinstance(error, Fault) else self.pool.fault(str(error)))

    def _abort(self, why: str) -> None:
        self._drop_body()
        if not self.lost:
            self.why = self.why or why
            self.pool.forget(self)
            self.transport.drop()  # nobody is to begin what nobody waits for
            if not self.transport.is_closing():  # asyncio would end what has ended once more
                self.transport.abort()

    def _close(self, why: str) -> None:
        self.why = self.why or why
        self.pool.forget(self)
        self.transport.close()

    # What the request's body is told

    def pause_writing(self) -> None:
        """Take note that the upstream reads slowly: hold the request's body."""
        self.stuck()
        if self._outgoing is not None:
            self._outgoing.hold()

    def resume_writing(self) -> None:
        """Take note that the upstream has caught up."""
        self.blocked = False
        if self._outgoing is not None:
            self._outgoing.release()
