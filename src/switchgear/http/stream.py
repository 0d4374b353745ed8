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
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from switchgear.http.refusals import refuse
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import GOOD, NEUTRAL, Verdict, judge

__all__ = ["EMPTY", "Body", "Feeder", "Produced", "Sink", "Stream", "Whole"]


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


class Sink(Protocol):
    """Where a piped stream goes."""

    def write(self, data: bytes) -> None: ...
    def end(self, error: Exception | None) -> None:
        """Be told once that all was written, or that the rest will never come."""
        ...


class Body:
    """A body: read whole or in pieces, once. Its end is told to all who asked by `on_end`."""

    __slots__ = ("_done", "length", "verdict")

    def __init__(self, length: int | None) -> None:
        self.length = length  # where it is known beforehand
        self.verdict: Verdict | None = None
        self._done: list[Callable[[Verdict], None]] = []

    async def chunk(self) -> bytes:
        """Return the next piece, or nothing at the end. Raises Fault when it was cut."""
        raise NotImplementedError

    async def read(self, limit: int | None = None) -> bytes:
        """Return all of it, at most `limit` bytes.

        Raises Fault (413) when there is more, and the fault that cut it where it was cut.
        """
        if limit is not None and self.length is not None and self.length > limit:
            self.abandon()
            raise too_large(limit)
        parts: list[bytes] = []
        size = 0
        while part := await self.chunk():
            parts.append(part)
            size += len(part)
            if limit is not None and size > limit:
                self.abandon()
                raise too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while part := await self.chunk():
            yield part

    def on_end(self, done: Callable[[Verdict], None]) -> None:
        """Call `done` with the verdict when the body ends; at once if it has."""
        if self.verdict is None:
            self._done.append(done)
        else:
            done(self.verdict)

    def abandon(self) -> None:
        """Take no more of it."""
        self._end(NEUTRAL)

    def _end(self, verdict: Verdict) -> None:
        if self.verdict is None:
            self.verdict = verdict
            told, self._done = self._done, []
            for done in told:
                done(verdict)


class Whole(Body):
    """A body that is all there."""

    __slots__ = ("_taken", "data")

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self.verdict = GOOD
        self.data = data
        self._taken = False

    async def chunk(self) -> bytes:
        """Return it, then nothing."""
        if self._taken:
            return b""
        self._taken = True
        return self.data

    async def read(self, limit: int | None = None) -> bytes:
        """Return it, however often it is asked for. Raises Fault (413) beyond `limit`."""
        if limit is not None and len(self.data) > limit:
            raise too_large(limit)
        self._taken = True
        return self.data

    def abandon(self) -> None:
        """Do nothing: it has ended."""


EMPTY: Final = Whole(b"")


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
        "_waiter",
        "trailers",
    )  # fmt: skip

    def __init__(self, feeder: Feeder, length: int | None, high: int) -> None:
        super().__init__(length)
        self._feeder = feeder
        self._high = high
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        self._error: Exception | None = None
        self._waiter: Future[None] | None = None
        self._sink: Sink | None = None
        self._paused = False
        self._held = False
        self.trailers: list[tuple[str, str]] = []

    # What the connection does

    def feed(self, data: bytes) -> None:
        """Bring some of it."""
        if self._sink is not None and not self._held:
            self._sink.write(data)
            return
        self._chunks.append(data)
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
        self._feeder.wanted()
        self._flush()

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
            self._feeder.resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Produced(Body):
    """A body that an async iterator of a handler's makes."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncIterator[bytes], length: int | None = None) -> None:
        super().__init__(length)
        self._chunks = chunks

    async def chunk(self) -> bytes:
        """Return the next piece; an exception of the iterator's is BAD, and passed on."""
        if self.verdict is not None:
            return b""
        try:
            while not (data := await anext(self._chunks)):
                pass  # an empty piece must not look like the end
        except StopAsyncIteration:
            self._end(GOOD)
            return b""
        except BaseException as error:
            self._end(judge(error))
            raise
        return data

    async def close(self) -> None:
        """Let the iterator clean up when it was not taken to its end."""
        self._end(NEUTRAL)
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


def too_large(limit: int) -> Fault:
    """Make the fault for a body that is larger than `limit` bytes."""
    return refuse("body-too-large", f"the body is larger than {limit} bytes", status=413)
