"""Patience: how long a connection to an upstream waits, for whom, and what is said then.

And what the taker of an answer's body asks of the connection that brings it: to wait in turn.
"""

import asyncio
from asyncio import Future
from math import inf
from typing import TYPE_CHECKING

from switchgear.core.clock import Clock
from switchgear.core.drivers import Wait
from switchgear.core.sweep import Sweep
from switchgear.http.bodies import Counted, Decoder
from switchgear.http.corked import Corked
from switchgear.http.message import Response
from switchgear.http.stream import Stream
from switchgear.http.watch import LOOKS, Watching, untaken

if TYPE_CHECKING:
    from switchgear.http.pool import Pool

__all__ = ["Patience", "Waiter"]

Waiter = Future[Response] | Wait
"""Who waits for an answer: a task, or a stepped coroutine."""


class Patience(Watching):
    """The deadlines of one connection: of an answer's head, of its body, of a request, and idle.

    The head is bounded by the call's deadline, a body and a request by their progress, and what is
    idle by its time and that of the connection. It is the feeder of the body that it brings, and
    its tap.
    """

    __slots__ = ("_decoder", "_head_by", "_loop", "_moved", "_paused", "_stream", "_stuck_since",
                 "_untaken", "_waiter", "blocked", "ends_at", "idle_since", "lost", "pool",
                 "transport", "why")  # fmt: skip

    transport: Corked

    def __init__(self, pool: "Pool") -> None:
        super().__init__()
        self.pool = pool
        self._loop = asyncio.get_running_loop()
        self.why = ""  # it ended, as soon as it has
        self.lost = False
        self.blocked = False
        self.idle_since = 0.0
        self.ends_at = pool.clock() + pool.lifetime()
        self._waiter: Waiter | None = None  # who waits for the head
        self._stream: Stream | None = None  # the body that is on its way
        self._decoder: Decoder | None = None  # what reads it
        self._paused = False  # its reading
        self._head_by = inf
        self._moved = 0.0  # when the body last made progress
        self._stuck_since = inf  # when the upstream, having more to read than it took, last read
        self._untaken = 0  # bytes of it, when that was last looked at

    def fail(self, error: BaseException, why: str = "left") -> None:
        """End the exchange in progress by an error, and the connection with it."""
        raise NotImplementedError

    def quit(self, why: str) -> None:
        """Close an idle connection, for a reason to be counted by."""
        if self.transport.is_closing():  # for long, and its upstream takes nothing of the rest
            self.transport.abort()
        self._close(why)

    def _close(self, why: str) -> None:
        """Close after what was written; it is the pool's no longer."""
        raise NotImplementedError

    def _abort(self, why: str) -> None:
        """Drop the connection."""
        raise NotImplementedError

    def _done(self) -> None:
        """Give the connection back: its answer is complete."""
        raise NotImplementedError

    def rest(self, now: float) -> None:
        """Be idle in the pool from `now` on."""
        self.idle_since = now
        self.watch(now + self.pool.settings.idle_timeout)

    def stuck(self) -> None:
        """Take note that the upstream takes no more of a request for now."""
        self.blocked = True
        self._stuck_since = now = self.pool.clock()
        self._untaken = untaken(self.transport)
        self.watch(now + self.pool.settings.write_timeout / LOOKS)

    def clockwork(self) -> tuple[Clock, Sweep]:
        """Return the pool's clock and sweep."""
        return self.pool.clock, self.pool.sweep

    def look(self, now: float) -> float | None:
        """Enforce what is due at `now`; return when to look again, or None when it is over."""
        if self._waiter is not None:
            due, what = self._head_or_request(now)
        elif self._stream is not None:
            due, what = self._body(now, self._stream)
        else:
            due = min(self.idle_since + self.pool.settings.idle_timeout, self.ends_at)
            if now < due:
                return due
            self.quit("idle" if now < self.ends_at else "lifetime")
            return None
        if now < due:
            return min(due, now + self.pool.settings.write_timeout / LOOKS) if self.blocked else due
        self.fail(self.pool.fault(what) if what else self.pool.overdue(), "overdue")
        return None

    def _head_or_request(self, now: float) -> tuple[float, str]:
        """Return when what is awaited is due, and what to say then (nothing: the deadline)."""
        if self.blocked:
            within = self.pool.settings.write_timeout
            left = untaken(self.transport)
            if left < self._untaken:
                self._stuck_since = now
            self._untaken = left
            if self._stuck_since + within < self._head_by:
                return self._stuck_since + within, f"it read nothing of the request for {within} s"
        return self._head_by, ""

    def _body(self, now: float, stream: Stream) -> tuple[float, str]:
        within = self.pool.settings.body_timeout
        if stream.idle:  # it is not the upstream whom we wait for
            self._moved = now
        return self._moved + within, f"the body hung for {within} s"

    @property
    def _behind(self) -> bool:
        """Whether some of the body was left to be read in another turn."""
        return self._decoder is not None and self._decoder.more

    # What the stream of an answer asks of its feeder

    def pause(self) -> None:
        """Stop reading: the body's taker is behind."""
        if not self._paused and not self.lost:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._moved = self.pool.clock()
        if self._paused and not self.lost:
            self._paused = False
            if not self._behind:
                self.transport.resume_reading()

    def wanted(self) -> None:
        """Take note that the body is waited for from now on."""
        self._moved = self.pool.clock()

    def abandoned(self) -> None:
        """Drop the connection: the rest of the body is not worth reading."""
        self._decoder = self._stream = None
        self._abort("left")

    def tap(self) -> tuple[int, int] | None:
        """Have the rest of a counted body taken past us."""
        reader = self._decoder
        if not isinstance(reader, Counted) or self._paused or self.lost:
            return None
        descriptor = self.transport.outlet()
        if descriptor < 0:
            return None
        self.pause()
        self.transport.sip(self, self._loop)
        return descriptor, reader.left

    def took(self, size: int) -> None:
        """Take note of bytes of the body that were taken past us."""
        reader, stream = self._decoder, self._stream
        assert isinstance(reader, Counted)  # noqa: S101 - it was tapped
        assert stream is not None  # noqa: S101 - as above
        self._moved = self.pool.clock()
        reader.left -= size
        if not reader.left:
            self._decoder = self._stream = None
            self._done()
            stream.finish()

    @property
    def sips(self) -> bool:
        """Whether a head comes next."""
        return self._decoder is None
