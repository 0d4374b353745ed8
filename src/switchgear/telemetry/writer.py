"""The log's way out: lines gathered by the loop, written in batches by a thread of its own.

The loop only appends. The thread sleeps while there is nothing to write, lets a batch gather for
50 ms or 256 KiB, and may block on a slow pipe for as long as it likes: what is held is bounded,
and what does not fit is counted, not waited for. A thread, because the shell that started us
shares our file description: making that non-blocking would make it so for the shell.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from select import select
from typing import IO, Any, Final, Protocol

__all__ = ["DescriptorSink", "LogWriter", "RotatingFile", "Sink"]

_PIPE_ATOMIC: Final = 4096  # PIPE_BUF: what several writers of one pipe may write unmixed
_GATHER: Final = 0.05
_BATCH_BYTES: Final = 256 * 1024  # of less, waking up costs as much as writing


class Sink(Protocol):
    """Where batches of whole lines go. It may block; it raises OSError when it cannot go on."""

    def write(self, lines: list[bytes]) -> None: ...


class DescriptorSink:
    """Write to a descriptor that other processes may be writing to as well."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._torn = False  # a full disk took a part of a line: the next must not be its rest

    def write(self, lines: list[bytes]) -> None:
        """Write every line, on a pipe in pieces that do not mix with other writers' lines."""
        for piece in _pieces(lines, _PIPE_ATOMIC if self._pipe else _BATCH_BYTES):
            self._write(piece)

    def _write(self, piece: bytes) -> None:
        whole = b"\n" + piece if self._torn else piece
        done = 0
        try:
            while done < len(whole):
                try:
                    done += os.write(self._descriptor, memoryview(whole)[done:])
                except BlockingIOError:  # somebody else made the description non-blocking
                    select((), (self._descriptor,), ())
        finally:
            if done:
                self._torn = bytes(whole[done - 1 : done]) != b"\n"


class RotatingFile:
    """Append to a file of our own, keeping it and one predecessor (`.1`) below a size each.

    Where somebody has moved, removed or emptied it, as logrotate does, the next lines are in a
    file at its path all the same.

    Raises OSError also for a link in its place: root's log is in a folder of the account that its
    roles run as, and would be written to whatever that has chosen.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most = most_bytes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file, self._size = self._opened()

    def write(self, lines: list[bytes]) -> None:
        """Append every line, turning the page first when the file is full."""
        self._follow()
        for piece in _pieces(lines, _BATCH_BYTES):
            if self._size and self._size + len(piece) > self._most:
                self._turn()
            self._append(piece)

    def _append(self, piece: bytes) -> None:
        """Append a piece; of what a full disk does not take whole, the lines that are."""
        done = 0
        try:
            while done < len(piece):
                done += self._file.write(memoryview(piece)[done:])
        except OSError:
            done = piece.rfind(b"\n", 0, done) + 1
            with suppress(OSError):
                self._file.truncate(self._size + done)
            raise
        finally:
            self._size += done

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _follow(self) -> None:
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            self._go_on()
            return
        ours = os.fstat(self._file.fileno())
        if os.path.samestat(found, ours):
            self._size = ours.st_size
        elif stat.S_ISREG(found.st_mode):
            self._go_on()
        else:
            self._turn()

    def _turn(self) -> None:
        """Go on in a new file. Where none can be opened now, the next write tries again."""
        with suppress(FileNotFoundError):  # it was set aside the last time, or by somebody else
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._go_on()

    def _go_on(self) -> None:
        fresh = self._opened()
        self.close()
        self._file, self._size = fresh

    def _opened(self) -> tuple[IO[bytes], int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # nor is a FIFO waited for
        file = open(os.open(self._path, flags, 0o666), "ab", buffering=0)  # noqa: SIM115 - kept
        return file, file.tell()


class LogWriter:
    """Take encoded lines from any thread and hand them to a sink, in batches and in order.

    `written` and `dropped` count lines. A batch whose write fails counts as dropped, and `failure`
    says why: a log that cannot be written is no reason to stop serving. The next batch is tried: a
    full disk may get room again, and a named pipe another reader. Only a descriptor that is closed
    is used no more, for its number is anybody's next.
    """

    def __init__(self, sink: Sink, *, bound_bytes: int = 8 * 1024 * 1024) -> None:
        self.written = 0
        self.dropped = 0
        self.failure: OSError | None = None
        self._dead = False
        self._sink = sink
        self._bound = bound_bytes
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self._lines: list[bytes] = []
        self._held = 0  # bytes that no write has finished with
        self._gathered = 0  # bytes of `_lines`
        self._lock = threading.Lock()
        self._acquire: Callable[[], Any] = self._lock.acquire
        self._release: Callable[[], Any] = self._lock.release
        self._some = threading.Event()
        self._hurry = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closing = False
        self._writing = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._writing.start()

    def put(self, line: bytes) -> bool:
        """Take one line, without its newline; False when it had to be dropped."""
        size = len(line) + 1
        # As `with` would: it looks both of them up, in every request.
        self._acquire()
        try:
            if self._held + size > self._bound or self._closing or self._dead:
                self.dropped += 1
                return False
            if not self._lines:
                self._idle.clear()
                self._some.set()
                self._gathered = 0
            self._lines.append(line)
            self._held += size
            self._gathered += size
            if self._gathered >= _BATCH_BYTES > self._gathered - size:
                self._hurry.set()
        finally:
            self._release()
        return True

    def trouble(self) -> str:
        """Say what kept the last batch from being written; nothing where it was."""
        failure = self.failure
        return "" if failure is None else f"cannot be written: {failure.strerror or failure}"

    def flush(self, timeout: float) -> bool:
        """Wait until all that was put is written; False when `timeout` ran out first."""
        self._hurry.set()
        return self._idle.wait(timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is held, for at most `timeout`, and end. The rest counts as dropped."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._hurry.set()
        self._some.set()
        self._writing.join(timeout)
        with self._lock:
            self.dropped += len(self._lines)
            self._lines = []
        _open.discard(self)

    def _run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Write one batch; False says that it was the last one."""
        self._some.wait()
        if not self._closing:
            self._hurry.wait(_GATHER)
        with self._lock:
            self._some.clear()
            self._hurry.clear()
            lines, self._lines = self._lines, []
        if lines:
            self._write(lines)
        with self._lock:
            if self._lines:
                self._some.set()
                return True
            self._idle.set()
            return not self._closing

    def _write(self, lines: list[bytes]) -> None:
        failure = None
        try:
            self._sink.write(lines)
        except OSError as error:
            failure = error
        with self._lock:
            self._held -= sum(map(len, lines)) + len(lines)
            self.failure = failure
            if failure is None:
                self.written += len(lines)
                return
            self.dropped += len(lines)
            self._dead = failure.errno == errno.EBADF


# Those whose thread runs. A forked child has our memory but not our threads, and perhaps a lock
# that one of them holds.
_open: Final[set[LogWriter]] = set()


def _revive() -> None:
    for writer in list(_open):
        writer._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_revive)


def _pieces(lines: list[bytes], most_bytes: int) -> Iterator[bytes]:
    """Join whole lines into pieces of at most `most_bytes`; a longer line is a piece alone."""
    start = size = 0
    for index, line in enumerate(lines):
        if size and size + len(line) + 1 > most_bytes:
            yield b"\n".join(lines[start:index]) + b"\n"
            start, size = index, 0
        size += len(line) + 1
    yield b"\n".join(lines[start:]) + b"\n"
