"""The world of the catalogue: a gateway or a server, and an upstream that records raw bytes."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive, Server
from switchgear.identity.internal import Vouched
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.shedder import Shedder
from tests.rules.entry import BREAK, BYE, END, HOLD, READ, Act, Await, Entry, Pause, Steps

__all__ = ["PROBE", "Recorder", "World", "unvarying", "world"]

PROBE = "/probe"
PROBED = b"still here"
_RESET = struct.pack("ii", 1, 0)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")

# What the gateway adds to each request, in its order. It is left out once, and only where it stands
# like this: a second field of the same name would be seen.
_OURS = re.compile(
    rb"x-forwarded-for: 127\.0\.0\.1\r\nx-forwarded-host: [^\r]*\r\nx-forwarded-proto: http\r\n"
    rb"x-request-id: [0-9a-f]{32}\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\n"
    rb"via: 1\.[01] switchgear\r\nswitchgear-token: T\r\n"
)
_VARYING = (
    (re.compile(rb"(x-request-id: )[0-9a-f]{32}(?=\r)"), rb"\1<id>"),
    (re.compile(rb"(traceparent: 00-)[0-9a-f]{32}-[0-9a-f]{16}"), rb"\1<trace>-<span>"),
    (re.compile(rb"(traceparent: 00-[0-9a-f]{32}-)[0-9a-f]{16}"), rb"\1<span>"),
    (re.compile(rb"(switchgear-deadline-ms: )[0-9]+"), rb"\1<ms>"),
    (re.compile(rb"(host: 127\.0\.0\.1:)[0-9]+"), rb"\1<port>"),
)


def unvarying(wire: bytes, *, full: bool) -> bytes:
    """Return a forwarded request as it is every time, the gateway's own fields shown or not."""
    if not full:
        wire = _OURS.sub(b"", wire, count=1)
        wire = re.sub(rb"switchgear-deadline-ms: [0-9]+\r\n", b"", wire, count=1)
    for pattern, instead in _VARYING:
        wire = pattern.sub(instead, wire)
    return wire


class Recorder:
    """An upstream: it keeps what it receives, and says what it is told to say."""

    def __init__(self, script: tuple[Steps, ...]) -> None:
        self.script = script
        self.connections: list[bytearray] = []
        self.requests: list[tuple[int, bytes]] = []  # by connection, the probes left out
        self.probes: list[int] = []  # the connections on which the probe came
        self.ended: list[str] = []  # how connections ended, as seen from here
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak on one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections.append(bytearray())
        number = len(self.connections) - 1
        how = "end"
        try:
            while await self._one(number, reader, writer):
                pass
        except ConnectionError:
            how = "reset"
        except asyncio.CancelledError:  # by `stop`: nobody is left to tell
            how = "stopped"
        finally:
            self.ended.append(how)
            self._tasks.discard(task)
            writer.close()

    async def _one(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        seen = self.connections[number]
        start, told = len(seen), False
        while not whole(bytes(seen[start:])):
            if b"\r\n\r\nearly" in seen[start:] and not told:
                break
            data = await reader.read(65536)
            seen += data
            if not data:
                if len(seen) > start:
                    self.requests.append((number, bytes(seen[start:]) + b"<cut>"))
                return False
        request = bytes(seen[start:])
        if PROBE.encode() in request.partition(b"\r\n")[0]:
            self.probes.append(number)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + PROBED)
            return True
        self.requests.append((number, request))
        said = len(self.requests) - 1
        steps = self.script[min(said, len(self.script) - 1)] if self.script else _OK
        if not self.script and request.startswith(b"HEAD"):
            steps = _OK[:-2]
        for step in (steps,) if isinstance(steps, bytes) else steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Await):
                while step.mark not in seen[start:]:
                    data = await reader.read(65536)
                    if not data:
                        return False
                    seen += data
                self.requests[said] = (number, bytes(seen[start:]))
            elif not act(step, writer.transport):
                return False
        return True

    async def stop(self) -> None:
        """End what is left."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def whole(request: bytes) -> bool:
    """Say whether a request is all there, by the framing that we ourselves write."""
    top, mark, rest = request.partition(b"\r\n\r\n")
    if not mark:
        return False
    if b"\r\ntransfer-encoding: chunked" in top:
        return rest.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(top + b"\r\n")
    return len(rest) >= (int(length[1]) if length else 0)


def act(what: Act, transport: Any) -> bool:
    """Do something to a connection; return whether it goes on."""
    if what == END:
        transport.write_eof()
        return True
    if what in (HOLD, READ):
        transport.pause_reading() if what == HOLD else transport.resume_reading()
        return True
    if what == BREAK:
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
        return False
    assert what == BYE
    transport.close()
    return False


class World:
    """What an entry's client speaks to."""

    def __init__(self, server: Server, recorder: Recorder) -> None:
        self.server = server
        self.recorder = recorder
        self.seen: list[tuple[str, str, str, bytes]] = []  # by the handler of a plain server


@asynccontextmanager
async def world(entry: Entry, *, gateway: bool) -> AsyncIterator[World]:
    """Build the world of one entry: nothing of it was used before, and nothing is left of it."""
    recorder = Recorder(entry.upstream)
    async with AsyncExitStack() as held:
        if gateway:
            server = await _gateway(entry, recorder, held)
            made = World(server, recorder)
        else:
            server, made = _alone(entry, recorder)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        sock.setblocking(False)
        await server.start(sock)
        held.push_async_callback(server.stop)
        yield made


async def _gateway(entry: Entry, recorder: Recorder, held: AsyncExitStack) -> Server:
    listener = await asyncio.start_server(recorder.serve, "127.0.0.1", 0, limit=1 << 20)
    port = listener.sockets[0].getsockname()[1]
    held.push_async_callback(recorder.stop)
    held.callback(listener.close)

    def connect(name: str, _: str) -> Pool:
        return Pool("127.0.0.1", port, name=name, stamp=deadline_line)

    upstream = Upstream("service", entry.gateway, connect, random=Random(7).random)
    held.push_async_callback(upstream.close)
    upstream.update([Member("service-1", f"tcp:127.0.0.1:{port}", 1, routable=True)])
    fields = {"path": "/", "public": True, "prefix": True, **dict(entry.route)}
    door = Door(
        [RouteEntry("*", service="service", **fields)],
        {"service": upstream},
        Trust(lambda _: None, _nobody, _mint),
        entry.gateway,
        local={},
        shedder=Shedder("shedder"),
    )
    server = Server(
        door.handler,
        entry.settings,
        drive=Drive.EAGER,
        intake=door.intake,
        problem=door.problem,
    )
    server.full = door.full()
    door.refused = server.refused
    return server


def _alone(entry: Entry, recorder: Recorder) -> tuple[Server, World]:
    async def handler(call: Call[Request]) -> Response:
        request = call.payload
        if request.path == PROBE:
            return Response(200, body=PROBED)
        if entry.serve is not None:
            return await entry.serve(call)
        body = await request.body.read()
        made.seen.append((request.method, request.path, request.query, body))
        return Response(200, body=b"ok")

    server = Server(handler, entry.settings, drive=Drive.PARKED, on_defect=lambda *_: None)
    made = World(server, recorder)
    return server, made


async def _nobody(token: str) -> Any:
    raise Fault(Code.UNAUTHENTICATED, f"{token!r} is no token")


def _mint(vouched: Vouched, service: str, method: str, path: str, request_id: str) -> str:
    return "T"
