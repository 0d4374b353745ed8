"""Peers whose messages wait for a session that is busy: they are not silent, and may leave."""

import asyncio
import socket
import struct
from time import perf_counter
from typing import Any

import pytest
from websockets.asyncio.client import connect as theirs

from switchgear.http.corked import Corked
from switchgear.http.frames import BINARY, encode
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings, SocketSettings
from switchgear.http.websocket import WebSocket
from tests.integration.http.harness import Raw, pooled, serving
from tests.integration.http.test_websocket import HANDSHAKE, endpoint, url

pytestmark = pytest.mark.usefixtures("loop_factory")

RESET = struct.pack("ii", 1, 0)


async def busy_client(port: int) -> Raw:
    """Send to a session that reads nothing, until nobody takes any more."""
    client = await Raw.to(port)
    await client.send(HANDSHAKE + b"\r\n")
    await client.until(b"\r\n\r\n")
    sending = asyncio.ensure_future(client.send(encode(BINARY, bytes(100_000), masked=True) * 300))
    await asyncio.wait([sending], timeout=0.3)
    assert not sending.done()
    sending.cancel()
    return client


def reset(client: Raw) -> None:
    raw = client.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.writer.transport.abort()


async def gone(server: Server, within: float) -> None:
    end = perf_counter() + within
    while server.connections:
        assert perf_counter() < end, "it is still there"
        await asyncio.sleep(0.01)


async def test_a_peer_that_waits_for_a_busy_session_is_not_silent(loop_factory: Any) -> None:
    """Its answer to our ping stood behind what we did not read, and it was dropped for that."""
    seen = 0

    async def session(socket: WebSocket) -> None:
        nonlocal seen
        await asyncio.sleep(0.6)
        while await socket.receive() is not None:
            seen += 1

    quick = SocketSettings(ping_every=0.1, pong_within=0.1)
    async with (
        serving(endpoint(session, settings=quick)) as server,
        theirs(url(server), compression=None) as peer,
    ):
        for _ in range(200):
            await peer.send("x")
        await asyncio.sleep(0.8)
    assert seen == 200


@pytest.mark.pure  # a method is replaced
async def test_who_is_read_again_has_time_for_the_answer_that_waits_to_be_read(
    loop_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our ping's time is over by then; an alarm before the first bytes would take it for silent."""
    asked: list[float] = []
    resume = Corked.resume_reading

    async def session(socket: WebSocket) -> None:
        def resumed(transport: Corked) -> None:
            if transport is socket.transport:
                asked.append(socket._pulse._asked)
            resume(transport)

        await asyncio.sleep(0.6)
        asked.append(socket._pulse._asked)
        monkeypatch.setattr(Corked, "resume_reading", resumed)
        while len(asked) < 2:
            await socket.receive()

    quick = SocketSettings(ping_every=0.1, pong_within=0.1)
    async with serving(endpoint(session, settings=quick)) as server:
        client = await busy_client(server.port)
        async with asyncio.timeout(5):
            while len(asked) < 2:
                await asyncio.sleep(0.01)
        await client.close()
    assert asked[0]
    assert not asked[1]


async def test_a_peer_that_leaves_a_busy_session_is_found_out(loop_factory: Any) -> None:
    ended = asyncio.Event()

    async def session(_: WebSocket) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    quick = SocketSettings(ping_every=0.1, pong_within=0.1)
    async with serving(endpoint(session, settings=quick)) as server:
        reset(await busy_client(server.port))
        await asyncio.wait_for(ended.wait(), 5)
        await gone(server, 5)


async def test_a_peer_that_leaves_it_behind_a_gateway_is_found_out(loop_factory: Any) -> None:
    """A gateway that holds a client back does not read that he leaves."""

    async def session(_: WebSocket) -> None:
        await asyncio.sleep(60)

    quick = SocketSettings(ping_every=0.1, pong_within=0.1)
    async with (
        serving(endpoint(session, settings=quick)) as service,
        pooled(service.port) as pool,
        serving(pool, ServerSettings(session_idle=30.0), drive=Drive.EAGER) as server,
    ):
        reset(await busy_client(server.port))
        await gone(server, 5)
        await gone(service, 10)  # it has 5 s to take what was sent before


async def test_a_gateway_finds_out_by_itself_that_a_peer_has_left(loop_factory: Any) -> None:
    """Nobody pings meanwhile, which it would write to him, and so find out as well."""

    async def session(_: WebSocket) -> None:
        await asyncio.sleep(60)

    async with (
        serving(endpoint(session)) as service,
        pooled(service.port) as pool,
        serving(pool, ServerSettings(session_idle=30.0), drive=Drive.EAGER) as server,
    ):
        reset(await busy_client(server.port))
        await gone(server, 5)
