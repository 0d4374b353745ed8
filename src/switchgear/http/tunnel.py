"""Tunnels: what speaks on a connection after an upgrade.

A `Tunnel` is the body of an `Upgrade`: the server writes the 101, attaches the client's
transport, passes it every byte, and awaits `run`. A `Relay` joins that connection to an
upstream's, byte for byte, each side held back by the other's slowness.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable
from typing import Final

from switchgear.http.corked import Corked
from switchgear.http.course import Course
from switchgear.http.frames import encode_close
from switchgear.http.spoken import speak
from switchgear.http.stream import Body
from switchgear.http.watch import gone
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict

__all__ = ["Relay", "Tunnel"]

_LEAVE: Final = encode_close(1012, "connect again", masked=False)
_IDLE: Final = encode_close(1001, "nothing was said", masked=False)
_UNWELCOME: Final = encode_close(1008, "sign in again", masked=False)
_LOOKS: Final = 15  # at a session, until it has been idle for too long
_FLUSH: Final = 5.0  # seconds for an upstream to take what was written to it before the end


class Tunnel(Body):
    """The owner of an upgraded connection. Whether its work is called off is its own affair."""

    __slots__ = ("call_off", "sending", "transport")

    transport: Corked
    call_off: Callable[[], None]

    def __init__(self) -> None:
        super().__init__(None)
        self.sending = False  # whether the client may go on sending when it has ended

    def attach(self, transport: Corked, call_off: Callable[[], None]) -> None:
        """Take the connection; `call_off` cancels whoever runs the tunnel."""
        self.transport = transport
        self.call_off = call_off

    async def run(self) -> None:
        """Speak until the tunnel has ended."""
        raise NotImplementedError

    def drain(self) -> None:
        """Be told that the process is on its way out."""

    def look(self, now: float, idle: float) -> float:
        """End what nothing has passed through for `idle` seconds; return when to look again."""
        return now + idle

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""

    def eof_received(self) -> bool:
        """Take the end of what the client sends."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""

    def pause_writing(self) -> None:
        """Hold back: the client is slow."""

    def resume_writing(self) -> None:
        """Go on."""


class Relay(Tunnel):
    """A tunnel through to an upstream, which has switched protocols already."""

    __slots__ = ("_far", "_leaving", "_moved", "_near", "_over", "_since", "_taken")

    def __init__(self, upstream: Corked, early: bytes) -> None:
        super().__init__()
        self.sending = True  # until the client has ended, or said goodbye
        self._over: Future[None] = asyncio.get_running_loop().create_future()
        self._taken = False
        self._leaving = False
        self._moved = True  # since the last look
        self._since = 0.0
        self._near: Course | None = None  # what the client sends, once it is joined
        self._far = _Far(self, upstream, early)
        speak(upstream, self._far)

    @property
    def over(self) -> bool:
        """Whether either side has ended."""
        return self._over.done()

    def take(self) -> tuple[Corked, bytes]:
        """Give up the upstream's connection to who speaks on it now, with what it has sent."""
        self._taken = True
        self._far.course.leave()
        return self._far.upstream, self._far.early

    def attach(self, transport: Corked, call_off: Callable[[], None]) -> None:
        """Join the client's connection to the upstream's."""
        super().attach(transport, call_off)
        self._near = Course(transport, _nothing, held=False)
        if self._far.early:
            transport.write(self._far.early)
            self._far.early = b""
        if not self._over.done():
            self._far.course.let_go()

    async def run(self) -> None:
        """Wait until either side has ended, and end the other."""
        try:
            await self._over
        finally:
            self.close(NEUTRAL)

    def drain(self) -> None:
        """Tell the client to connect again elsewhere, as soon as no frame is under way to it."""
        self._leaving = True
        self.passed()

    def revoke(self) -> None:
        """End both sides at once: the client may not go on. It is told so between two frames."""
        if self._near is not None and self._far.course.here and not self._over.done():
            self.transport.write(_UNWELCOME)
        self.close(NEUTRAL)

    def passed(self) -> None:
        """Take leave, if that is due, between two frames."""
        self._moved = True
        if self._leaving and self._far.course.here and not self._over.done():
            self.transport.write(_LEAVE)
            self.close(NEUTRAL)

    def look(self, now: float, idle: float) -> float:
        """End what nothing has passed through for `idle` seconds; return when to look again.

        And what a client has left who was not read, for his leaving was not read either.
        """
        if self._near is not None and self._near.held and gone(self.transport):
            self.close(NEUTRAL)
        elif self._moved:
            self._moved, self._since = False, now
        elif now - self._since >= idle and not self._over.done():
            if self._far.course.here:
                self.transport.write(_IDLE)
            self.close(NEUTRAL)
        return now + idle / _LOOKS

    def close(self, verdict: Verdict) -> None:
        """End both sides after what was written.

        What the client still sends is read for nobody, whether the upstream has held it back or
        not: a connection that is closed with bytes unread is reset, and the last frame with it.
        """
        self._end(verdict)
        near = self._near
        if near is not None and near.closed:  # it waits for our end, which TLS says after lingering
            self.sending = False
        if not self._over.done():
            self._over.set_result(None)
            if near is not None:
                near.end()
        if not self._taken:
            self._far.close()

    def abandon(self) -> None:
        """End the upstream's side: nobody came for it."""
        self.close(NEUTRAL)

    def data_received(self, data: bytes) -> None:
        """Pass bytes of the client on."""
        self._moved = True
        if not self._over.done():
            self._far.upstream.write(data)
            if self._near is not None:
                self._near.take(data)

    def eof_received(self) -> bool:
        """End when the client does."""
        self.sending = False
        self.close(NEUTRAL)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End when the client has gone."""
        self.sending = False
        self.close(NEUTRAL)

    def pause_writing(self) -> None:
        """Hold the upstream: the client is slow."""
        if not self._over.done():
            self._far.course.hold()

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        if not self._over.done():
            self._far.course.let_go()

    def reads(self, reads: bool) -> None:
        """Have the client read or not: the upstream is slow, or has caught up."""
        if self._near is not None and not self._over.done():
            self._near.let_go() if reads else self._near.hold()


class _Far:
    """The upstream's side of a relay."""

    __slots__ = ("course", "early", "relay", "upstream")

    def __init__(self, relay: Relay, upstream: Corked, early: bytes) -> None:
        self.relay = relay
        self.upstream = upstream
        self.early = early
        self.course = Course(upstream, relay.passed, held=True)  # until the client is joined
        self.course.take(early)

    def close(self) -> None:
        """Close after what was written, in bounded time."""
        upstream = self.upstream
        self.course.leave()
        if not upstream.is_closing():
            upstream.close()
            if upstream.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_FLUSH, upstream.abort)

    def data_received(self, data: bytes) -> None:
        near = getattr(self.relay, "transport", None)
        self.course.take(data)
        if near is None:
            self.early += data
        else:
            near.write(data)
            self.relay.passed()

    def eof_received(self) -> bool:
        self.relay.close(GOOD)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.close(GOOD if exc is None else BAD)

    def pause_writing(self) -> None:
        self.relay.reads(False)

    def resume_writing(self) -> None:
        self.relay.reads(True)


def _nothing() -> None:
    """Say nothing: no frame of ours waits for the end of one of the client's."""
