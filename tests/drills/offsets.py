"""The stand of the drill over every offset: client - gateway - fault proxy - upstream.

The upstream says byte for byte what it is told to. Each case has a fault proxy and a pool of its
own, so that the fault strikes where it is meant to; the gateway's door and server are shared by all
cases of a batch. The client reads by h11, which is nobody's of ours.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

import h11

from switchgear.core.clock import FINE
from switchgear.drills.address import Address
from switchgear.drills.injection import Cut, Garble, Hang, Injection, Insert, Pause, Reset
from switchgear.drills.proxy import Proxy
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.policy.shedder import Shedder, ShedderSettings
from tests.integration.http.harness import listen

__all__ = [
    "DEADLINE",
    "FAULTS",
    "SHAPES",
    "Case",
    "Got",
    "Outcome",
    "Shape",
    "Stand",
    "marker_of",
    "standing",
]

BEAT: Final = 0.01
DEADLINE: Final = 0.5  # seconds, of the route; and of a body that brings nothing


class Shape(NamedTuple):
    """One way to frame an answer. `body` is what its reader gets of one with a marker."""

    name: str
    head: bytes
    frame: Callable[[bytes], bytes]

    def wire(self, marker: str) -> bytes:
        """Return all bytes of the answer that bears a marker; all markers are of one length."""
        return self.head + self.frame(body_of(marker))


def marker_of(letter: str, number: int) -> str:
    """Name an answer: by two letters, for one could be made another by a byte that is changed."""
    return f"{letter * 2}{number:05}"


def body_of(marker: str) -> bytes:
    return f"<{marker}|the body of {marker}>".encode()


def _chunked(body: bytes) -> bytes:
    pieces = body[:10], body[10:]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\nX-Sum: 1\r\n\r\n"


_SIZE: Final = len(body_of(marker_of("a", 0)))
SHAPES: Final = (
    Shape("counted", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _SIZE, lambda body: body),
    Shape("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", _chunked),
    Shape("until close", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", lambda body: body),
)

FAULTS: Final[Mapping[str, Callable[[int], Injection]]] = {
    "cut": lambda at: Cut(direction="down", after_bytes=at, first=1),
    "reset": lambda at: Reset(direction="down", after_bytes=at, first=1),
    "hang": lambda at: Hang(direction="down", after_bytes=at, first=1),
    "flip": lambda at: Garble(direction="down", after_bytes=at, first=1),
    "insert": lambda at: Insert(direction="down", after_bytes=at, first=1),
    "slice": lambda at: Pause(direction="down", after_bytes=at, seconds=0.02, first=1),
}


class Case(NamedTuple):
    """One fault at one offset of the answers of one shape; without a fault it is a control."""

    number: int
    shape: Shape
    fault: str
    offset: int

    @property
    def where(self) -> str:
        inside = self.offset < len(self.shape.head)
        return (
            f"{self.fault} at {self.offset} of {self.shape.name} ({'head' if inside else 'body'})"
        )


class Got(NamedTuple):
    """What a client got for one request: `end` is "complete", "cut", or what h11 objects to."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    end: str
    seconds: float

    def told(self) -> str:
        """Return the code of a problem document, or nothing for any other answer."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        document = json.loads(self.body)
        return str(document["code"]) if document["status"] == self.status else ""


class Outcome(NamedTuple):
    """What became of a case: the two requests of one client, and how often the fault took."""

    case: Case
    first: Got
    second: Got
    injected: int
    late: float  # how late the loop was meanwhile, in all


class _Client:
    """A keep-alive client that believes h11 alone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._machine = h11.Connection(h11.CLIENT)
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Got:
        """Ask on the connection that is there, or on another if it has ended."""
        if self._machine.our_state is h11.DONE and self._machine.their_state is h11.DONE:
            self._machine.start_next_cycle()
        else:
            await self.close()
            self._machine = h11.Connection(h11.CLIENT)
            self._stream = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._stream is not None
        request = h11.Request(method="GET", target=path, headers=[("Host", "a")])
        began = FINE()
        self._stream[1].write(self._machine.send(request) or b"")
        self._machine.send(h11.EndOfMessage())
        return await self._answer(began)

    async def _answer(self, began: float) -> Got:
        status, headers, body, end = 0, {}, b"", ""
        while not end:
            try:
                event = self._machine.next_event()
            except h11.RemoteProtocolError as error:
                cut = self._machine.their_state is h11.ERROR and "closed" in str(error)
                end = "cut" if cut else f"broken: {error}"
                break
            if event is h11.NEED_DATA:
                self._machine.receive_data(await self._read())
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                end = "complete"
            elif isinstance(event, h11.ConnectionClosed):
                end = "cut"
        return Got(status, headers, body, end, FINE() - began)

    async def _read(self) -> bytes:
        assert self._stream is not None
        try:
            async with asyncio.timeout(20 * DEADLINE):
                return await self._stream[0].read(65536)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            try:
                await self._stream[1].wait_closed()
            except ConnectionError:
                pass


class Pulse:
    """Tells how late the loop itself ran: what others on the machine took is no answer's fault."""

    def __init__(self) -> None:
        self._due = FINE() + BEAT
        self._late: dict[int, float] = {}

    async def beat(self) -> None:
        while True:
            self._due = FINE() + BEAT
            await asyncio.sleep(BEAT)
            self._look()

    def _look(self) -> None:
        late = FINE() - self._due
        if late > BEAT / 2:
            for number in self._late:
                self._late[number] += late

    def begin(self, number: int) -> None:
        self._late[number] = 0.0

    def end(self, number: int) -> float:
        """Return how late the loop was in all since it began."""
        self._look()
        return self._late.pop(number)


class Stand:
    """The upstream, and a gateway for the cases that it is opened for."""

    def __init__(self, cases: Sequence[Case], attempts: int, seed: int, least: int) -> None:
        self.cases = cases
        self._seed = seed
        self._least = least
        self._shapes = {case.number: case.shape for case in cases}
        # Each route has a breaker, and all cases would open one: they have a route each.
        self._settings = GatewaySettings(attempts=attempts, attempt_timeout=DEADLINE / 2)
        self.gateway: Server
        self._lanes: dict[int, Upstream] = {}
        self._address = Address("127.0.0.1")
        self._pulse = Pulse()

    async def run(self, case: Case) -> Outcome:
        """Run one case: one client, two requests, on one connection if the gateway keeps it."""
        seed = self._seed + case.number
        async with Proxy(Address("127.0.0.1"), self._address, seed=seed) as wire:
            if case.fault:
                await wire.inject(FAULTS[case.fault](case.offset))
            lane = self._lanes[case.number]
            lane.update([Member("upstream", str(wire.address.port), 1, True)])
            client = _Client(self.gateway.port)
            self._pulse.begin(case.number)
            try:
                first = await client.get(f"/{case.number}/{marker_of('a', case.number)}")
                second = await client.get(f"/{case.number}/{marker_of('b', case.number)}")
            finally:
                await client.close()
                await lane.close()
            late = self._pulse.end(case.number)
            return Outcome(case, first, second, sum(wire.statistics().injected.values()), late)

    async def start(self, held: AsyncExitStack) -> None:
        server = await asyncio.start_server(self._speak, "127.0.0.1", 0)
        held.push_async_callback(server.wait_closed)
        held.callback(server.close)
        self._address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        beating = asyncio.create_task(self._pulse.beat())
        held.callback(beating.cancel)
        client = ClientSettings(body_timeout=DEADLINE, connect_timeout=5.0)

        def connect(name: str, address: str) -> Pool:
            return Pool("127.0.0.1", int(address), client, name=name)

        for case in self.cases:
            self._lanes[case.number] = Upstream(
                f"s{case.number}", self._settings, connect, random=lambda: 0.5
            )
        routes = [
            RouteEntry(
                "GET", f"/{case.number}/{{name}}", f"s{case.number}", public=True,
                deadline=DEADLINE,
            )
            for case in self.cases
        ]  # fmt: skip
        door = Door(
            routes,
            {lane.service: lane for lane in self._lanes.values()},
            Trust(lambda _: None, _never, lambda *_: "token"),
            self._settings,
            local={},
            # Building thousands of routes makes a loop late, which is nobody's overload.
            shedder=Shedder("shedder", ShedderSettings(begin=100, full=200)),
        )
        self.gateway = Server(
            door.handler,
            ServerSettings(splice_bytes=self._least),
            drive=Drive.EAGER,
            intake=door.intake,
            problem=door.problem,
        )
        await self.gateway.start(listen())
        held.push_async_callback(self.gateway.stop)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of a connection, each answer in one segment."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                number, marker = head.split(b" ", 2)[1].decode().split("/")[1:]
                shape = self._shapes[int(number)]
                writer.write(shape.wire(marker))
                await writer.drain()
                if shape.name == "until close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the fault proxy has done its work
        finally:
            writer.close()


async def _never(_: str) -> Any:
    raise AssertionError("a public route asks for no token")


@asynccontextmanager
async def standing(
    cases: Sequence[Case], attempts: int, seed: int, least: int
) -> AsyncIterator[Stand]:
    """Have a stand for some cases, and leave nothing of it behind."""
    async with AsyncExitStack() as held:
        stand = Stand(cases, attempts, seed, least)
        await stand.start(held)
        yield stand
