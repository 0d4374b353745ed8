"""Bodies: read whole or in pieces, once, and ended with the truth."""

from collections.abc import AsyncIterator, Callable, MutableSequence
from typing import Final

from switchgear.core.confining import confined
from switchgear.core.drivers import working
from switchgear.http.refusals import refuse
from switchgear.policy.fault import Fault
from switchgear.policy.verdict import GOOD, NEUTRAL, Verdict, judge

__all__ = ["EMPTY", "Body", "Produced", "Whole", "gather", "too_large"]

_SMALL: Final = 1024  # bytes


def gather(pieces: MutableSequence[bytes], data: bytes) -> None:
    """Keep one more piece, together with the last where both are small.

    As objects of their own, small ones would outweigh their bytes.
    """
    if pieces and len(pieces[-1]) < _SMALL and len(data) < _SMALL:
        pieces[-1] += data
    else:
        pieces.append(data)


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
            gather(parts, part)
            size += len(part)
            if limit is not None and size > limit:
                self.abandon()
                raise too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self)

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


class _Pieces:
    """A body's pieces, for `async for`."""

    __slots__ = ("_body",)

    def __init__(self, body: Body) -> None:
        self._body = body

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        part = await self._body.chunk()
        if not part:
            raise StopAsyncIteration
        return part


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


class Produced(Body):
    """A body that an async iterator of a handler's makes."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncIterator[bytes], length: int | None = None) -> None:
        super().__init__(length)
        self._chunks = chunks

    async def chunk(self) -> bytes:
        """Return the next piece; an exception of the iterator's is BAD, and passed on.

        What is no ordinary one is passed on as a defect: else nobody would cut the answer.
        """
        if self.verdict is not None:
            return b""
        driver = working()
        try:
            data = b""
            while not data:  # an empty piece must not look like the end
                data = await anext(self._chunks)
                if not isinstance(data, (bytes, bytearray, memoryview)):
                    raise _not_bytes(data)
        except StopAsyncIteration:
            self._end(GOOD)
            return b""
        except BaseException as error:
            defect = confined(error, driver)
            self._end(judge(defect or error))
            if defect is None:
                raise
            raise defect from error
        return data

    async def close(self) -> None:
        """Let the iterator clean up when it was not taken to its end."""
        self._end(NEUTRAL)
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


def _not_bytes(data: object) -> TypeError:
    return TypeError(
        f"a streamed body is made of bytes, and its iterator gave a {type(data).__name__}"
    )


def too_large(limit: int) -> Fault:
    """Make the fault for a body that is larger than `limit` bytes."""
    fault = refuse("body-too-large", f"the body is larger than {limit} bytes", status=413)
    fault.public = f"The body is larger than {limit} bytes."
    return fault
