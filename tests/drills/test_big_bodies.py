"""A gibibyte each way through the gateway: nothing piles up, and who stops makes the other wait."""

import asyncio
import json
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from threading import Event
from typing import IO, cast

import pytest

from tests.drills.plane import PIECE, piece
from tests.drills.planes import Plane, memory, plane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PIECES = (1 << 30) // PIECE
MOST_GROWTH = 32 << 20
STOP = 10.0


def in_flight() -> int:
    """Return what the buffers of two connections may hold of a stream that nobody takes, in bytes.

    They are the kernel's, each as large as it is allowed to grow, and half as much again, for it
    counts otherwise than we do; the last are ours, and a pipe's.
    """
    sizes = [Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split()[2] for way in "rw"]
    return 3 * sum(map(int, sizes)) + (2 << 20)


HTTP = {"body_bytes": 2 << 30}


@cache
def checksum() -> int:
    """Return the checksum of the whole stream."""
    crc = 0
    for number in range(PIECES):
        crc = zlib.crc32(piece(number), crc)
    return crc


class Client:
    """One blocking client, to be run in a thread; it stops in the middle when it is told to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bytes = 0  # taken, or given
        self.stop_at = PIECES * PIECE * 2
        self.stopped = Event()
        self.go_on = Event()

    def _pass(self, size: int) -> None:
        self.bytes += size
        if self.bytes >= self.stop_at and not self.stopped.is_set():
            self.stopped.set()
            assert self.go_on.wait(60)

    def take(self, path: str) -> int:
        """Read a stream; return its checksum."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as sock:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            file = cast(IO[bytes], sock.makefile("rb", 1 << 16))
            crc = 0
            for data in bodies(file):
                crc = zlib.crc32(data, crc)
                self._pass(len(data))
            return crc

    def give(self, *, chunked: bool) -> dict[str, int]:
        """Send a stream; return what the other end says of it."""
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (1 << 30)
        with socket.create_connection(("127.0.0.1", self.port), 60) as sock:
            sock.sendall(b"POST /take HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % framing)
            for number in range(PIECES):
                data = piece(number)
                sock.sendall(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                self._pass(len(data))
            if chunked:
                sock.sendall(b"0\r\n\r\n")
            found: dict[str, int] = json.loads(b"".join(bodies(sock.makefile("rb"))))
            return found


def bodies(file: IO[bytes]) -> Iterator[bytes]:
    """Read an answer's head, and yield its body piece by piece to its exact end."""
    status = file.readline()
    assert status.startswith(b"HTTP/1.1 200 "), status + file.read(2000)
    length = None
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.lower().partition(b":")
        if name == b"content-length":
            length = int(value)
    while length is None or length > 0:
        if length is None:
            size = int(file.readline(), 16)
            data = file.read(size)
            assert file.readline() == b"\r\n"
            if not size:
                return
        else:
            data = file.read(min(length, PIECE))
            length -= len(data)
        assert data, "the answer was cut"
        yield data


class Growth:
    """The memory of a process, beyond what it was at first."""

    def __init__(self, pid: int) -> None:
        self.first = memory(pid)["Rss"]
        self.most = 0


@asynccontextmanager
async def growing(pid: int) -> AsyncIterator[Growth]:
    """Look at a process's memory all the time."""
    growth = Growth(pid)

    async def look() -> None:
        while True:
            growth.most = max(growth.most, memory(pid)["Rss"] - growth.first)
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield growth
    finally:
        looking.cancel()


@asynccontextmanager
async def through() -> AsyncIterator[tuple[Plane, Plane]]:
    """Run a gateway that lets large bodies through, and what is behind it; both are warm."""
    async with plane("gateway", HTTP, "--deadline", "120") as gateway:
        assert gateway.behind is not None
        await asyncio.to_thread(Client(gateway.port).take, "/stream/1")
        yield gateway, gateway.behind


@pytest.mark.parametrize("path", ["", "/counted"], ids=["chunked", "counted"])
async def test_a_gibibyte_down_and_a_reader_that_stops(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with through() as (gateway, behind), growing(gateway.pid) as growth:
        client = Client(gateway.port)
        client.stop_at = 1 << 29
        reading = asyncio.create_task(asyncio.to_thread(client.take, f"/stream/{PIECES}{path}"))
        assert await asyncio.to_thread(client.stopped.wait, 60)
        await asyncio.sleep(STOP / 5)
        early = (await behind.figures())["produced"]
        await asyncio.sleep(STOP * 4 / 5)
        late = (await behind.figures())["produced"]
        client.go_on.set()
        crc = await reading
    ahead = (early - client.stop_at) / (1 << 20)
    with capsys.disabled():
        print(f"\ndown{path}: grew by {growth.most / (1 << 20):.1f} MiB; "
              f"{ahead:.1f} MiB were ahead of the reader that stopped")  # fmt: skip
    assert early - client.stop_at <= in_flight()
    assert early == late, "the upstream went on while the reader had stopped"
    assert client.bytes == 1 << 30
    assert crc == checksum()
    assert growth.most <= MOST_GROWTH


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
async def test_a_gibibyte_up_and_an_upstream_that_stops(
    chunked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with through() as (gateway, behind), growing(gateway.pid) as growth:
        client = Client(gateway.port)
        client.stop_at = 1 << 29
        writing = asyncio.create_task(asyncio.to_thread(client.give, chunked=chunked))
        assert await asyncio.to_thread(client.stopped.wait, 60)
        await behind.hold(True)
        client.go_on.set()
        await asyncio.sleep(STOP / 5)
        early, taken = client.bytes, (await behind.figures())["taken"]
        await asyncio.sleep(STOP * 4 / 5)
        late = client.bytes
        await behind.hold(False)
        told = await writing
    with capsys.disabled():
        print(f"\nup, chunked={chunked}: grew by {growth.most / (1 << 20):.1f} MiB; at the stop"
              f" {(early - taken) / (1 << 20):.1f} MiB were ahead of the upstream")  # fmt: skip
    assert early == late < 1 << 30, "the client went on while the upstream had stopped"
    assert early - taken <= in_flight()
    assert told == {"bytes": 1 << 30, "crc": checksum()}
    assert growth.most <= MOST_GROWTH
