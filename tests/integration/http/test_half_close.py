"""Clients that end what they send and wait for answers, on asyncio and on uvloop (rule 16)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.server import Drive
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from tests.integration.http.harness import Raw, answers, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
BOTH = pytest.mark.parametrize("drive", list(Drive))
LARGE = 1 << 20


async def echo_path(call: Call[Request]) -> Response:
    return Response(200, body=call.payload.path.encode())


@BOTH
async def test_an_answer_that_was_just_written_reaches_who_has_ended_its_half(
    loop_factory: Any, drive: Drive
) -> None:
    """The end is read in the turn in which the answer is held back, or in the one behind it."""
    async with serving(echo_path, drive=drive) as server:
        for _ in range(20):
            client = await Raw.to(server.port)
            client.writer.write(GET)
            client.writer.write_eof()
            assert [one.body for one in answers(await client.rest())] == [b"/a"]
            await client.close()


@BOTH
async def test_what_was_asked_before_the_end_is_answered_to_a_slow_reader(
    loop_factory: Any, drive: Drive
) -> None:
    """Between two answers, while the first one has not left yet, requests wait and no exchange."""

    async def large(_: Call[Request]) -> Response:
        return Response(200, body=b"x" * LARGE)

    settings = ServerSettings(buffer_bytes=4096)
    async with serving(large, settings, drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(4 * GET)
        async with asyncio.timeout(10):
            while not any(one.blocked and one.exchange is None for one in server.connections):
                await asyncio.sleep(0)
        client.writer.write_eof()
        await asyncio.sleep(0.05)  # nothing of the answers is read till the end has been
        got = answers(await client.rest(), 4 * ["GET"])
        assert [len(one.body) for one in got] == 4 * [LARGE]
        await client.close()


@BOTH
async def test_whoever_ended_its_half_amid_its_answer_is_closed_behind_it(
    loop_factory: Any, drive: Drive
) -> None:
    """The head has promised to stay, and nothing can come any more."""
    ended = asyncio.Event()

    async def make() -> AsyncIterator[bytes]:
        yield b"first"
        await ended.wait()
        yield b"last"

    async def flow(_: Call[Request]) -> Response:
        return StreamResponse.of(make())

    async with serving(flow, drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        got = await client.until(b"first\r\n")
        client.writer.write_eof()
        async with asyncio.timeout(10):
            while not any(one.half is not None for one in server.connections):
                await asyncio.sleep(0)
        ended.set()
        got += await client.rest()
        assert [one.body for one in answers(got)] == [b"firstlast"]
        await client.close()


@BOTH
async def test_an_empty_line_before_the_end_is_nothing_to_wait_for(
    loop_factory: Any, drive: Drive
) -> None:
    ended = asyncio.Event()

    async def wait(_: Call[Request]) -> Response:
        await ended.wait()
        return Response(200, body=b"ok")

    async with serving(wait, drive=drive) as server:
        client = await Raw.to(server.port)
        await client.send(GET + b"\r\n")
        client.writer.write_eof()
        async with asyncio.timeout(10):
            while not any(one.half is not None for one in server.connections):
                await asyncio.sleep(0)
        ended.set()
        assert [one.body for one in answers(await client.rest())] == [b"ok"]
        await client.close()
