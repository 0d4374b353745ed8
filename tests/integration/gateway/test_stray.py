"""Bytes that nobody asked for, on the connections of a gateway's express way."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive, Server
from switchgear.policy.fault import Code, Fault
from switchgear.policy.shedder import Shedder
from tests.integration.http.harness import Raw, listen, raw_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"


class Gateway:
    """A gateway to one process; `meanwhile` runs between a head's arrival and its sending on."""

    def __init__(self, port: int) -> None:
        self.pools: list[Pool] = []
        self.meanwhile: Any = lambda: None
        settings = GatewaySettings()
        self.shedder = Shedder("shedder")
        self.upstream = Upstream(
            "service", settings, lambda name, _: self._connect(name, port), random=Random(7).random
        )
        self.upstream.update([Member("service-1", "x", 1, routable=True)])
        door = Door(
            [RouteEntry("*", "/", service="service", public=True, prefix=True)],
            {"service": self.upstream},
            Trust(lambda _: None, _nobody, lambda *_: "T"),
            settings,
            local={},
            shedder=self.shedder,
        )

        def intake(*given: Any) -> Any:
            self.meanwhile()
            return door.intake(*given)

        self.server = Server(
            door.handler, drive=Drive.EAGER, intake=intake, run=door.run, problem=door.problem
        )

    def _connect(self, name: str, port: int) -> Pool:
        pool = Pool("127.0.0.1", port, name=name, stamp=deadline_line)
        self.pools.append(pool)
        return pool


async def _nobody(token: str) -> Any:
    raise Fault(Code.UNAUTHENTICATED, "no token")


@asynccontextmanager
async def standing(talk: Any) -> AsyncIterator[Gateway]:
    async with raw_server(talk) as port:
        gateway = Gateway(port)
        await gateway.server.start(listen())
        try:
            yield gateway
        finally:
            await gateway.server.stop()
            await gateway.upstream.close()


@pytest.mark.parametrize("size", [0, 20_000])
async def test_what_came_before_the_request_left_is_not_its_answer(
    loop_factory: Any, size: int
) -> None:
    """No loop looks at its sockets between the arrival of a head and its sending on."""
    ends: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer.get_extra_info("socket").fileno())
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(size if b"content-length" in head else 0)
            writer.write(OK)

    async with standing(talk) as gateway:
        client = await Raw.to(gateway.server.port)
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.until(b"\r\n\r\nok")
        gateway.meanwhile = lambda: os.write(ends[0], STRAY)
        put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        await client.send(put + b"x" * size)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await client.reader.readexactly(2) == b"ok"
        assert len(ends) == 2
        assert gateway.pools[0].counters.retired == {"unanswered": 1}
        await client.close()
