"""One proxied connection: two pipes, each carrying out what its course decides."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from switchgear.core.clock import Clock
from switchgear.drills.address import CHUNK_BYTES
from switchgear.drills.course import Act, Course
from switchgear.drills.injection import Injection

__all__ = ["Connection", "Dial", "Stream", "reset"]

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Stream]]

_UNDER_WAY_BYTES: Final = 1024 * 1024  # what a delay may hold; without one, a single chunk
_DISCARDING: Final = 1.0  # how long a cut connection swallows what its peers still send
_RST: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: close() sends RST


class _Pipe:
    """Carry bytes in one direction: `fill` reads and dates them, `drain` writes what is due.

    Reading stops while enough is held, so a reader that is slow slows the sender.
    """

    def __init__(self, course: Course, clock: Clock) -> None:
        self.course = course
        self._clock = clock
        self._line: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._ended = False  # the source sent FIN
        self._broken = False  # the source was reset
        self._earliest = 0.0  # the next write, after a pause
        self._stir = asyncio.Event()
        self._room = asyncio.Event()
        self.passed_on = 0

    def adopt(self, injections: Mapping[int, Injection]) -> None:
        """Go on under other injections at once: what waited for the old ones is due."""
        self.course.adopt(injections)
        self._earliest = 0.0
        self._line = deque((0.0, data) for _, data in self._line)
        self._stir.set()
        self._room.set()

    async def fill(self, reader: asyncio.StreamReader) -> None:
        while not (self._ended or self._broken):
            limit = _UNDER_WAY_BYTES if self.course.delays else CHUNK_BYTES
            while self._held >= limit:
                self._room.clear()
                await self._room.wait()
                limit = _UNDER_WAY_BYTES if self.course.delays else CHUNK_BYTES
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                self._broken = True
            else:
                self._ended = not data
                self._line.append((self.course.release(self._clock()), data))
                self._held += len(data)
            self._stir.set()

    async def passable(self) -> Act:
        """Wait until the course lets anything through, or ends the connection."""
        while (act := self.course.step(self._due()).act) is Act.HOLD:
            await self._wait(None)
        return act

    async def drain(self, writer: asyncio.StreamWriter) -> Act:
        """Write until the source ends (PASS), or until the connection is to end otherwise."""
        try:
            return await self._drain(writer)
        except OSError:
            return Act.BROKEN  # the destination is gone: the source is told so

    async def _drain(self, writer: asyncio.StreamWriter) -> Act:
        while True:
            self._stir.clear()
            before = self.course.passed
            act, data, pause = self.course.step(self._due())
            if act in {Act.CUT, Act.RESET}:
                return act
            if data:
                self._take(self.course.passed - before)
                writer.write(data)
                await writer.drain()
                self.passed_on += len(data)
                self._earliest = self._clock() + pause if pause else 0.0
                await asyncio.sleep(0)  # so that slices leave one by one, and others get a turn
                continue
            if act is Act.PASS and not self._held:
                if self._broken:
                    return Act.BROKEN
                if self._ended and self._line[0][0] <= self._clock():
                    _end(writer)
                    return Act.PASS
            await self._wait(None if act is Act.HOLD else self._next_due())

    def _due(self) -> bytes:
        now = self._clock()
        if not self._line or self._line[0][0] > now or self._earliest > now:
            return b""
        return self._line[0][1]

    def _next_due(self) -> float | None:
        """Return the instant of the next write, None while nothing is held."""
        return max(self._line[0][0], self._earliest) if self._line else None

    def _take(self, size: int) -> None:
        at, data = self._line[0]
        if size == len(data):
            self._line.popleft()
        else:
            self._line[0] = (at, data[size:])
        self._held -= size
        self._room.set()

    async def _wait(self, until: float | None) -> None:
        if until is None:
            await self._stir.wait()
            self._stir.clear()
            return
        with contextlib.suppress(TimeoutError):
            # A hair late rather than early: an early waking would go round once more.
            async with asyncio.timeout(max(0.0, until - self._clock()) + 0.0005):
                await self._stir.wait()


class Connection:
    """One client's connection and its counterpart upstream, with a pipe each way."""

    def __init__(
        self, client: Stream, number: int, seed: int, injected: Counter[str], clock: Clock
    ) -> None:
        self._streams = [client]
        self._injected = injected
        self.up = _Pipe(Course("up", seed, number, injected), clock)
        self.down = _Pipe(Course("down", seed, number, injected), clock)
        self._sentence: asyncio.Future[Act] = asyncio.get_running_loop().create_future()
        _unbuffered(client[1])

    def adopt(self, injections: Mapping[int, Injection]) -> None:
        """Go on under other injections; one that ends connections at once ends this one."""
        self.up.adopt(injections)
        self.down.adopt(injections)
        acts = {self.up.course.step(b"").act, self.down.course.step(b"").act}
        for act in (Act.RESET, Act.CUT):
            if act in acts and not self._sentence.done():
                self._sentence.set_result(act)

    async def carry(self, dial: Dial) -> None:
        """Carry the connection to its end. Raises OSError when `dial` does."""
        tasks: list[asyncio.Task[Any]] = []
        act = Act.BROKEN
        try:
            act = await self._carry(dial, tasks)
            if act in {Act.CUT, Act.RESET}:
                self._injected[act.value] += 1
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:  # the proxy may close, and cancel us, right here
                await self._finish(act)

    async def _carry(self, dial: Dial, tasks: list[asyncio.Task[Any]]) -> Act:
        client_reader, client_writer = self._streams[0]
        opening = asyncio.create_task(self._open(dial))
        tasks += [opening, asyncio.create_task(self.up.fill(client_reader))]
        await asyncio.wait({opening, self._sentence}, return_when=asyncio.FIRST_COMPLETED)
        if self._sentence.done():
            return self._sentence.result()
        if (act := opening.result()) is not Act.PASS:
            return act
        reader, writer = self._streams[1]
        ways = {
            asyncio.create_task(self.up.drain(writer)),
            asyncio.create_task(self.down.drain(client_writer)),
        }
        tasks += [*ways, asyncio.create_task(self.down.fill(reader))]
        while ways:
            await asyncio.wait({*ways, self._sentence}, return_when=asyncio.FIRST_COMPLETED)
            if self._sentence.done():
                return self._sentence.result()
            for way in [way for way in ways if way.done()]:
                if (act := way.result()) is not Act.PASS:
                    return act
                ways.remove(way)
        return Act.PASS

    async def _open(self, dial: Dial) -> Act:
        act = await self.up.passable()
        if act is Act.PASS:
            server = await dial()
            _unbuffered(server[1])
            self._streams.append(server)
        return act

    async def _finish(self, act: Act) -> None:
        if act in {Act.RESET, Act.BROKEN}:
            for _, writer in self._streams:
                reset(writer)
            return
        try:
            if act is Act.CUT:
                await asyncio.gather(*(_bury(*stream) for stream in self._streams))
        finally:
            for _, writer in self._streams:
                writer.close()


def _unbuffered(writer: asyncio.StreamWriter) -> None:
    """Let `drain` wait until the kernel has taken every byte, so that offsets are exact."""
    writer.transport.set_write_buffer_limits(0)


async def _bury(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send FIN, and swallow what still comes: closing with bytes unread would send RST."""
    _end(writer)
    try:
        async with asyncio.timeout(_DISCARDING):
            while await reader.read(CHUNK_BYTES):
                pass
    except (TimeoutError, OSError):
        return


def _end(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing() and writer.can_write_eof():
        writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; on TCP the peer gets RST."""
    carrier = writer.get_extra_info("socket")
    if carrier is not None and carrier.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # closed already: there is nobody to reset
            carrier.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()
