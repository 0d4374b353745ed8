"""Sessions that pass through a process on its way out."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from switchgear.http.frames import BINARY, TEXT, Closing, Frame, FrameReader, encode
from switchgear.http.handshake import accept_of
from switchgear.http.server import Drive, Server
from tests.integration.http.harness import Raw, pooled, raw_server, serving

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SHAKE = (
    b"GET /talk HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY.encode()
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_of(KEY).encode()
)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def passing(talk: Talk) -> AsyncIterator[Server]:
    """A server through which sessions pass to an upstream that talks so."""
    async with (
        raw_server(talk) as port,
        pooled(port) as pool,
        serving(pool, drive=Drive.EAGER) as server,
    ):
        yield server


async def shaken(port: int) -> Raw:
    """A client whose session is open."""
    client = await Raw.to(port)
    await client.send(SHAKE)
    await client.until(b"\r\n\r\n")
    return client


async def test_a_message_under_way_is_ended_before_the_leave_is_taken() -> None:
    message = encode(BINARY, b"x" * 300, masked=False)
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        writer.write(encode(TEXT, b"hello", masked=False) + message[:100])
        await go.wait()
        writer.write(message[100:])
        await reader.read()

    async with passing(talk) as server:
        client = await shaken(server.port)
        await client.until(message[:100])
        draining = asyncio.ensure_future(server.drain(5.0))
        await asyncio.sleep(0.05)
        assert not draining.done()
        go.set()
        events = FrameReader(1000, masked=False).feed(message[:100] + await client.rest())
        assert events[0] == Frame(BINARY, b"x" * 300)
        assert isinstance(events[1], Closing)
        assert events[1].code == 1012
        await client.close()
        assert await draining


async def test_who_is_still_sending_reads_that_it_is_to_connect_again() -> None:
    """Closed with bytes unread, its connection was reset, and the leave was lost with it."""
    flood = encode(BINARY, bytes(60_000), masked=True) * 600

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await writer.drain()
        await asyncio.sleep(0.4)  # it reads nothing, so that the client is held back
        await reader.read()

    async with passing(talk) as server:
        client = await shaken(server.port)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it has one
        sending = asyncio.ensure_future(client.send(flood))
        await asyncio.wait([sending], timeout=0.1)
        draining = asyncio.ensure_future(server.drain(5.0))
        await asyncio.wait([sending], timeout=0.2)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        (event,) = FrameReader(1000, masked=False).feed(await client.rest())
        assert isinstance(event, Closing)
        assert event.code == 1012
        await asyncio.gather(sending, return_exceptions=True)
        await client.close()
        assert await draining


async def test_an_upstream_that_resets_amid_large_frames_ends_the_session_and_no_more(
    loop_factory: Any,
) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    turns = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turns
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        turns += 1
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with passing(talk) as server:
        for _ in range(100):
            client = await Raw.to(server.port)
            client.writer.write(SHAKE)
            try:
                await client.until(b"\r\n\r\n")
                for _ in range(10):
                    client.writer.write(b"x" * 40_000)
                    await asyncio.sleep(0)
            except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):
                pass
            await client.close()
        assert errors == []
        assert server.counters.defects == 0


async def test_tiny_frames_arrive_whole_both_ways_before_the_leave(loop_factory: Any) -> None:
    """A loop that read megabytes of them in one go stood for seconds meanwhile."""
    tiny = encode(TEXT, b"", masked=True) * 100_000
    back = encode(TEXT, b"", masked=False) * 100_000
    came = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + back)
        got = await reader.readexactly(len(tiny))
        writer.write(back)
        await writer.drain()
        came.set_result(got == tiny)
        await reader.read()

    async with passing(talk) as server:
        client = await shaken(server.port)
        sending = asyncio.ensure_future(client.send(tiny))
        got = await client.reader.readexactly(2 * len(back))
        assert got == back * 2
        assert await came
        await sending
        draining = asyncio.ensure_future(server.drain(5.0))
        (event,) = FrameReader(1000, masked=False).feed(await client.rest())
        assert isinstance(event, Closing)
        assert event.code == 1012
        await client.close()
        assert await draining
