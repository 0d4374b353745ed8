"""How sessions end while their peers are still sending, on asyncio and on uvloop (rule 30)."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from switchgear.http.frames import BINARY, PING, encode, encode_close
from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from switchgear.http.websocket import WebSocket
from tests.integration.http.harness import Raw, pooled, serving
from tests.integration.http.test_websocket import HANDSHAKE, echo, endpoint

pytestmark = pytest.mark.usefixtures("loop_factory")

RESET = struct.pack("ii", 1, 0)
MUCH = 8 << 20
FLOODS = {
    "a message over the limit": (encode(BINARY, bytes(MUCH), masked=True), 1009),
    "a broken frame": (b"\x83\x80\0\0\0\0" + bytes(MUCH), 1002),
    "a session that fails": (encode(BINARY, bytes(1000), masked=True) * (MUCH // 1000), 1011),
}


@pytest.mark.parametrize(("flood", "code"), FLOODS.values(), ids=FLOODS)
async def test_who_is_still_sending_reads_why_its_session_has_ended(
    loop_factory: Any, flood: bytes, code: int
) -> None:
    """A socket that is closed with bytes unread is reset, and the close frame is lost with it."""

    async def session(socket: WebSocket) -> None:
        if await socket.receive() is not None:
            raise ZeroDivisionError

    async with serving(endpoint(session), on_defect=lambda *_: None) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        await client.until(b"\r\n\r\n")
        await client.send(flood)
        got = await client.rest()
        assert got[:1] == b"\x88"
        assert int.from_bytes(got[2:4], "big") == code
        await client.close()


@pytest.mark.parametrize(("flood", "code"), FLOODS.values(), ids=FLOODS)
async def test_who_is_still_sending_through_a_gateway_reads_it_too(
    loop_factory: Any, flood: bytes, code: int
) -> None:
    async def session(socket: WebSocket) -> None:
        if await socket.receive() is not None:
            raise ZeroDivisionError

    async with (
        serving(endpoint(session), on_defect=lambda *_: None) as service,
        pooled(service.port) as pool,
        serving(pool, drive=Drive.EAGER) as server,
    ):
        for _ in range(3):
            client = await Raw.to(server.port)
            await client.send(HANDSHAKE + b"\r\n")
            await client.until(b"\r\n\r\n")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it has one
            sending = asyncio.ensure_future(client.send(flood))
            await asyncio.wait([sending], timeout=0.3)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
            got = await client.rest()
            await asyncio.gather(sending, return_exceptions=True)
            assert got[:1] == b"\x88"
            assert int.from_bytes(got[2:4], "big") == code
            await client.close()
        async with asyncio.timeout(10):
            while server.connections or service.connections:
                await asyncio.sleep(0.01)


async def test_who_has_said_goodbye_through_a_gateway_is_not_waited_for(loop_factory: Any) -> None:
    """He waits for the server to close (RFC 6455 section 7.1.1), and has nothing more to send."""
    async with (
        serving(endpoint(echo)) as service,
        pooled(service.port) as pool,
        serving(pool, ServerSettings(linger=60.0), drive=Drive.EAGER) as server,
    ):
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        await client.until(b"\r\n\r\n")
        await client.send(encode(BINARY, b"hello", masked=True))
        await client.until(encode(BINARY, b"hello", masked=False))
        for number in encode_close(1000, "", masked=True):
            await client.send(bytes([number]))
        assert await client.rest() == encode_close(1000, "", masked=False)
        async with asyncio.timeout(10):
            while server.connections:
                await asyncio.sleep(0.01)
        await client.close()


async def test_pings_of_who_does_not_read_are_answered_by_the_last(loop_factory: Any) -> None:
    """Each was answered into a buffer without end (RFC 6455 section 5.5.3)."""

    async def session(socket: WebSocket) -> None:
        while await socket.receive() is not None:
            pass

    async with serving(endpoint(session)) as server:
        client = await Raw.to(server.port)
        await client.send(HANDSHAKE + b"\r\n")
        await client.until(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it has one
        flood = encode(PING, b"x" * 125, masked=True) * 1000
        for _ in range(200):
            await client.send(flood)
        await client.send(encode(PING, b"the last", masked=True))
        await asyncio.sleep(0.2)
        (connection,) = server.connections
        assert connection.transport.get_write_buffer_size() < 1 << 20
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        got = b""
        async with asyncio.timeout(10):
            while not got.endswith(b"\x8a\x08the last"):
                got += await client.reader.read(65536)
        await client.close()


async def test_a_session_whose_peer_is_gone_watches_it_no_longer(loop_factory: Any) -> None:
    """Frames that had come before are still read, a few at a time."""

    async def session(socket: WebSocket) -> None:
        while await socket.receive() is not None:
            pass

    async with serving(endpoint(session)) as server:
        for _ in range(3):
            client = await Raw.to(server.port)
            await client.send(HANDSHAKE + b"\r\n")
            await client.until(b"\r\n\r\n")
            await client.send(encode(PING, b"", masked=True) * 3000)
            raw = client.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.writer.transport.abort()
        async with asyncio.timeout(10):
            while server.connections or server.counters.accepted < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert server.sweep.armed == 0
