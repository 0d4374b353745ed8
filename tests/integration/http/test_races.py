"""Two calls on one connection, of which one is called off as the other begins."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from switchgear.core.drivers import step
from switchgear.http.client import Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Response, Upgrade
from tests.integration.http.harness import call, pooled, raw_server, serving

SLOW = "/slow"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


async def answer(asked: Any) -> Response:
    if asked.payload.path == SLOW:
        await asyncio.sleep(0.2)
    return Response(200, Headers(), asked.payload.path.encode())


@pytest.mark.pure
async def test_who_is_called_off_takes_no_connection_from_its_next_user(loop_factory: Any) -> None:
    """The answer is there and the connection back in the pool, but its caller has not woken yet."""
    async with serving(answer) as server, pooled(server.port) as pool:
        await pool(call("GET", "/warm"))
        loop = asyncio.get_running_loop()
        found: list[object] = []

        async def second() -> None:
            try:
                found.append(await (await pool(call("GET", SLOW, within=5.0))).read())
            except Exception as error:
                found.append(error)

        def meanwhile() -> None:
            first.cancel()
            step(second())

        release = pool.release

        def released(connection: Upstream) -> None:
            pool.release = release
            release(connection)
            loop.call_soon(meanwhile)

        pool.release = released
        first = asyncio.ensure_future(pool(call("GET", "/first")))
        with pytest.raises(asyncio.CancelledError):
            await first
        async with asyncio.timeout(2):
            while not found:
                await asyncio.sleep(0.01)
        assert found == [SLOW.encode()]
        assert pool.counters.connects == 1


@pytest.mark.pure
async def test_a_session_that_nobody_takes_is_ended(loop_factory: Any) -> None:
    """The 101 is there, but its caller was called off before it could take it."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        await reader.read()
        ended.set()

    async with raw_server(talk) as port, pooled(port) as pool:
        loop = asyncio.get_running_loop()
        forget = pool.forget

        def forgotten(connection: Upstream) -> None:
            forget(connection)
            loop.call_soon(asking.cancel)

        pool.forget = forgotten
        headers = {"host": "a", "sec-websocket-version": "13", "sec-websocket-key": KEY}
        asked = call("GET", "/talk", headers=headers)
        asked = replace(asked, payload=replace(asked.payload, upgrade="websocket"))
        asking = asyncio.ensure_future(pool(asked))
        with pytest.raises(asyncio.CancelledError):
            taken = await asking
            assert isinstance(taken, Upgrade)
        await asyncio.wait_for(ended.wait(), 2)
