"""Sessions that pass through a process on its way out."""

import asyncio

from switchgear.http.frames import BINARY, TEXT, Closing, Frame, FrameReader, encode
from switchgear.http.handshake import accept_of
from switchgear.http.server import Drive
from tests.integration.http.harness import Raw, pooled, raw_server, serving

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SHAKE = (
    b"GET /talk HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY.encode()
)


async def test_a_message_under_way_is_ended_before_the_leave_is_taken() -> None:
    message = encode(BINARY, b"x" * 300, masked=False)
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_of(KEY).encode()
        )
        writer.write(encode(TEXT, b"hello", masked=False) + message[:100])
        await go.wait()
        writer.write(message[100:])
        await reader.read()

    async with (
        raw_server(talk) as port,
        pooled(port) as pool,
        serving(pool, drive=Drive.EAGER) as server,
    ):
        client = await Raw.to(server.port)
        await client.send(SHAKE)
        await client.until(b"\r\n\r\n")
        await client.until(message[:100])
        draining = asyncio.ensure_future(server.drain(5.0))
        await asyncio.sleep(0.05)
        assert not draining.done()
        go.set()
        events = FrameReader(1000, masked=False).feed(message[:100] + await client.rest())
        assert events[0] == Frame(BINARY, b"x" * 300)
        assert isinstance(events[1], Closing)
        assert events[1].code == 1012
        assert await draining
        await client.close()
