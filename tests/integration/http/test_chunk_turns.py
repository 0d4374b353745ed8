"""Bodies of many tiny chunks: others have their turn among them, and all of each arrives."""

import asyncio
from typing import Any

import pytest

from switchgear.http.bodies import AT_ONCE, MANY, chunk
from switchgear.http.message import Request, Response
from switchgear.http.server import Drive
from switchgear.policy.call import Call
from tests.integration.http.harness import Raw, answers, ask, call, pooled, raw_server, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BYE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SAID = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TINY = chunk(b"x")
LAST = b"0\r\n\r\n"
MOST = MANY - 1  # and the last, which is empty


def upload(count: int) -> bytes:
    return TINY * count + LAST


async def pieces(body: Any) -> list[int]:
    return [len(piece) async for piece in body]


@pytest.mark.parametrize("with_head", [True, False])
async def test_an_upload_is_read_in_turns(loop_factory: Any, with_head: bool) -> None:
    seen: list[list[int]] = []

    async def handler(one: Call[Request]) -> Response:
        seen.append(await pieces(one.payload.body))
        return Response(200, body=b"ok")

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        if not with_head:
            await client.send(HEAD)
            await asyncio.sleep(0.05)
            await client.send(upload(MOST) + BYE)
        else:
            await client.send(HEAD + upload(MOST) + BYE)
        got = answers(await client.rest(), ["POST", "GET"])
        await client.close()
    assert [one.status for one in got] == [200, 200]
    assert [sum(sizes) for sizes in seen] == [MOST, 0]
    assert max(seen[0][1:]) <= AT_ONCE + 1  # what came with the head is a few turns at once


async def test_an_upload_that_breaks_a_rule_behind_many_chunks_is_refused(
    loop_factory: Any,
) -> None:
    async def handler(one: Call[Request]) -> Response:
        await one.payload.body.read()
        return Response(200)

    async with serving(handler) as server:
        (got,) = await ask(server.port, HEAD + TINY * MOST + b"x\r\n", ["POST"])
    assert got.status == 400


async def test_an_upload_that_nobody_wants_ends_with_its_connection(loop_factory: Any) -> None:
    async def handler(_: Call[Request]) -> Response:
        return Response(200, body=b"no, thanks")

    async with serving(handler) as server:
        (got,) = await ask(server.port, HEAD + upload(MOST), ["POST"])
    assert got.body == b"no, thanks"


async def test_an_answer_is_read_in_turns_and_its_connection_used_again(
    loop_factory: Any,
) -> None:
    count = 50_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(SAID + upload(count))
            await writer.drain()

    async with raw_server(talk) as port, pooled(port) as pool:
        for _ in range(3):
            answer = await pool(call())
            sizes = await pieces(answer.body)
            assert sum(sizes) == count
            assert max(sizes) <= AT_ONCE + 1  # one may have begun before
            await asyncio.sleep(0)
        assert pool.counters.connects == 1


@pytest.mark.parametrize("close", [LAST, b""])
async def test_an_upstream_that_ends_behind_many_chunks(loop_factory: Any, close: bytes) -> None:
    """Its end is found behind what was left of its answer, and tells a whole one from a cut one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SAID + TINY * 50_000 + close)
        await writer.drain()

    async with raw_server(talk) as port, pooled(port) as pool:
        async with serving(pool, drive=Drive.EAGER) as server:
            client = await Raw.to(server.port)
            await client.send(BYE)
            got = await client.rest()
            await client.close()
        assert got.endswith(LAST) is bool(close)
        if close:
            (whole,) = answers(got)
            assert whole.body == b"x" * 50_000


async def test_a_reader_who_leaves_amid_what_is_left_takes_the_connection_with_it(
    loop_factory: Any,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SAID + upload(50_000))
        await writer.drain()

    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    async with raw_server(talk) as port, pooled(port) as pool:
        answer = await pool(call())
        assert await answer.body.chunk()
        answer.abandon()
        await asyncio.sleep(0.05)
        assert pool.statistics()["open"] == 0
    assert errors == []
