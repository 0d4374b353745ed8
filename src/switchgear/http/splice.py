"""Splices: the rest of a long body goes from one socket to another within the kernel.

```
upstream's socket --splice--> pipe --splice--> client's socket
```

Read and written, every byte is copied twice more, which is most of what a long body costs. Whatever
a splice cannot do or tell, it leaves to reading and writing, with all that it holds: an end that
comes too early, a socket that fails, a kernel that will not. Source: splice(2), pipe(7).
"""

import fcntl
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from switchgear.http.stream import Stream

if TYPE_CHECKING:
    from switchgear.http.connection import Connection
    from switchgear.http.flow import Flow

__all__ = ["PIPES", "Pipes", "Splice", "spliced"]

_splice: Final[Any] = getattr(os, "splice", None)  # Linux has it
_FLAGS: Final[int] = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_ROOM: Final = 1 << 20  # bytes of a pipe: the most that everybody may have
_AT_ONCE: Final = 1 << 20  # bytes that one body may move before others get a turn
_MOST: Final = 64  # pipes at once; those of a slow client are full, and the kernel's memory


class Pipes:
    """The pipes of a process, as far as there are any."""

    __slots__ = ("most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    def make(self) -> tuple[int, int]:
        """Return the end to read and the end to write of a new pipe.

        Raises OSError where there are too many, or the system gives none of that size.
        """
        if self.open >= self.most:
            raise OSError("there are enough pipes")
        out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if sys.platform == "linux":
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _ROOM)
        except OSError:
            os.close(out)
            os.close(into)
            raise
        self.open += 1
        return out, into

    def close(self, out: int, into: int) -> None:
        """Close one, whatever is in it."""
        self.open -= 1
        os.close(out)
        os.close(into)


PIPES: Final = Pipes(_MOST)


class Splice:
    """The rest of one body, from the socket of its feeder to that of a client.

    It is the sink of its stream till it is over, or left to `flow`, for which it stands in.
    """

    __slots__ = ("_body", "_connection", "_flow", "_held", "_into", "_least", "_left", "_out",
                 "_over", "_pending", "_reading", "_source", "_stopped", "_target",
                 "_writing")  # fmt: skip

    def __init__(
        self, body: Stream, flow: "Flow", connection: "Connection", target: int, least: int
    ) -> None:
        self._body = body
        self._flow = flow
        self._connection = connection
        self._target = target
        self._least = least
        self._source = -1
        self._left = 0  # bytes to come
        self._out = -1
        self._into = -1
        self._held = 0  # bytes in the pipe
        self._pending = b""  # what goes before them
        self._reading = False  # whether we are told when the source has something
        self._writing = False  # and when the target takes something
        self._over = False
        self._stopped = False

    def begin(self) -> None:
        """Send what there is of the answer, and the rest as it comes."""
        body = self._body
        self._pending = self._connection.transport.take()
        body.pipe(self)
        self.write(b"")  # the head, where there was nothing else
        tapped = body.tap() if body.open else None
        if tapped is None:
            self._leave()
            return
        self._source, self._left = tapped
        try:
            if self._left < self._least:
                raise OSError("too little is left")
            self._out, self._into = PIPES.make()
        except OSError:
            self._leave()
            return
        self._connection.server.counters.spliced += 1
        self._move()

    # The sink of the stream

    def write(self, data: bytes) -> None:
        """Take a piece that was read before."""
        framed = self._flow.frame(data)
        self._connection.server.counters.sent += len(framed)
        self._pending += framed

    def end(self, error: Exception | None) -> None:
        """Take the end of the stream: what is held is still to be sent, unless it was cut."""
        self._over = True
        if error is not None:
            self.stop()
            self._flow.end(error)

    # The way

    def _move(self) -> None:
        """Move what can be moved, and wait for what that ends at."""
        if self._stopped:  # the loop had it in hand already
            return
        try:
            self._moved()
        except OSError:
            self._leave()
        except Exception as error:  # noqa: BLE001 - nobody else would tell who waits for the end
            self.stop()
            self._flow.end(error)

    def _moved(self) -> None:
        turn = _AT_ONCE
        while True:
            if not self._drained():
                self._await_target()
                return
            if not self._left:
                self.stop()
                self._flow.end(None)
                return
            if turn <= 0:
                break
            asked = min(self._left, _ROOM)
            try:
                got: int = _splice(self._source, self._into, asked, flags=_FLAGS)
            except BlockingIOError:
                break
            if not got:
                self._leave()
                return
            self._took(got)
            turn = turn - got if got == asked else 0
        self._await_source()

    def _took(self, size: int) -> None:
        self._held += size
        self._left -= size
        self._connection.server.counters.sent += size
        self._flow.passed(size)
        if not self._left:
            self._close_source()  # its connection is the next one's, from now on
        self._body.took(size)

    def _drained(self) -> bool:
        """Send what is held; return whether the client has taken all of it."""
        try:
            while self._pending:
                sent = os.write(self._target, self._pending)
                self._pending = self._pending[sent:]
                self._progress()
            while self._held:
                self._held -= _splice(self._out, self._target, self._held, flags=_FLAGS)
                self._progress()
        except BlockingIOError:
            return False
        return True

    def _progress(self) -> None:
        if self._writing:
            self._connection.stalled()

    def _await_target(self) -> None:
        if self._reading:
            self._reading = False
            self._connection.loop.remove_reader(self._source)
        if not self._writing:
            self._writing = True
            self._body.waits(True)
            self._connection.stalled()
            self._connection.loop.add_writer(self._target, self._move)

    def _await_source(self) -> None:
        self._unblock()
        if not self._reading:
            self._reading = True
            self._connection.loop.add_reader(self._source, self._move)

    def _unblock(self) -> None:
        if self._writing:
            self._writing = False
            self._connection.loop.remove_writer(self._target)
            self._connection.flows()
            self._body.waits(False)

    # The end

    def _leave(self) -> None:
        """Go on by reading and writing, by which whatever has happened is found out."""
        rest = self._pending
        while self._held:
            part = os.read(self._out, self._held)
            self._held -= len(part)
            rest += part
        self.stop()
        connection, flow = self._connection, self._flow
        if not connection.lost and rest:
            connection.transport.write(rest)
        if self._over:
            flow.end(None)
        else:
            self._body.untap(flow)

    def stop(self) -> None:
        """Move no more, and close what was opened for it."""
        if self._stopped:
            return
        self._stopped = True
        self._unblock()
        self._close_source()
        os.close(self._target)
        if self._out >= 0:
            PIPES.close(self._out, self._into)

    def _close_source(self) -> None:
        if self._reading:
            self._reading = False
            self._connection.loop.remove_reader(self._source)
        if self._source >= 0:
            os.close(self._source)
            self._source = -1


def spliced(body: Stream, flow: "Flow", connection: "Connection") -> Splice | None:
    """Return what takes a body to a client past us, or None where it must be read and written."""
    least = connection.server.settings.splice_bytes
    if _splice is None or not least or not body.open or (body.length or 0) < least:
        return None
    target = connection.outlet()
    return Splice(body, flow, connection, target, least) if target >= 0 else None
