"""What a process prints: written by a thread, as its log is, so that nobody's reading can stop it.

`print` in a handler writes to a descriptor that somebody reads, or does not. Where the reader has
gone, every request that prints would fail; where it stands still, the print would wait for it, and
with it the loop and all other requests.
"""

import io
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

from switchgear.telemetry.writer import DescriptorSink, LogWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Flood", "Printed"]

_LONGEST: Final = 1 << 20  # bytes of a line; a longer one is cut
_LOOKS: Final = 60  # after which one that goes on is told of all the same


class Printed:
    """Stand in for standard output and error until `close`, also for those who hold on to them.

    What nobody reads is held for a while, and then dropped, as are lines of a log. A process that
    is forked off prints by itself, since it may end at once.
    """

    def __init__(self) -> None:
        self._before = sys.stdout, sys.stderr
        self._files: list[_Lines] = []
        sys.stdout, sys.stderr = map(self._taken, self._before)
        self._after = sys.stdout, sys.stderr
        os.register_at_fork(after_in_child=self._direct)

    @property
    def dropped(self) -> int:
        """How many lines nobody took."""
        return sum(lines.dropped for lines in self._files)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is held, for at most `timeout`, and print directly from then on."""
        for stream, before in zip(self._after, self._before, strict=True):
            if stream is not before:
                stream.flush()
        for lines in self._files:
            lines.end(timeout)
        if sys.stdout is self._after[0]:
            sys.stdout = self._before[0]
        if sys.stderr is self._after[1]:
            sys.stderr = self._before[1]

    def _taken(self, stream: TextIO) -> TextIO:
        """Return what stands in for a stream; itself where it is none of this process's own."""
        try:
            descriptor = stream.fileno()
        except (AttributeError, ValueError, OSError):  # closed at the start, or somebody's own
            return stream
        for one in self._files:  # of two that lead to one file the lines stay in order
            if os.path.sameopenfile(one.fileno(), descriptor):
                lines = one
                break
        else:
            lines = _Lines(descriptor)
            self._files.append(lines)
        raw = cast("BinaryIO", lines)  # all of it that writing takes
        return io.TextIOWrapper(
            raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True
        )

    def _direct(self) -> None:
        for lines in self._files:
            lines.fork()


class Flood:
    """Say how many lines were dropped, when no more are: once, and not with each of many looks."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped
        self._seen = self._told = self._looks = 0

    def over(self, *, last: bool = False) -> int:
        """Return what a flood has cost that is over since the last look; 0 where there is none.

        One that goes on is over with the `last` look, and with each sixtieth.
        """
        now = self._dropped()
        rises, self._seen = now > self._seen, now
        self._looks = self._looks + 1 if rises else 0
        if rises and not last and self._looks < _LOOKS:
            return 0
        lost, self._told, self._looks = now - self._told, now, 0
        return lost


class _Lines(io.RawIOBase):
    """Takes bytes, and hands on whole lines; it neither waits nor fails until it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = b""
        self._lock = threading.Lock()
        self._writer: LogWriter | None = None  # most processes never print
        self._over = False

    @property
    def dropped(self) -> int:
        return 0 if self._writer is None else self._writer.dropped

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        taken = bytes(data)
        with self._lock:
            if self._over:
                return _write_all(self._descriptor, taken)
            *lines, held = (self._held + taken).split(b"\n")
            if len(held) > _LONGEST:
                lines.append(held)
                held = b""
            self._held = held
            if lines and self._writer is None:
                self._writer = LogWriter(DescriptorSink(self._descriptor))
            if self._writer is not None:
                for line in lines:
                    self._writer.put(line)
        return len(taken)

    def end(self, timeout: float) -> None:
        """Write what is held, and be an ordinary descriptor from now on."""
        if self._held:
            self.write(b"\n")
        with self._lock:
            self._over = True
        if self._writer is not None:
            self._writer.close(timeout)

    def fork(self) -> None:
        """Be an ordinary descriptor: what is held is our parent's, and so is who holds the lock."""
        self._lock = threading.Lock()
        self._held = b""
        self._over = True


def _write_all(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)
