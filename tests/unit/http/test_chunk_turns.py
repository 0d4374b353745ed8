"""Bodies of tiny chunks, read in turns: a connection is read on when both we and the taker are."""

import asyncio
from typing import Any

import pytest

from switchgear.http.bodies import AT_ONCE, chunk
from switchgear.http.message import Request, Response
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.policy.call import Call
from switchgear.testing.virtual import clock
from tests.unit.http.wire import Wire, serve, wired, wires

pytestmark = pytest.mark.virtual

MANY = 20
TINY = chunk(b"x") * (MANY * AT_ONCE)
LAST = b"0\r\n\r\n"
SMALL = 64  # bytes that a taker may be behind: less than a turn brings


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def answered() -> tuple[Any, Wire]:
    """Ask for an answer of tiny chunks; return its body, of which one turn's part was read."""
    pool = wired(ClientSettings(buffer_bytes=SMALL))
    asking = asyncio.ensure_future(pool(Call(Request.of("GET", "/"), clock() + 3)))
    await turns(5)
    (wire,) = wires(pool)
    assert wire.sent
    wire.protocol.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY)
    return (await asking).body, wire


async def sent() -> tuple[Any, Wire]:
    """Send a request of tiny chunks; return its body, likewise."""
    bodies: list[Any] = []

    async def handler(call: Call[Request]) -> Response:
        bodies.append(call.payload.body)
        await asyncio.Event().wait()
        raise AssertionError

    _, _, wire = serve(handler, ServerSettings(buffer_bytes=SMALL))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.protocol.data_received(head)
    wire.protocol.data_received(TINY)
    return bodies[0], wire


@pytest.mark.parametrize("begun", [answered, sent])
async def test_a_taker_who_is_behind_is_waited_for_when_we_are_not(begun: Any) -> None:
    body, wire = await begun()
    await turns(2 * MANY)  # in which all of it was looked at
    assert body.paused
    assert not wire.reading
    taken = 0
    while body.paused:
        taken += len(await body.chunk())
    assert wire.reading
    wire.protocol.data_received(LAST)
    while data := await body.chunk():
        taken += len(data)
    assert taken == MANY * AT_ONCE


@pytest.mark.parametrize("begun", [answered, sent])
async def test_we_are_waited_for_when_the_taker_is_not_behind(begun: Any) -> None:
    body, wire = await begun()
    assert body.paused
    while body.paused:
        await body.chunk()  # it is there: no turn of the loop
    assert not wire.reading
    while not wire.reading:
        await body.chunk()
