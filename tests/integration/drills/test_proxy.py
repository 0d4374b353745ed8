"""The fault proxy on real sockets, on asyncio and on uvloop."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from switchgear.drills.address import Address, Listener, dial
from switchgear.drills.injection import Cut, Delay, Drip, Garble, Hang, Refuse, Reset, Slice
from switchgear.drills.pipe import reset
from switchgear.drills.proxy import Proxy

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANY = Address("127.0.0.1")
PATIENCE = 0.15  # how long "nothing comes" is watched; never a bound on something that comes

pytestmark = pytest.mark.usefixtures("loop_factory")


class Upstream:
    """A server of a few lines, that remembers how its connections ended."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.endings: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.address = ANY

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.create_task(self.run(reader, writer)))

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
            self.endings.append("end")
        except ConnectionError:
            self.endings.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def upstream(serve: Serve, address: Address = ANY) -> AsyncIterator[Upstream]:
    server = Upstream(serve)
    listener = Listener(address, server.accept)
    await listener.open()
    server.address = listener.address
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Count what comes until the client has finished, then say how much it was."""
    size = 0
    while data := await reader.read(65536):
        size += len(data)
    writer.write(b"%d" % size)


async def hundred(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a hundred bytes for every byte that comes."""
    while await reader.read(1):
        writer.write(b"0123456789" * 10)
        await writer.drain()


@asynccontextmanager
async def proxied(serve: Serve) -> AsyncIterator[tuple[Proxy, Upstream]]:
    async with upstream(serve) as server, Proxy(ANY, server.address, seed=7) as proxy:
        print("seed", proxy.seed)
        yield proxy, server


@asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await dial(proxy.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    try:
        await asyncio.wait_for(reader.read(1), PATIENCE)
    except TimeoutError:
        return True
    return False


async def settled(proxy: Proxy) -> None:
    """Wait until the proxy holds no connection."""
    while proxy.statistics().live:
        await asyncio.sleep(0.005)


async def test_a_megabyte_goes_both_ways_unchanged_and_is_counted() -> None:
    data = random.Random(1).randbytes(1_000_000)
    async with proxied(echo) as (proxy, _), client(proxy) as (reader, writer):
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.write_eof()
        assert await reader.read() == b""
        await settled(proxy)
        figures = proxy.statistics()
        assert (figures.up_bytes, figures.down_bytes) == (len(data), len(data))
        assert figures.injected == {}


async def test_a_half_closed_connection_still_answers() -> None:
    async with proxied(swallow) as (proxy, server), client(proxy) as (reader, writer):
        writer.write(b"x" * 5000)
        writer.write_eof()
        assert await reader.read() == b"5000"
        assert server.endings == ["end"]


async def test_a_slow_reader_slows_the_sender() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 * 1024 * 1024:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with proxied(flood) as (proxy, _), client(proxy) as (reader, _writer):
        await reader.readexactly(1)
        before = -1
        while before != sent:  # until the flood stands still
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 32 * 1024 * 1024


async def test_small_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm is off on all four sockets: a proxy that batches would add 40 ms."""
    async with proxied(echo) as (proxy, _), client(proxy) as (reader, writer):
        writer.write(b"ping")
        await reader.readexactly(4)
        (connection,) = proxy._live
        for _, carried in connection._streams:
            carrier = carried.get_extra_info("socket")
            assert carrier.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_client_that_resets_resets_the_upstream() -> None:
    async with proxied(echo) as (proxy, server):
        async with client(proxy) as (reader, writer):
            writer.write(b"hello")
            await reader.readexactly(5)
            reset(writer)
            await asyncio.sleep(0)
        await settled(proxy)
        while not server.endings:
            await asyncio.sleep(0.005)
        assert server.endings == ["reset"]
        assert proxy.statistics().injected == {}


async def test_an_upstream_that_is_gone_resets_the_client_and_is_not_called_injected() -> None:
    async with upstream(echo) as server:
        gone = server.address
    async with Proxy(ANY, gone, seed=7) as proxy, client(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await settled(proxy)
        assert proxy.statistics().upstream_failures == 1
        assert proxy.statistics().injected == {}


@pytest.mark.parametrize("after", [0, 1, 37, 99])
async def test_a_cut_response_ends_after_exactly_n_bytes_by_fin(after: int) -> None:
    async with proxied(hundred) as (proxy, _):
        await proxy.inject(Cut(direction="down", after_bytes=after))
        async with client(proxy) as (reader, writer):
            writer.write(b"x")
            assert await reader.read() == (b"0123456789" * 10)[:after]
        await settled(proxy)
        assert proxy.statistics().injected == {"cut": 1}


@pytest.mark.parametrize("after", [1, 37, 100])
async def test_a_reset_response_ends_after_exactly_n_bytes_by_rst(after: int) -> None:
    async with proxied(hundred) as (proxy, _):
        await proxy.inject(Reset(direction="down", after_bytes=after))
        async with client(proxy) as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(after) == (b"0123456789" * 10)[:after]
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        await settled(proxy)
        assert proxy.statistics().injected == {"reset": 1}


async def test_a_reset_switched_on_hits_live_connections_at_once() -> None:
    async with proxied(echo) as (proxy, server), client(proxy) as (reader, writer):
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        await proxy.inject(Reset())
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await settled(proxy)
        while not server.endings:
            await asyncio.sleep(0.005)
        assert server.endings == ["reset"]
        assert proxy.statistics().injected == {"reset": 1}


async def test_a_hang_holds_everything_and_lets_it_go_when_healed() -> None:
    async with proxied(echo) as (proxy, server):
        await proxy.inject(Hang())
        async with client(proxy) as (reader, writer):
            writer.write(b"late")
            assert await nothing_comes(reader)
            assert not server.tasks, "a hung proxy does not reach the upstream"
            assert proxy.statistics().injected == {"hang": 1}
            await proxy.heal()
            assert await reader.readexactly(4) == b"late"


async def test_a_hang_after_n_bytes_stops_in_the_middle() -> None:
    async with proxied(hundred) as (proxy, _), client(proxy) as (reader, writer):
        number = await proxy.inject(Hang(direction="down", after_bytes=40))
        writer.write(b"x")
        assert len(await reader.readexactly(40)) == 40
        assert await nothing_comes(reader)
        await proxy.heal(number)
        assert len(await reader.readexactly(60)) == 60


async def test_a_drip_goes_on_at_full_speed_once_healed() -> None:
    async with proxied(hundred) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Drip(direction="down", size=1, interval=3600))
        writer.write(b"x")
        assert await reader.readexactly(1) == b"0"
        assert await nothing_comes(reader)
        await proxy.heal()
        assert len(await reader.readexactly(99)) == 99
        assert proxy.statistics().injected == {"drip": 1}


async def test_a_drip_delivers_every_byte() -> None:
    async with proxied(hundred) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Drip(direction="down", size=7, interval=0.001))
        writer.write(b"x")
        assert await reader.readexactly(100) == b"0123456789" * 10
        assert proxy.statistics().injected == {"drip": 15}


async def test_slices_arrive_whole_and_in_order() -> None:
    async with proxied(hundred) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Slice(direction="down", size=1))
        writer.write(b"x")
        assert await reader.readexactly(100) == b"0123456789" * 10
        assert proxy.statistics().injected == {"slice": 100}


async def test_a_delay_holds_the_bytes_back_and_keeps_their_order() -> None:
    data = random.Random(2).randbytes(200_000)
    async with proxied(echo) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Delay(seconds=0.02, jitter=0.02))
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert loop.time() - began >= 0.035  # never early: two delays of at least 20 ms
        assert proxy.statistics().injected["delay"] >= 2


async def test_a_delay_of_an_hour_ends_when_it_is_healed() -> None:
    async with proxied(echo) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Delay(seconds=3600, direction="up"))
        writer.write(b"ping")
        assert await nothing_comes(reader)
        await proxy.heal()
        assert await reader.readexactly(4) == b"ping"


async def test_garble_changes_the_byte_at_its_offset_only() -> None:
    async with proxied(hundred) as (proxy, _), client(proxy) as (reader, writer):
        await proxy.inject(Garble(direction="down", after_bytes=42))
        writer.write(b"x")
        got = await reader.readexactly(100)
        expected = b"0123456789" * 10
        assert [at for at in range(100) if got[at] != expected[at]] == [42]
        assert proxy.statistics().injected == {"garble": 1}


async def test_a_closed_listener_refuses_and_keeps_its_port() -> None:
    async with proxied(echo) as (proxy, _):
        async with client(proxy) as (reader, writer):
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            address = proxy.address
            await proxy.inject(Refuse())
            with pytest.raises(ConnectionRefusedError):
                await dial(address)
            writer.write(b"pong")
            assert await reader.readexactly(4) == b"pong", "a live connection goes on"
            await proxy.heal()
        assert proxy.address == address
        async with client(proxy) as (reader, writer):
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"


async def test_a_refusal_by_reset_is_counted_for_each_connection() -> None:
    async with proxied(echo) as (proxy, _):
        await proxy.inject(Refuse(how="reset"))
        for _ in range(3):
            async with client(proxy) as (reader, _writer):
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)
        assert proxy.statistics().injected == {"refuse": 3}


async def test_a_reset_reaches_a_connection_whose_reader_does_not_read() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with proxied(flood) as (proxy, _), client(proxy) as (reader, _writer):
        await reader.readexactly(1)
        await asyncio.sleep(0.05)
        await proxy.inject(Reset())
        await settled(proxy)
        assert proxy.statistics().injected == {"reset": 1}


async def test_it_proxies_from_and_to_unix_sockets(tmp_path: Path) -> None:
    behind, front = Address(path=str(tmp_path / "b")), Address(path=str(tmp_path / "f"))
    async with upstream(hundred, behind), Proxy(front, behind, seed=7) as proxy:
        async with client(proxy) as (reader, writer):
            writer.write(b"x")
            assert len(await reader.readexactly(100)) == 100
        await proxy.inject(Cut(direction="down", after_bytes=50))
        async with client(proxy) as (reader, writer):
            writer.write(b"x")
            assert len(await reader.read()) == 50
        await proxy.heal()
        await proxy.inject(Refuse())
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            await dial(front)
    assert not (tmp_path / "f").exists()


async def test_closing_leaves_nothing_behind() -> None:
    async with upstream(echo) as server:
        proxy = Proxy(ANY, server.address, seed=7)
        await proxy.start()
        async with client(proxy) as (reader, writer):
            writer.write(b"ping")
            await reader.readexactly(4)
            await proxy.close()
            with pytest.raises(ConnectionError):
                await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await dial(proxy.address)
        assert proxy.statistics().live == 0
