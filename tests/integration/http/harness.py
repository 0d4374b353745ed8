"""What the tests of the room share: a server on a free port, and clients that speak raw bytes.

Answers are read by h11, a parser of somebody else's.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h11

from switchgear.http.message import Request, Response, StreamResponse, json_response
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.policy.call import Call

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def listen() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    return sock


@asynccontextmanager
async def serving(
    handler: Any,
    settings: ServerSettings | None = None,
    *,
    drive: Drive = Drive.PARKED,
    **options: Any,
) -> AsyncIterator[Server]:
    """Run a server; when the test is done, nothing of it may be left."""
    server = Server(handler, settings, drive=drive, **options)
    await server.start(listen())
    try:
        yield server
    finally:
        await server.stop()
        assert not server.connections
        assert server.sweep.armed == 0 or not server.census.total


@asynccontextmanager
async def pooled(port: int, settings: ClientSettings | None = None, **options: Any) -> Any:
    """Open a pool to a port; close it after the test."""
    pool = Pool("127.0.0.1", port, settings, name="upstream", **options)
    try:
        yield pool
    finally:
        await pool.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def raw_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run an upstream that says whatever `talk` writes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def reluctant(port: int) -> socket.socket:
    """Connect as a client that takes little at a time."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


class Raw:
    """A client that sends what it is told, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> "Raw":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), 5)

    async def rest(self) -> bytes:
        """Read until the server closes; a reset counts as a close."""
        parts = []
        try:
            while part := await asyncio.wait_for(self.reader.read(65536), 10):
                parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def answers(data: bytes, methods: Sequence[str] = ("GET",)) -> list[Answer]:
    """Read the answers to requests of `methods`, strictly. A cut answer is an error."""
    read = []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(data)
    client.receive_data(b"")
    for number, method in enumerate(methods):
        if number:
            client.start_next_cycle()
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif not isinstance(event, h11.InformationalResponse):
                raise AssertionError(f"the answer was cut: {event!r}")
        read.append(Answer(status, headers, body))
    return read


async def ask(port: int, data: bytes, methods: Sequence[str] = ("GET",)) -> list[Answer]:
    """Send bytes, read until the server closes, and return the answers."""
    client = await Raw.to(port)
    await client.send(data)
    got = await client.rest()
    await client.close()
    return answers(got, methods)


def call(
    method: str = "GET", target: str = "/", *, within: float = 5.0, repeatable: bool = False,
    **options: Any,
) -> Call[Request]:  # fmt: skip
    """Make a call to send through a pool."""
    return Call(
        Request.of(method, target, **options), time.perf_counter() + within, repeatable=repeatable
    )


async def echo(call: Call[Request]) -> Response:
    """Say what was received."""
    request = call.payload
    body = await request.body.read()
    return json_response(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": [list(pair) for pair in request.headers],
            "body": body.decode("latin-1"),
        }
    )


def streaming(*parts: bytes, length: int | None = None, pause: float = 0.0) -> StreamResponse:
    async def make() -> AsyncIterator[bytes]:
        for part in parts:
            await asyncio.sleep(pause)
            yield part

    return StreamResponse.of(make(), length=length)
