"""Sessions that bring many messages at once: others have their turn among them, and all arrive."""

import asyncio
from typing import Any

import pytest

from switchgear.http.frames import TEXT, encode, encode_close
from switchgear.http.handshake import accept_of, new_key
from switchgear.http.message import Request, Response
from switchgear.http.session import READ_AHEAD
from switchgear.http.settings import SocketSettings
from switchgear.http.websocket import WebSocket, connect, upgrade
from switchgear.policy.call import Call
from tests.integration.http.harness import Raw, call, pooled, raw_server, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

MANY = 20_000


async def test_who_takes_one_message_after_the_other_leaves_others_their_turn(
    loop_factory: Any,
) -> None:
    """What had been read was given out in one go: 6 bytes each, and the loop stood for 0.2 s."""
    loop = asyncio.get_running_loop()
    turn = seen = most = 0
    going = True

    def tick() -> None:
        nonlocal turn
        turn += 1
        if going:
            loop.call_soon(tick)

    async def session(socket: WebSocket) -> None:
        nonlocal seen, most
        last = of_turn = 0
        while await socket.receive() is not None:
            of_turn = of_turn + 1 if turn == last else 1
            last = turn
            most = max(most, of_turn)
            seen += 1

    async def handler(one: Call[Request]) -> Response:
        return upgrade(one.payload, session)

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % new_key().encode()
        )
        await client.until(b"\r\n\r\n")
        tick()
        await client.send(encode(TEXT, b"", masked=True) * MANY)
        await client.send(encode_close(1000, "", masked=True))
        assert (await client.rest())[:1] == b"\x88"
        await client.close()
        going = False
    assert seen == MANY
    assert most <= 2 * (SocketSettings().queue + READ_AHEAD)


async def test_what_was_read_before_a_loss_is_delivered_however_much_it_was(
    loop_factory: Any,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        keys = [line for line in head.split("\r\n") if line.startswith("sec-websocket-key: ")]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_of(keys[0].split(": ")[1]).encode()
        )
        await writer.drain()
        await go.wait()
        writer.write(encode(TEXT, b"", masked=False) * MANY)
        await writer.drain()

    go, seen = asyncio.Event(), 0
    async with raw_server(talk) as port, pooled(port) as pool:
        socket = await connect(pool, call())
        go.set()
        assert await socket.receive() == ""
        socket.transport.abort()  # amid what was read in one go
        await asyncio.sleep(0.01)
        while await socket.receive() is not None:
            seen += 1
    assert seen > 2 * (SocketSettings().queue + READ_AHEAD)
