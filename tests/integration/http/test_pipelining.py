"""Many requests at once on one connection: others have their turn, and little of them is held."""

import asyncio
from typing import Any

import pytest

from switchgear.http.connection import AT_ONCE
from switchgear.http.message import Request, Response
from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from tests.integration.http.harness import Raw, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MANY = 50_000
READ = 256 << 10  # bytes that a loop reads at once


@pytest.mark.parametrize("drive", list(Drive))
async def test_what_waits_is_bounded_and_others_have_their_turn(
    loop_factory: Any, drive: Drive
) -> None:
    """A client that sent quicker than it was answered was read on for: all it sent was here.

    And the task of a connection went on with the next request for as long as there was one.
    """
    loop = asyncio.get_running_loop()
    seen = turn_began_at = most = held = 0
    going = True

    def tick() -> None:
        nonlocal turn_began_at, most, held
        most = max(most, seen - turn_began_at)
        turn_began_at = seen
        held = max([held, *(len(one._buffer) for one in server.connections)])
        if going:
            loop.call_soon(tick)

    async def handler(one: Call[Request]) -> Response:
        nonlocal seen
        seen += 1
        return Response(204)

    async def read(client: Raw) -> None:
        while await client.reader.read(1 << 20):
            pass

    settings = ServerSettings()
    async with serving(handler, settings, drive=drive) as server:
        client = await Raw.to(server.port)
        reading = asyncio.create_task(read(client))
        tick()
        for _ in range(100):
            await client.send(REQUEST * (MANY // 100))
        client.writer.write_eof()
        await reading
        await client.close()
        going = False
    assert seen == MANY
    assert held <= settings.buffer_bytes + READ
    assert most <= 2 * AT_ONCE
