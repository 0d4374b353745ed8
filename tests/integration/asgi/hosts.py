"""What the tests of the ASGI host share: apps on a real socket, and clients of several kinds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from switchgear.http.asgi import AsgiHost
from switchgear.http.server import Drive, Server
from switchgear.http.settings import SocketSettings
from tests.integration.http.harness import Raw, answers, listen

App = Callable[[Any, Any, Any], Awaitable[None]]


class Hosted:
    """An app, served; `defects` is what it raised, as the host or the server tell it."""

    def __init__(self, host: AsgiHost, server: Server, defects: list[BaseException]) -> None:
        self.host = host
        self.server = server
        self.port = server.port
        self.defects = defects
        self.url = f"http://127.0.0.1:{server.port}"
        self.ws = f"ws://127.0.0.1:{server.port}"

    async def raw(self, *lines: str, body: bytes = b"") -> Raw:
        """Send a request as it stands, and return its connection."""
        client = await Raw.to(self.port)
        await client.send("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)
        return client

    async def said(self, *lines: str, body: bytes = b"") -> bytes:
        """Send a request that is the last of its connection; return every byte that came."""
        client = await self.raw(*lines, "Connection: close", body=body)
        got = await client.rest()
        await client.close()
        return got

    async def ask(self, target: str = "/", method: str = "GET", *lines: str) -> Any:
        """Ask by raw bytes; return the answer as h11 reads it."""
        got = await self.said(f"{method} {target} HTTP/1.1", "Host: a.example", *lines)
        return answers(got, [method])[0]


@asynccontextmanager
async def hosted(
    app: Any,
    settings: Any = None,
    *,
    root_path: str = "",
    drive: Drive = Drive.EAGER,
    socket: SocketSettings | None = None,
    lifespan: bool = False,
) -> AsyncIterator[Hosted]:
    """Serve an app; afterwards it has ended, and nothing is left of it.

    It is asked for its lifespan only if `lifespan` says that it has one.
    """
    defects: list[BaseException] = []

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and not lifespan:
            raise NotImplementedError
        await app(scope, receive, send)

    host = AsgiHost(
        served, root_path, on_defect=lambda error, _: defects.append(error), socket=socket
    )
    await host.start()
    server = Server(host, settings, drive=drive, on_defect=lambda error, _: defects.append(error))
    await server.start(listen())
    try:
        yield Hosted(host, server, defects)
    finally:
        await server.stop()
        await host.stop()
        assert host.running == 0
        assert not server.connections


@asynccontextmanager
async def browsing(app: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an app, and open a client of it."""
    async with (
        hosted(app, lifespan=True, **options) as at,
        httpx.AsyncClient(base_url=at.url) as client,
    ):
        yield client


async def until(so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not so():
            await asyncio.sleep(0.005)


async def read_body(receive: Any) -> bytes:
    """Take the whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    return body


async def answer(send: Any, body: bytes = b"", status: int = 200, *headers: Any) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


LOOPS = pytest.mark.usefixtures("loop_factory")
