"""Outgoing bodies: a request's body on its way to an upstream.

A `Stream` is piped and wakes nobody; what a handler's iterator makes is sent by a task, beside
whoever waits for the answer, because an upstream may answer before it has read everything.
"""

import asyncio
from asyncio import Future
from typing import TYPE_CHECKING, Final

from switchgear.http.bodies import MANY, TINY, chunk
from switchgear.http.heads import CHUNKED
from switchgear.http.status import sized
from switchgear.http.stream import Body, Stream

if TYPE_CHECKING:
    from switchgear.http.client import Upstream

__all__ = ["Outgoing", "framed"]

_GATHERED: Final = 0.01  # seconds that tiny pieces wait for one another


class Outgoing:
    """The body of the request that an `Upstream` sends. It is the sink of a piped stream."""

    __slots__ = ("_alarm", "_body", "_count", "_drained", "_held", "_left", "_pump",
                 "_upstream")  # fmt: skip

    def __init__(self, upstream: "Upstream", body: Body) -> None:
        self._upstream = upstream
        self._body: Body | None = body
        self._left = CHUNKED if body.length is None else body.length
        self._count = 0  # chunks that were sent
        self._held = b""  # too little for a chunk of its own, once there were many
        self._alarm: asyncio.TimerHandle | None = None  # when it goes all the same
        self._pump: asyncio.Task[None] | None = None
        self._drained: Future[None] | None = None

    def start(self, head: bytes) -> None:
        """Send the head with its framing, and then the body as it comes."""
        upstream, body = self._upstream, self._body
        assert body is not None  # noqa: S101 - it has just been given
        if self._left == CHUNKED:
            upstream.transport.write(head + b"transfer-encoding: chunked\r\n\r\n")
        else:
            upstream.transport.write(head + sized(self._left))
        if isinstance(body, Stream):
            if upstream.blocked:
                body.hold()
            body.pipe(self)
        else:
            # In the Context of the caller, whose iterator it is.
            self._pump = asyncio.get_running_loop().create_task(self._produce(body))

    async def _produce(self, body: Body) -> None:
        try:
            while data := await body.chunk():
                self.write(data)
                if self._upstream.blocked and self._body is not None:
                    self._drained = asyncio.get_running_loop().create_future()
                    await self._drained
        except Exception as error:  # noqa: BLE001 - the caller who waits for the answer gets it
            self.end(error)
        else:
            self.end(None)

    def write(self, data: bytes) -> None:
        """Send one piece."""
        if self._body is None:
            return
        if self._left == CHUNKED:
            if self._count * 2 >= MANY:  # who reads them counts tiny ones, as we do
                self._held += data
                if len(self._held) >= 4 * TINY:
                    self._flush()
                elif self._alarm is None:
                    self._alarm = asyncio.get_running_loop().call_later(_GATHERED, self._flush)
                return
            self._count += 1
            data = chunk(data)
        elif len(data) > self._left:
            self._upstream.fail(ValueError("the body is longer than it was announced"))
            return
        else:
            self._left -= len(data)
        self._upstream.transport.write(data)

    def _flush(self) -> None:
        """Send what was held as one chunk."""
        held, self._held = self._held, b""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if held:
            self._count += 1
            self._upstream.transport.write(chunk(held))

    def end(self, error: Exception | None) -> None:
        """Take the end of the body: a cut one cuts the request."""
        if self._body is None:
            return
        if error is not None:
            self._upstream.fail(error)
        elif self._left > 0:
            self._upstream.fail(ValueError("the body is shorter than it was announced"))
        else:
            self._body = None
            if self._left == CHUNKED:
                self._flush()
                self._upstream.transport.write(b"0\r\n\r\n")
            self._upstream.sent()

    def hold(self) -> None:
        """Be told that the upstream reads slowly."""
        if isinstance(self._body, Stream):
            self._body.hold()

    def release(self) -> None:
        """Be told that the upstream has caught up."""
        if isinstance(self._body, Stream):
            self._body.release()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def drop(self) -> None:
        """Send no more of it: its source is told."""
        body, self._body, self._held = self._body, None, b""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._pump is not None:
            self._pump.cancel()
        if body is not None:
            body.abandon()


def framed(head: bytes, method: str, body: bytes) -> bytes:
    """Return a request whose body is whole, with its framing."""
    if body or method in ("POST", "PUT", "PATCH"):
        return head + sized(len(body)) + body
    return head + b"\r\n"
