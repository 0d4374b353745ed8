"""Upstreams that keep no rule: what the drill over a crowd of clients has behind its gateway.

`python tests/drills/unruly.py --unix PATH`, or `--tls FILE` for a port over TLS. The target of a
request says what is to be done with it: `/ROUTE/MARK/KIND/SIZE/SEED`. Each byte of the body of an
answer is of its request's mark, over and over; and so is that of a request, which is looked at.

What is sent behind an answer leaves together with its end: what comes when the next request has
left already is that one's answer, for all that anybody before it can know.
"""

import argparse
import asyncio
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from switchgear.assembly.control import ControlServer
from switchgear.assembly.running import loop_factory
from switchgear.drills.process import announce, until_told
from switchgear.http.handshake import accept_of

__all__ = ["CUT", "EITHER", "KINDS", "TOLD", "WELL", "Asked", "marked", "of_mark", "promised"]

WELL: Final = "well"  # whole, or a fault in words
EITHER: Final = "either"  # and it may be cut
CUT: Final = "cut"  # never whole
TOLD: Final = "told"  # never even begun

_RESET: Final = struct.pack("ii", 1, 0)
_MARK: Final = 16  # bytes of it, with what parts it from the next
_MOST: Final = 2 << 20
_MOMENT: Final = 0.003


def marked(mark: str, size: int) -> bytes:
    """Return so many bytes of a mark, which has 15 letters."""
    return (f"{mark}|".encode() * (size // _MARK + 1))[:size]


def of_mark(mark: str, at: int, data: bytes) -> bool:
    """Say whether bytes that begin at `at` of a body are of a mark, every one."""
    skipped = at % _MARK
    return marked(mark, skipped + len(data))[skipped:] == data


class Asked(NamedTuple):
    """What a request asks for."""

    method: str
    mark: str
    kind: str
    size: int
    rng: random.Random
    fields: Mapping[str, str]

    @classmethod
    def of(cls, head: bytes) -> "Asked":
        """Read a head, which the gateway has written well."""
        line, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = line.split(" ")
        _, _, mark, kind, size, seed = target.split("/")
        fields = dict(one.split(": ", 1) for one in lines)
        return cls(method, mark, kind, int(size), random.Random(seed), fields)

    def head(self, framing: str, status: str = "200 OK") -> bytes:
        """Return the head of an answer to it."""
        return f"HTTP/1.1 {status}\r\nX-Mark: {self.mark}\r\n{framing}\r\n".encode()

    def counted(self, length: int | None = None) -> bytes:
        """Return the head of an answer of that length, or of the one that was asked for."""
        return self.head(f"Content-Length: {self.size if length is None else length}\r\n")

    def body(self, size: int | None = None) -> bytes:
        """Return the body of an answer; to a HEAD, none."""
        return (
            b"" if self.method == "HEAD" else marked(self.mark, self.size if size is None else size)
        )


def promised(kind: str, size: int) -> int:
    """Return how long a whole body of that kind is, where so much of it was asked for."""
    return {"short": size // 2, "bodied": 0, "bodied_304": 0, "nothing": 0}.get(kind, size)


class Upstream:
    """One of them, and what it has seen."""

    def __init__(self) -> None:
        self.foreign: list[str] = []  # requests whose body had bytes of another
        self.taken: Counter[str] = Counter()  # requests by mark whose body was read to its end
        self.kinds: Counter[str] = Counter()
        self.connections = 0

    async def figures(self, _: Any) -> Any:
        """Return what was seen."""
        return {
            "foreign": self.foreign,
            "taken": self.taken,
            "kinds": self.kinds,
            "connections": self.connections,
        }

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, till one of them has ended it."""
        self.connections += 1
        try:
            while True:
                asked = Asked.of(await reader.readuntil(b"\r\n\r\n"))
                self.kinds[asked.kind] += 1
                if asked.kind != "early":
                    await self._read(asked, reader)
                if not await KINDS[asked.kind].say(asked, reader, writer):
                    break
                await writer.drain()
                if asked.kind == "early":
                    await self._read(asked, reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _read(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        """Read a request's body, and see whose bytes it has."""
        at, left = 0, int(asked.fields.get("content-length", 0))
        chunked = "transfer-encoding" in asked.fields
        while chunked or left:
            if chunked:
                left = int(await reader.readuntil(b"\r\n"), 16)
                data = (await reader.readexactly(left + 2))[:left]
                if not left:
                    break
            else:
                data = await reader.read(min(left, 1 << 16))
                if not data:
                    raise ConnectionResetError
                left -= len(data)
            if not of_mark(asked.mark, at, data):
                self.foreign.append(f"{asked.mark}: {data[:64]!r} at {at}")
            at += len(data)
        self.taken[asked.mark] += 1


Say = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Kind(NamedTuple):
    """A way to answer, which says whether the connection may go on; and how that may end."""

    say: Say
    end: str
    weight: int


def whole(make: Callable[[Asked], bytes]) -> Say:
    """Say all of it at once."""

    async def say(asked: Asked, _: Any, writer: asyncio.StreamWriter) -> bool:
        writer.write(make(asked))
        return True

    return say


def ended(make: Callable[[Asked], bytes], *, reset: bool = False) -> Say:
    """Say all of it at once, and end the connection."""

    async def say(asked: Asked, _: Any, writer: asyncio.StreamWriter) -> bool:
        writer.write(make(asked))
        await writer.drain()
        if reset:
            raw = writer.get_extra_info("socket")
            if raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return False

    return say


def counted(asked: Asked) -> bytes:
    return asked.counted() + asked.body()


def chunked(asked: Asked, *, end: bool = True) -> bytes:
    """Return an answer in chunks, with trailers."""
    head = asked.head("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n")
    body, parts, at = asked.body(), [head], 0
    if asked.method == "HEAD":
        return head
    while at < len(body):
        part = body[at : at + asked.rng.choice((1, 17, 4000, 70_000))]
        parts.append(b"%x;a=%d\r\n%b\r\n" % (len(part), at, part))
        at += len(part)
    return b"".join([*parts, b"0\r\nX-Sum: 1\r\n\r\n" if end else b""])


def second(asked: Asked) -> bytes:
    """Return a whole answer that nobody has asked for: whoever gets it sees another's mark."""
    return asked.counted(_MARK) + marked(asked.mark, _MARK)


def part_of(asked: Asked) -> bytes:
    """Return an answer without its end."""
    whole = asked.counted(asked.size + 1) + asked.body()
    return whole[: asked.rng.randrange(len(whole) + 1)]


def uncounted(asked: Asked) -> bytes:
    return asked.head("Connection: close\r\n") + asked.body()


def interim(number: int) -> Callable[[Asked], bytes]:
    """Make answers that have others before them."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    return lambda asked: (
        b"".join(asked.rng.choice((hint, go_on)) for _ in range(number)) + counted(asked)
    )


async def slices(asked: Asked, _: Any, writer: asyncio.StreamWriter) -> bool:
    """Say it piece by piece, parted anywhere."""
    make = asked.rng.choice((counted, chunked))
    wire = make(asked)
    cuts = sorted(asked.rng.randrange(1, len(wire)) for _ in range(asked.rng.randrange(1, 6)))
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        if writer.is_closing():
            return False
        writer.write(wire[begin:end])
        await writer.drain()
        await asyncio.sleep(_MOMENT * asked.rng.random())
    return True


async def late(asked: Asked, _: Any, writer: asyncio.StreamWriter) -> bool:
    """Say something behind an answer, a moment later: nonsense, or what is for nobody."""
    writer.write(counted(asked))
    await writer.drain()
    await asyncio.sleep(_MOMENT * asked.rng.random())
    nonsense = marked(asked.mark, asked.rng.randrange(1, 9000))
    timeout = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    if not writer.is_closing():
        writer.write(asked.rng.choice((nonsense, timeout)))
        await writer.drain()
    return False


async def leaving(asked: Asked, _: Any, writer: asyncio.StreamWriter) -> bool:
    """End a connection on which more was expected: just when it is used again."""
    writer.write(counted(asked))
    await writer.drain()
    await asyncio.sleep(_MOMENT * asked.rng.random())
    return False


async def tunnel(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Speak WebSocket: send every frame back. To who asks for something else, say so."""
    key = asked.fields.get("sec-websocket-key")
    if key is None:
        writer.write(counted(asked))
        return True
    switch = (
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_of(key)}\r\n"
    )
    writer.write(asked.head(switch, "101 Switching Protocols"))
    while True:
        opcode, length = await reader.readexactly(2)
        size = (
            struct.unpack(">H", await reader.readexactly(2))[0] if length == 0xFE else length & 127
        )
        await reader.readexactly(4)  # a mask of zeros
        data = await reader.readexactly(size)
        if opcode == 0x88:
            writer.write(b"\x88\x00")
            await writer.drain()
            return False
        writer.write(struct.pack(">BBH", opcode, 126, size) + data)
        await writer.drain()


def halved(asked: Asked) -> bytes:
    """Return an answer that is longer than it says."""
    return asked.counted(asked.size // 2) + marked(asked.mark, asked.size + 64)


def bodied(status: str, framing: Callable[[Asked], str]) -> Callable[[Asked], bytes]:
    """Make answers with a body where none may be, which looks like another answer."""
    return lambda asked: asked.head(framing(asked), status) + second(asked)


def length_of(asked: Asked) -> str:
    return f"Content-Length: {asked.size}\r\n"


KINDS: Final[Mapping[str, Kind]] = {
    "counted": Kind(whole(counted), WELL, 40),
    "chunked": Kind(whole(chunked), WELL, 8),
    "uncounted": Kind(ended(uncounted), WELL, 3),
    "slices": Kind(slices, WELL, 8),
    "hints": Kind(whole(interim(3)), WELL, 3),
    "nothing": Kind(whole(lambda asked: asked.head("", "204 No Content")), WELL, 2),
    "tunnel": Kind(tunnel, WELL, 5),
    "leaving": Kind(leaving, WELL, 4),
    "late": Kind(late, EITHER, 3),
    "early": Kind(whole(counted), EITHER, 4),
    "short": Kind(whole(halved), EITHER, 4),
    "second": Kind(whole(lambda asked: counted(asked) + second(asked)), EITHER, 14),
    "second_chunked": Kind(whole(lambda asked: chunked(asked) + second(asked)), EITHER, 2),
    "bodied": Kind(whole(bodied("204 No Content", lambda _: "")), EITHER, 1),
    "bodied_304": Kind(whole(bodied("304 Not Modified", length_of)), EITHER, 1),
    "bodied_head": Kind(whole(bodied("200 OK", length_of)), EITHER, 2),  # and always asked by HEAD
    "closing": Kind(ended(part_of), CUT, 3),
    "resetting": Kind(ended(part_of, reset=True), CUT, 3),
    "unended": Kind(ended(lambda asked: chunked(asked, end=False)), CUT, 2),
    "long": Kind(ended(lambda asked: asked.counted(asked.size + 100) + asked.body()), CUT, 2),
    "flood": Kind(whole(interim(100)), TOLD, 1),
    "silent": Kind(ended(lambda _: b""), TOLD, 1),
    "nonsense": Kind(ended(lambda asked: marked(asked.mark, 40)), TOLD, 1),
}


async def serve(given: argparse.Namespace) -> None:
    """Answer until told to end."""
    upstream = Upstream()
    if given.unix:
        server = await asyncio.start_unix_server(upstream.speak, given.unix, limit=_MOST)
        address = f"unix:{given.unix}"
    else:
        tls = None
        if given.tls:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(given.tls)
        server = await asyncio.start_server(upstream.speak, "127.0.0.1", 0, limit=_MOST, ssl=tls)
        address = f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        control = ControlServer(Path(folder) / "control", {"figures": upstream.figures})
        await control.start()
        announce(address=address, control=str(Path(folder) / "control"))
        await until_told(attached="--attached" in sys.argv)
        await control.stop()
    server.close()


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--unix", default="")
    parser.add_argument("--tls", default="")
    parser.add_argument("--attached", action="store_true")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(given))
        os._exit(0)  # connections are open still, for which nobody waits


if __name__ == "__main__":
    main()
