"""WebSocket sessions: one side of an open socket. Source: RFC 6455.

What is received waits in a bounded queue; when it is full, the peer is no longer read. A session
whose peer vanishes is cancelled; one whose peer says goodbye is told so by `receive`.
"""

import asyncio
from asyncio import CancelledError, Future
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from switchgear.core.clock import FINE, Clock
from switchgear.http.corked import Corked
from switchgear.http.frames import (
    BINARY,
    PING,
    PONG,
    TEXT,
    Closing,
    FrameReader,
    SocketError,
    encode,
    encode_close,
)
from switchgear.http.message import Request
from switchgear.http.pulse import Pulse
from switchgear.http.settings import SocketSettings
from switchgear.http.socket_calls import FrameSource, Reply, reply_with
from switchgear.http.tunnel import Tunnel
from switchgear.http.watch import gone
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, judge

__all__ = ["Message", "Session", "WebSocket"]

Message = str | bytes

READ_AHEAD: Final = 256  # messages beyond a full queue, of bytes that had been read already

Session = Callable[["WebSocket"], Awaitable[None]]


class WebSocket(Tunnel):
    """One side of an open WebSocket. `code` and `reason` tell how it was closed."""

    __slots__ = ("_blocked", "_client", "_closing", "_due", "_lost", "_paused", "_pinged",
                 "_pulse", "_queue", "_queued", "_reader", "_session", "_settings", "_waiters",
                 "code", "reason", "request", "subprotocol")  # fmt: skip

    def __init__(
        self,
        session: Session | None,
        settings: SocketSettings | None = None,
        *,
        request: Request | None = None,
        subprotocol: str = "",
        clock: Clock = FINE,
    ) -> None:
        super().__init__()
        self.sending = True  # until it has said goodbye
        self.request = request
        self.subprotocol = subprotocol
        self.code = 0
        self.reason = ""
        self._session = session
        self._client = session is None
        self._settings = settings or SocketSettings()
        self._reader = FrameReader(self._settings.message_bytes, masked=not self._client)
        self._queue: deque[Message] = deque()
        self._queued = 0  # bytes, or characters, of these
        self._waiters: list[Future[None]] = []
        self._blocked = False
        self._pinged: bytes | None = None  # by a peer that does not read: the last one is answered
        self._paused = False
        self._due = False  # frames that were left are read in the next turn
        self._closing = False  # our close frame was sent
        self._lost = False
        self._pulse = Pulse(self, self._settings, clock)

    # What a session does

    async def receive(self) -> Message | None:
        """Return the next message, or None when the peer has closed."""
        while not self._queue:
            if (self.code or self._lost) and not self._reader.more:
                return None
            await self._wait()
        message = self._queue.popleft()
        self._queued -= len(message)
        if self._reader.more:
            self._later()
        elif self._paused:
            self._resume()
        return message

    async def send(self, message: Message) -> None:
        """Send a message; wait while the peer reads slowly.

        Raises Fault when the socket is closed: the message was not sent.
        """
        if self._closing or self._lost:
            raise Fault(
                Code.UNAVAILABLE,
                f"the WebSocket is closed ({self.code} {self.reason})",
                effect=Effect.NONE,
            )
        if isinstance(message, str):
            self._write(TEXT, message.encode("utf-8"))
        else:
            self._write(BINARY, message)
        while self._blocked and not self._lost:
            await self._wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait a moment for the peer to do so."""
        self._say_close(code, reason)
        while not self._reader.closed and not self._lost:
            await self._wait()
        self._hang_up()

    def frames(
        self,
        call: Callable[[Message], Call[Message]],
        reply: Reply | None = None,
    ) -> FrameSource:
        """Return the messages as a source: `call` makes the call of each, `reply` its answer."""
        return FrameSource(self, call, reply or reply_with)

    # What the connection does

    def attach(self, transport: Corked, call_off: Callable[[], None]) -> None:
        """Take the connection."""
        super().attach(transport, call_off)
        self._pulse.heard()

    async def run(self) -> None:
        """Run the session, and close when it has ended, whatever ended it."""
        assert self._session is not None  # noqa: S101 - only servers are run
        try:
            await self._session(self)
        except CancelledError:
            self._end(NEUTRAL)
            self._say_close(1001, "")
            raise
        except Exception as error:
            self._end(judge(error))
            self._say_close(1011, "")
            raise
        else:
            self._end(NEUTRAL if self._lost else GOOD)
            await self.close()
        finally:
            self._hang_up()

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        self._pulse.heard()
        self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            events = self._reader.feed(data)
        except SocketError as error:
            self.code, self.reason = error.code, error.reason
            self._say_close(error.code, error.reason)
            self._end(BAD if self._client else NEUTRAL)
            self._wake()
            return
        for event in events:
            if isinstance(event, Closing):
                self.sending = False
                self.code, self.reason = event
                self._say_close(1000 if event.code == 1005 else event.code, "")
            elif event.opcode == PING:
                self._pinged = bytes(event.data)  # type: ignore[arg-type]  # never text
                if not self._blocked:
                    self._pong()
            elif event.opcode != PONG and (not self._closing or self._reader.closed):
                self._queue.append(event.data)
                self._queued += len(event.data)
        if self._reader.more:
            self._pause()
            self._later()
        elif self._holds(1):
            self._pause()
        if events:
            self._wake()

    def _pause(self) -> None:
        if not self._paused and not self._lost:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        full = self._holds(2) and not self._closing
        if self._paused and not full and not self._lost and not self._reader.more:
            self._paused = False
            self._pulse.heard()  # of what it has said meanwhile, an answer may be the last
            self.transport.resume_reading()

    def _holds(self, part: int) -> bool:
        """Say whether the queue is full (1), or more than half of it is (2)."""
        settings = self._settings
        if part * self._queued > settings.queue_bytes:
            return True
        return part * len(self._queue) > settings.queue - (part == 1)

    def _later(self) -> None:
        """Have the frames that were left read in another turn.

        Read at once, for a session that takes one message after the other, they would keep it from
        ever waiting, and others from their turn until it had taken all.
        """
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read the frames that were left; a full queue waits to be taken first."""
        self._due = False
        if self._reader.more and len(self._queue) < self._settings.queue + READ_AHEAD:
            self._take(b"")
            self._resume()

    def eof_received(self) -> bool:
        """Take an end without a close for the loss that it is."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the peer has gone."""
        self._lost = True
        if not self.code:
            self.code, self.reason = 1006, "the connection was lost"
        if self._client:
            self._end(GOOD if self._reader.closed else BAD)
        self._pulse.unwatch()
        self._wake()
        if not self._reader.closed:
            self.call_off()
        elif not self._client:  # it said goodbye: the session has a moment to do the same
            self._pulse.goodbye()

    def pause_writing(self) -> None:
        """Take note that the peer reads slowly."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Take note that the peer has caught up."""
        self._blocked = False
        self._pong()
        self._wake()

    def drain(self) -> None:
        """Tell the peer to connect again, elsewhere (rule 29)."""
        self._say_close(1012, "the service restarts")

    def abandon(self) -> None:
        """End now."""
        self._end(NEUTRAL)
        self._hang_up()

    # Inside

    def _write(self, opcode: int, data: bytes) -> None:
        self.transport.write(encode(opcode, data, masked=self._client))

    def _pong(self) -> None:
        pinged, self._pinged = self._pinged, None
        if pinged is not None and not self._closing and not self._lost:
            self._write(PONG, pinged)

    def _say_close(self, code: int, reason: str) -> None:
        if self._closing or self._lost:
            return
        frame = encode_close(code, reason, masked=self._client)  # raises while nothing is changed
        self._closing = True
        if not self.code:
            self.code, self.reason = code, reason
        self.transport.write(frame)
        self._pulse.goodbye()
        self._resume()  # the peer's close stands behind what nobody will take now

    def _hang_up(self) -> None:
        self._pulse.unwatch()
        if not self._lost:
            self._lost = True
            if self._client:
                self.transport.close()
            elif self._paused:  # what still comes is read for nobody
                self.transport.resume_reading()
        self._wake()

    async def _wait(self) -> None:
        waiter: Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # What the pulse asks

    @property
    def unread(self) -> bool:
        """Whether the peer is there for all we know, and its messages wait for the session."""
        return self._paused and not gone(self.transport)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._write(PING, b"")

    def silent(self) -> None:
        """Give up on a peer that gives none."""
        self.code, self.reason = 1006, "no answer to a ping"
        self.transport.abort()

    def overdue(self) -> None:
        """End a goodbye that takes too long: the peer's, or our own session's."""
        if self._lost:
            self.call_off()
        else:
            self.transport.abort()
