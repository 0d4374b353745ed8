"""A world without a network: one loop in virtual time for all inputs, and wires in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from switchgear.core.handler import Handler
from switchgear.core.sweep import sweep_of
from switchgear.http.client import Upstream
from switchgear.http.connection import Connection
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.http.spoken import Speaker
from switchgear.policy.call import Call
from switchgear.testing.virtual import VirtualLoop, clock
from tests.support.transport import Transport

__all__ = ["CLIENT", "SERVER", "Dials", "Wire", "connected", "drive", "settle", "turns", "wired"]

Result = TypeVar("Result")

# Limits that short inputs reach.
SERVER: Final = ServerSettings(
    body_bytes=600, head_bytes=900, head_lines=20, target_bytes=300, buffer_bytes=1000
)
CLIENT: Final = ClientSettings(head_bytes=600, head_lines=12, buffer_bytes=500)
LONG: Final = 100.0  # seconds: every deadline of the edge is over by then
DATE: Final = 784111777.0


class _World:
    """The loop, made anew when an input has left something behind."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self.errors: list[dict[str, Any]] = []

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        loop = self.loop
        if loop is None:
            loop = self.loop = VirtualLoop()
            loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.errors.clear()
        try:
            result = loop.run_until_complete(main)
            if self.errors:
                raise AssertionError(f"the loop was told of {self.errors}")
            left = asyncio.all_tasks(loop)
            assert not left, f"left behind: {left}"
            assert sweep_of(loop, clock).armed == 0, "an alarm is still armed"
        except BaseException:
            self.loop = None
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            raise
        return result


_world: Final = _World()


def drive(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end in virtual time; nothing may be left: no task, no alarm, no error."""
    return _world.run(main)


async def turns(count: int = 6) -> None:
    """Let what is ready happen, without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


class Wire(Transport):
    """A transport that keeps what is written, and hands over what is fed while it is read."""

    def __init__(self, protocol: Speaker) -> None:
        super().__init__(protocol)
        self.sent = b""
        self.ended = False
        self.aborted = False
        self.gone = False  # connection_lost was called
        self.on_write: Callable[[bytes], None] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed or not data:
            return
        assert not self.ended, "written after the end"
        self.sent += data
        if self.on_write is not None:
            self.on_write(bytes(data))

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = self.aborted or not self.closed
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self.gone = True
        self.protocol.connection_lost(error)

    def reset(self) -> None:
        """Let the peer reset the connection."""
        self._end(ConnectionResetError("reset by the peer"))

    def finish(self) -> None:
        """Let the peer end its side."""
        if not self.closed and not self.protocol.eof_received():
            self._end(None)

    async def feed(self, given: list[bytes], watch: Callable[[int], None]) -> None:
        """Hand over pieces, each while the protocol reads; `watch` sees each size that was fed."""
        for piece in given:
            waited = 0
            while not self.reading and not self.closed:
                await turns(1)
                waited += 1
                if waited > 50:  # whoever holds it up has a deadline
                    await asyncio.sleep(0.05)
                assert waited < 4000, "it does not read on"
            if self.closed:
                return
            self.protocol.data_received(piece)
            watch(len(piece))
            await turns(2)


def connected(
    handler: Handler[Request, Response], drive: Drive, **options: Any
) -> tuple[Server, Connection, Wire]:
    """Make a server with one connection."""
    server = Server(
        handler, SERVER, drive=drive, clock=clock, wall=lambda: DATE, on_defect=_defect, **options
    )
    server.loop = asyncio.get_running_loop()
    server.sweep = sweep_of(server.loop, clock)
    connection = Connection(server)
    wire = Wire(connection)
    connection.connection_made(wire)
    return server, connection, wire


def _defect(error: BaseException, call: Call[Request]) -> None:
    _world.errors.append({"message": f"a defect: {error!r}", "call": call})


async def settle(server: Server, wire: Wire) -> None:
    """Let all deadlines pass: whatever came, the connection must be over then."""
    if not wire.gone:
        await asyncio.sleep(LONG)
        await turns()
    assert wire.gone, "the connection is still open"
    assert not server.connections


class Dials:
    """Dials for a pool whose connections are wires; `opened` is told of each."""

    def __init__(self, opened: Callable[[Wire], None] | None = None) -> None:
        self.wires: list[Wire] = []
        self.opened = opened

    async def __call__(self, pool: Pool) -> Upstream:
        upstream = Upstream(pool)
        wire = Wire(upstream)
        upstream.connection_made(wire)
        self.wires.append(wire)
        if self.opened is not None:
            self.opened(wire)
        return upstream


def wired(dials: Dials) -> Pool:
    """Make a pool whose connections are wires."""
    return Pool(
        "upstream.test", 80, CLIENT, name="up", stamp=deadline_line, clock=clock, dialler=dials
    )
