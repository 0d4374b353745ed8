"""A crowd of clients that ask through one gateway at once, and look at every byte that they get.

They keep connections and leave them amid an answer, send several requests at once, long bodies and
HEAD, wait to be asked for a body or do not, read slowly, and speak WebSocket. Answers are read by
h11, which is nobody's of ours.
"""

import asyncio
import random
import ssl
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import h11

from switchgear.http.handshake import accept_of, new_key
from tests.drills.unruly import CUT, KINDS, TOLD, WELL, marked, of_mark, promised

__all__ = ["Crowd", "Wish"]

PATIENCE: Final = 30.0  # seconds for an outcome, on a machine however busy
_KINDS: Final = tuple(KINDS)
_WEIGHTS: Final = tuple(kind.weight for kind in KINDS.values())
_EACH: Final = 4
_BYE: Final = struct.pack(">H", 1012)  # the gateway drains: whoever is told so connects again
_AWHILE: Final = 0.5
_SIZES: Final = (0, 1, 200, 4096, 20_000, 131_071, 131_072, 200_000, 700_000)
_BODIES: Final = (0, 1, 100, 4096, 5000, 40_000, 200_000)
_FAULTS: Final = frozenset({408, 429, 502, 503, 504})


class Wish(NamedTuple):
    """One request."""

    method: str
    route: int
    mark: str
    kind: str
    size: int
    body: int
    chunked: bool = False
    expects: bool = False

    @property
    def target(self) -> str:
        return f"/{self.route}/{self.mark}/{self.kind}/{self.size}/{self.mark}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        told = [("Host", "a"), ("X-Request-Id", self.mark)]
        if self.method == "POST":
            length = ("Content-Length", str(self.body))
            told.append(("Transfer-Encoding", "chunked") if self.chunked else length)
        return [*told, ("Expect", "100-continue")] if self.expects else told

    def head(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.fields)
        return f"{self.method} {self.target} HTTP/1.1\r\n{lines}\r\n".encode()

    def pieces(self, rng: random.Random) -> Iterator[bytes]:
        """Yield the body as it is sent."""
        data, at = marked(self.mark, self.body), 0
        while at < len(data):
            part = data[at : at + rng.choice((700, 5000, 60_000))]
            at += len(part)
            yield b"%x\r\n%b\r\n" % (len(part), part) if self.chunked else part
        if self.chunked:
            yield b"0\r\n\r\n"


class Crowd:
    """All clients, and what became of their requests. `wrong` is what may not be."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, seed: int, routes: int) -> None:
        self._port = port
        self._tls = tls
        self._seed = seed
        self._routes = routes
        self._most = 0
        self._number = 0
        self.wrong: list[str] = []
        self.ends: Counter[tuple[str, str]] = Counter()  # by what an upstream was to do
        self.posted: dict[str, bool] = {}  # by mark, whether it was answered well
        self.bytes = 0

    async def run(self, clients: int, wishes: int) -> None:
        """Have so many clients ask for so many things."""
        self._most = wishes
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._live(random.Random(f"{self._seed} {number}")))

    def leave(self) -> None:
        """Have nobody ask for anything more."""
        self._most = 0

    @property
    def going(self) -> bool:
        """Whether there is more to ask for."""
        return self._number < self._most

    def wish(self, rng: random.Random) -> Wish:
        """Make up a request that nobody else makes."""
        number = self._number = self._number + 1
        mark, route = f"{self._seed & 0xFFFFFFFF:08x}-{number:06x}", number % self._routes
        kind = _KINDS[number % len(_KINDS)]  # some of each in any case
        if number > _EACH * len(_KINDS):
            kind = rng.choices(_KINDS, _WEIGHTS)[0]
        method = rng.choices(("GET", "POST", "HEAD"), (5, 3, 1))[0]
        if kind == "bodied_head":
            method = "HEAD"
        if kind == "tunnel":
            return Wish("GET", route, mark, kind, rng.randrange(1, 60_000), 0)
        body = rng.choice(_BODIES) if method == "POST" else 0
        chunked = method == "POST" and rng.random() < 0.3
        expects = body > 0 and rng.random() < 0.2
        return Wish(method, route, mark, kind, rng.choice(_SIZES), body, chunked, expects)

    async def _live(self, rng: random.Random) -> None:
        while self.going:
            client = Client(self, rng)
            try:
                async with asyncio.timeout(PATIENCE):
                    await client.open(self._port, self._tls)
                    await client.live()
            except TimeoutError:
                self.wrong.append(f"no outcome of {client.waits}")
            except (ConnectionError, ssl.SSLError):
                await asyncio.sleep(0)  # closed, which was judged where an answer was due
            finally:
                client.close()

    def judged(self, wish: Wish, got: "Got", *, alone: bool) -> None:
        """Judge one answer: whole, told in words, cut, or none.

        `alone`: neither it nor any behind it is one that may be cut.
        """
        kind = KINDS[wish.kind]
        end = got.end
        if got.foreign:
            self.wrong.append(f"{wish}: foreign bytes: {got.foreign}")
        if got.end == "whole" and got.status in _FAULTS:
            end = "told"
        elif got.end == "whole":
            size = 0 if wish.method == "HEAD" else promised(wish.kind, wish.size)
            if got.size != size:
                self.wrong.append(f"{wish}: complete, and has {got.size} bytes of {size}")
            if kind.end in (CUT, TOLD) and wish.method != "HEAD":
                self.wrong.append(f"{wish}: complete, as {got.status}")
        elif got.end in ("cut", "none"):
            if alone:
                self.wrong.append(f"{wish}: {got.end} after {got.size} bytes")
        else:
            self.wrong.append(f"{wish}: {got.end}")
        if wish.method == "POST" and wish.kind != "early":
            self.posted[wish.mark] = end == "whole"
        self.ends[kind.end, end] += 1


class Got(NamedTuple):
    """What came of one request."""

    end: str  # "whole", "cut", "none", or what h11 objects to
    status: int = 0
    size: int = 0
    foreign: str = ""


class Client:
    """One connection of somebody."""

    def __init__(self, crowd: Crowd, rng: random.Random) -> None:
        self._crowd = crowd
        self._rng = rng
        self._machine = h11.Connection(h11.CLIENT)
        self.waits: Wish | None = None  # the request whose answer is awaited
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, port: int, tls: ssl.SSLContext | None) -> None:
        limit = self._rng.choice((1 << 12, 1 << 16, 1 << 18))
        name = "127.0.0.1" if tls is not None else None
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=name, limit=limit
        )

    def close(self) -> None:
        if self._writer is not None:
            self._rng.choice((self._writer.close, self._writer.transport.abort))()

    async def live(self) -> None:
        """Ask for this and that, until one of both ends it."""
        for _ in range(self._rng.randrange(1, 12)):
            wishes = [self._crowd.wish(self._rng) for _ in range(self._rng.choice((1, 1, 1, 3, 6)))]
            if wishes[0].kind == "tunnel":
                await self._tunnel(wishes[0])
                return
            wishes = [wish for wish in wishes if wish.kind != "tunnel"]
            sending = asyncio.create_task(self._send(wishes))
            try:
                if not await self._answers(wishes):
                    return
            finally:
                sending.cancel()
                await asyncio.wait([sending])
                if not sending.cancelled():
                    sending.exception()  # which whoever reads has noticed
            if not self._crowd.going:
                return

    async def _send(self, wishes: list[Wish]) -> None:
        assert self._writer is not None
        for wish in wishes:
            self._writer.write(wish.head())
            for piece in wish.pieces(self._rng):
                self._writer.write(piece)
                await self._writer.drain()
        await self._writer.drain()

    async def _answers(self, wishes: list[Wish]) -> bool:
        """Read the answers in order; say whether the connection is good for more."""
        leaves = self._rng.randrange(len(wishes)) if self._rng.random() < 0.04 else -1
        for number, wish in enumerate(wishes):
            self.waits = wish
            if self._machine.our_state is h11.DONE:
                self._machine.start_next_cycle()
            told = [one for one in wish.fields if one[0] not in ("Expect", "Content-Length")]
            told = [one for one in told if one[0] != "Transfer-Encoding"]
            self._machine.send(h11.Request(method=wish.method, target=wish.target, headers=told))
            self._machine.send(h11.EndOfMessage())
            got = await self._answer(wish, leaves == number)
            if got is None:
                return False  # it was we who left
            # An answer that breaks off takes those before it along, which are under way still.
            behind = wishes[number:]
            self._crowd.judged(wish, got, alone=all(KINDS[one.kind].end == WELL for one in behind))
            if self._machine.their_state is not h11.DONE:
                return False
            if got.status == 503:  # who asks again at once would keep out everybody else
                await asyncio.sleep(_AWHILE * self._rng.random())
        return True

    async def _answer(self, wish: Wish, leaves: bool) -> Got | None:
        status, size, foreign = 0, 0, ""
        most = self._rng.randrange(wish.size + 1) if leaves else -1
        while True:
            try:
                event = self._machine.next_event()
            except h11.RemoteProtocolError as error:
                if "closed" in str(error).lower():
                    return Got("cut" if status else "none", status, size, foreign)
                return Got(f"broken: {error}", status, size, foreign)
            if event is h11.NEED_DATA:
                if 0 <= most <= size:
                    return None
                self._machine.receive_data(await self._read())
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = dict(event.headers)
                foreign = foreign_of(wish, status, headers)
            elif isinstance(event, h11.Data):
                data = bytes(event.data)
                if status < 400 and not of_mark(wish.mark, size, data):
                    foreign = foreign or f"{data[:48]!r} at {size}"
                size += len(data)
                self._crowd.bytes += len(data)
            elif isinstance(event, h11.EndOfMessage):
                return Got("whole", status, size, foreign)
            elif isinstance(event, h11.ConnectionClosed):
                return Got("none", status, size, foreign)

    async def _read(self) -> bytes:
        if self._rng.random() < 0.02:
            await asyncio.sleep(0.02 * self._rng.random())
        try:
            return await self._reader.read(self._rng.choice((1000, 1 << 16)))
        except (ConnectionError, ssl.SSLError):
            return b""

    async def _tunnel(self, wish: Wish) -> None:
        """Speak WebSocket for a while; some say the first words before they are let in."""
        assert self._writer is not None
        self.waits = wish
        key, early = new_key(), self._rng.random() < 0.3
        handshake = (
            f"GET {wish.target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {wish.mark}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        data = marked(wish.mark, wish.size)
        frame = struct.pack(">BBHI", 0x82, 0xFE, len(data), 0) + data
        self._writer.write(handshake + (frame if early else b""))
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            self._crowd.ends[WELL, "none"] += 1
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            refused = int(head.split(b" ")[1]) in _FAULTS
            self._crowd.ends[WELL, "told"] += 1
            if not refused:
                self._crowd.wrong.append(f"{wish}: a handshake was answered {head[:80]!r}")
            return
        if accept_of(key).encode() not in head or wish.mark.encode() not in head:
            self._crowd.wrong.append(f"{wish}: another's handshake: {head!r}")
        for number in range(self._rng.randrange(1, 6)):
            if number or not early:
                self._writer.write(frame)
            try:
                got = await self._reader.readexactly(4 + len(data))
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if _BYE not in getattr(error, "partial", b""):
                    self._crowd.wrong.append(f"{wish}: the session was cut: {error!r}")
                return
            if got != struct.pack(">BBH", 0x82, 126, len(data)) + data:
                self._crowd.wrong.append(f"{wish}: another's frame {got[:64]!r}")
        self._crowd.ends[WELL, "whole"] += 1
        if self._rng.random() < 0.5:
            self._writer.write(struct.pack(">BBI", 0x88, 0x80, 0))
            await self._reader.read()


def foreign_of(wish: Wish, status: int, headers: dict[bytes, bytes]) -> str:
    """Return what in an answer's head is not this request's, or nothing."""
    if headers.get(b"x-request-id") != wish.mark.encode():
        return f"the request id {headers.get(b'x-request-id')!r} of {status}"
    if status < 400 and headers.get(b"x-mark") != wish.mark.encode():
        return f"the mark {headers.get(b'x-mark')!r} of {status}"
    return ""
