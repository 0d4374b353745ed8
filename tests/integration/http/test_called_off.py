"""What calls a handler off, and what only looks so, on asyncio and on uvloop (rule 16)."""

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from switchgear.http.message import Request, Response
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from tests.integration.http.harness import Raw, ask, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n"
BOTH = pytest.mark.parametrize("drive", list(Drive))
RESET = struct.pack("ii", 1, 0)
UNREAD = {
    "a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + bytes(400_000),
    "requests": (GET + b"\r\n") * 20_000,
}


async def test_a_handler_may_ask_for_the_ends_of_a_connection_that_is_closed(
    tmp_path: Path,
) -> None:
    """So does each ASGI app that begins late: to fail then would be told as a defect of its own."""
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def work(call: Call[Request]) -> Response:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            arrival = call.payload.arrival
            assert arrival is not None
            try:
                told.set_result(arrival.ends())
            except Exception as error:
                told.set_exception(error)
            raise
        raise AssertionError("it is called off")

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    server = Server(work)
    await server.start(listener)
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write(GET + b"\r\n")
    await asyncio.sleep(0.05)
    writer.close()
    client, _ = await asyncio.wait_for(told, 5)
    assert client is None
    await server.stop()


@BOTH
@pytest.mark.parametrize("sent", UNREAD.values(), ids=UNREAD)
async def test_a_client_that_resets_is_missed_though_nothing_more_is_read(
    loop_factory: Any, drive: Drive, sent: bytes
) -> None:
    """So much waits that reading has stopped: the loop tells of no end then."""
    working, called_off = asyncio.Event(), asyncio.Event()

    async def work(_: Call[Request]) -> Response:
        working.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            called_off.set()
            raise
        raise AssertionError("it waits for good")

    async with serving(work, ServerSettings(body_grace=0.05), drive=drive) as server:
        client = await Raw.to(server.port)
        client.writer.write(sent)
        await asyncio.wait_for(working.wait(), 5)
        async with asyncio.timeout(5):
            while not any(one._paused for one in server.connections):
                await asyncio.sleep(0.001)
        raw = client.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.writer.transport.abort()
        await asyncio.wait_for(called_off.wait(), 10)
        async with asyncio.timeout(5):
            while server.connections:
                await asyncio.sleep(0.001)


@BOTH
async def test_a_handler_that_is_cancelled_by_its_own_doing_has_failed(
    loop_factory: Any, drive: Drive
) -> None:
    """It waited for what somebody else has cancelled; its client is there."""
    told: list[BaseException] = []

    async def work(_: Call[Request]) -> Response:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        raise AssertionError("it was cancelled")

    async with serving(work, drive=drive, on_defect=lambda error, _: told.append(error)) as server:
        (answer,) = await ask(server.port, GET + b"Connection: close\r\n\r\n")
        assert answer.status == 500
        assert [type(error) for error in told] == [asyncio.CancelledError]
