"""A transport without a network, for tests in virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

from switchgear.core.sweep import sweep_of
from switchgear.http.client import Upstream
from switchgear.http.connection import Connection
from switchgear.http.corked import outbox_of
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.room import Room
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.http.spoken import Speaker
from switchgear.policy.call import Call
from switchgear.testing.virtual import clock
from tests.support.transport import Transport


class Wire(Transport):
    """Keeps what is written; `unsent` is what the peer has not read yet."""

    def __init__(self, protocol: Speaker) -> None:
        super().__init__(protocol)
        self._sent = b""
        self.unsent = 0
        self.high = 65536
        self.ended = False  # by write_eof
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self._sent += bytes(data)

    @property
    def sent(self) -> bytes:
        """What has left by the end of the present turn of the loop."""
        outbox_of(asyncio.get_running_loop()).flush()
        return self._sent

    def block(self, unsent: int) -> None:
        """Let the peer stop reading with so many bytes on their way."""
        self.unsent = unsent
        self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.unsent:
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0


def serve(
    handler: Callable[[Call[Request]], Any],
    settings: ServerSettings | None = None,
    **options: Any,
) -> tuple[Server, Connection, Wire]:
    """Make a server with one connection, in virtual time."""
    server = Server(handler, settings, drive=Drive.EAGER, clock=clock, **options)
    server.loop = asyncio.get_running_loop()
    server.sweep = sweep_of(server.loop, clock)
    connection = Connection(server)
    wire = Wire(connection)
    connection.connection_made(wire)
    return server, connection, wire


class Dials:
    """Dials for a pool whose connections are wires. Nobody answers while it is `down`."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.wires: list[Wire] = []
        self.down = False
        self.greeting = greeting  # what comes unasked

    async def __call__(self, pool: Pool) -> Upstream:
        if self.down:
            raise OSError("nobody there")
        upstream = Upstream(pool)
        wire = Wire(upstream)
        upstream.connection_made(wire)
        self.wires.append(wire)
        if self.greeting:
            upstream.data_received(self.greeting)
        return upstream


def wired(
    settings: ClientSettings | None = None, room: Room | None = None, greeting: bytes = b""
) -> Pool:
    """Make a pool whose connections are wires."""
    dials = Dials(greeting)
    return Pool("upstream.test", 80, settings, clock=clock, room=room, dialler=dials)


def dials(pool: Pool) -> Dials:
    assert isinstance(pool.dialler, Dials)
    return pool.dialler


def wires(pool: Pool) -> list[Wire]:
    return dials(pool).wires


async def ok(call: Call[Request]) -> Response:
    return Response(200, body=b"ok")


async def read(call: Call[Request]) -> Response:
    return Response(200, body=await call.payload.body.read())
