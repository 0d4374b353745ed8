"""Streams: a body between the connection that feeds it and whoever takes it.

```
connection --feed--> Stream --read, iterate--> handler
    ^                  | +----write----------> sink (another connection), waking nobody
    +--- pause/resume -+
```

What nobody has taken is bounded: over the bound the feeder is paused, and the peer feels it.
"""

from asyncio import Future, get_running_loop
from collections import deque
from typing import Final, Protocol

from switchgear.http.body import EMPTY, Body, Produced, Whole, gather, too_large
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import GOOD, NEUTRAL, judge

__all__ = ["EMPTY", "Body", "Feeder", "Produced", "Sink", "Stream", "Tap", "Whole", "too_large"]


_MANY: Final = 64  # pieces that wait, from which on small ones are put together


class Feeder(Protocol):
    """The connection that a stream comes from."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def wanted(self) -> None:
        """Somebody waits for the body now."""
        ...

    def abandoned(self) -> None:
        """Nobody will take the rest."""
        ...


class Tap(Protocol):
    """Where the rest of a body can be taken past us."""

    def tap(self) -> tuple[int, int] | None:
        """Read no more.

        Return a descriptor, which is the taker's to close, and how many bytes are still to come by
        it; or None where they must be read.
        """
        ...

    def took(self, size: int) -> None:
        """Be told that so many bytes were taken by the descriptor."""
        ...


class Sink(Protocol):
    """Where a piped stream goes."""

    def write(self, data: bytes) -> None: ...
    def end(self, error: Exception | None) -> None:
        """Be told once that all was written, or that the rest will never come."""
        ...


class Stream(Body):
    """A body on its way from a connection."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_error",
        "_feeder",
        "_held",
        "_high",
        "_paused",
        "_sink",
        "_size",
        "_tap",
        "_waiter",
        "tail",
        "trailers",
    )  # fmt: skip

    def __init__(
        self, feeder: Feeder, length: int | None, high: int, tap: Tap | None = None
    ) -> None:
        super().__init__(length)
        self._feeder = feeder
        self._tap = tap
        self._high = high
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        self._error: Exception | None = None
        self._waiter: Future[None] | None = None
        self._sink: Sink | None = None
        self._paused = False
        self._held = False
        self.trailers: list[tuple[str, str]] = []  # that came behind it
        self.tail = b""  # lines to send behind it, where chunks frame it

    # What the connection does

    def feed(self, data: bytes) -> None:
        """Bring some of it."""
        if self._sink is not None and not self._held:
            self._sink.write(data)
            return
        if len(self._chunks) < _MANY:
            self._chunks.append(data)
        else:
            gather(self._chunks, data)
        self._size += len(data)
        if self._waiter is not None:
            self._wake()
        elif self._size > self._high and not self._paused:
            self._paused = True
            self._feeder.pause()

    def finish(self) -> None:
        """Say that all of it was brought."""
        self._complete = True
        self._end(GOOD)
        self._wake()
        self._flush()

    def fail(self, error: Exception) -> None:
        """Cut it: what was not taken yet is lost, and the taker gets the error."""
        if self._complete or self._error is not None:
            return
        self._error = error
        self._chunks.clear()
        self._size = 0
        self._end(judge(error))
        self._wake()
        self._flush()

    def cut(self, error: Exception) -> None:
        """Cut it for a reason of our own: as `fail` does, and the feeder is told."""
        if self.open:
            self.fail(error)
            self._feeder.abandoned()

    @property
    def idle(self) -> bool:
        """Whether it is not the sender whom we wait for."""
        return self._paused or self._held or self._size > 0

    @property
    def paused(self) -> bool:
        """Whether its feeder was asked to pause."""
        return self._paused

    @property
    def open(self) -> bool:
        """Whether more is to come."""
        return not self._complete and self._error is None

    # What the taker does

    async def chunk(self) -> bytes:
        """Return the next piece, or nothing at the end. Raises Fault when it was cut."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            self._waiter = get_running_loop().create_future()
            self._feeder.wanted()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft()
        self._size -= len(data)
        self._relax()
        return data

    def pipe(self, sink: Sink) -> None:
        """Write all of it to `sink` as it comes, and tell it the end."""
        self._sink = sink
        if self.open:
            self._feeder.wanted()
        self._flush()

    def tap(self) -> tuple[int, int] | None:
        """Have what is still to come taken past us: see `Tap.tap`."""
        if self._tap is None or self._chunks or not self.open:
            return None
        return self._tap.tap()

    def took(self, size: int) -> None:
        """Take note of bytes that were taken past us."""
        if self._tap is not None:
            self._tap.took(size)

    def untap(self, sink: Sink) -> None:
        """Write what is still to come to `sink`, as before."""
        if not self._paused:  # else `_relax` does
            self._feeder.resume()
        self.pipe(sink)

    def waits(self, waits: bool) -> None:
        """Say whether it is the taker whom what is taken past us waits for."""
        self._held = waits
        if not waits and self.open:
            self._feeder.wanted()

    def hold(self) -> None:
        """Write no more to the sink for now: it is slow."""
        self._held = True
        if not self._paused and self.open:
            self._paused = True
            self._feeder.pause()

    def release(self) -> None:
        """Go on writing to the sink."""
        self._held = False
        self._flush()

    def abandon(self) -> None:
        """Take no more of it: the feeder is told."""
        if self.open:
            self._error = Fault(Code.CANCELLED, "the body was abandoned")
            self._chunks.clear()
            self._size = 0
            self._end(NEUTRAL)
            self._feeder.abandoned()
        self._sink = None

    def _flush(self) -> None:
        sink = self._sink
        if sink is None:
            return
        while self._chunks and not self._held:
            data = self._chunks.popleft()
            self._size -= len(data)
            sink.write(data)  # may hold us
        if not self._held:
            self._relax()
        if self._sink is not None and not self._chunks and not self.open:
            self._sink = None
            sink.end(self._error)

    def _relax(self) -> None:
        if self._paused and self._size * 4 <= self._high:
            self._paused = False
            if self.open:  # else it feeds somebody else by now
                self._feeder.resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
