"""Refused while still sending: the answer reaches such a client, and none of them is read for ever.

The clients block, each in a thread: they look for an answer only once everything is sent, as most
clients do, and a reset on the way is their end.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from time import perf_counter, sleep
from typing import Any

import pytest

from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from tests.integration.http.harness import Answer, Raw, answers, echo, pooled, serving

pytestmark = pytest.mark.usefixtures("loop_factory")

SIZE = 20_000_000
PIECE = b"x" * 50_000
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
COUNTED = HEAD + b"Content-Length: %d\r\n\r\n" % SIZE
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def counted() -> Iterator[bytes]:
    yield COUNTED
    for _ in range(0, SIZE, len(PIECE)):
        yield PIECE


def chunked() -> Iterator[bytes]:
    yield CHUNKED
    for _ in range(0, SIZE, len(PIECE)):
        yield b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    yield b"0\r\n\r\n"


def endless_head() -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000
    for _ in range(0, SIZE, len(PIECE)):
        yield PIECE


def behind_the_last() -> Iterator[bytes]:
    yield b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nxGET /"
    for _ in range(0, SIZE, len(PIECE)):
        yield PIECE


def send(port: int, pieces: Iterable[bytes], pause: float) -> bytes:
    """Send it all, slowly; only then read, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for piece in pieces:
            client.sendall(piece)
            sleep(pause)
        got = b""
        while part := client.recv(65536):
            got += part
        return got


async def sent(port: int, pieces: Iterable[bytes], pause: float = 0.001) -> Answer:
    (answer,) = answers(await asyncio.to_thread(send, port, pieces, pause), ["POST"])
    return answer


async def gone(server: Server, within: float = 5.0) -> None:
    end = perf_counter() + within
    while server.connections:
        assert perf_counter() < end, "it is still there"
        await asyncio.sleep(0.005)


async def unread(call: Call[Request]) -> Response:
    return Response(401, body=b"not you")


BODIES = pytest.mark.parametrize("pieces", [counted, chunked])
BOTH = pytest.mark.parametrize("drive", list(Drive))


@BODIES
@BOTH
async def test_a_slow_sender_of_far_too_much_gets_the_whole_refusal(
    pieces: Any, drive: Drive
) -> None:
    async with serving(echo, drive=drive) as server:
        answer = await sent(server.port, pieces())
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert b"body-too-large" in answer.body
        await gone(server)


@BODIES
async def test_a_handler_that_reads_nothing_is_heard(pieces: Any) -> None:
    async with serving(unread, ServerSettings(body_bytes=64 << 20)) as server:
        answer = await sent(server.port, pieces())
        assert (answer.status, answer.body) == (401, b"not you")
        await gone(server)


@pytest.mark.parametrize(("pieces", "status"), [(endless_head, 431), (behind_the_last, 200)])
async def test_what_is_no_body_takes_no_answer_away_either(pieces: Any, status: int) -> None:
    async with serving(echo) as server:
        assert (await sent(server.port, pieces())).status == status
        await gone(server)


@asynccontextmanager
async def through(service: Any, settings: ServerSettings) -> AsyncIterator[Server]:
    """Run a service behind a gateway that would let 64 MiB pass."""
    async with serving(service, settings) as behind, pooled(behind.port) as pool:

        async def forward(call: Call[Request]) -> Response:
            there: Pool = pool
            request = call.payload
            onward = Request.of("POST", "/", body=request.body)
            return await there(Call(onward, call.deadline))

        large = ServerSettings(body_bytes=64 << 20, deadline=20.0)
        async with serving(forward, large, drive=Drive.EAGER) as gateway:
            yield gateway
            await gone(gateway)
        await gone(behind)


@BODIES
@pytest.mark.parametrize(
    ("service", "limit", "status"), [(echo, 1 << 20, 413), (unread, 64 << 20, 401)]
)
async def test_a_service_that_refuses_early_is_heard_through_a_gateway(
    pieces: Any, service: Any, limit: int, status: int
) -> None:
    async with through(service, ServerSettings(body_bytes=limit, deadline=20.0)) as gateway:
        assert (await sent(gateway.port, pieces())).status == status


async def test_a_client_that_falls_silent_is_closed() -> None:
    async with serving(echo, ServerSettings(linger=0.2)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(COUNTED + PIECE)
        assert b"413" in await reader.readline()
        await gone(server)
        writer.close()


async def test_a_client_that_never_ends_is_closed() -> None:
    """The silence between its bytes is short; all of it is bounded."""
    async with serving(echo, ServerSettings(linger=30.0, linger_timeout=0.3)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(COUNTED)
        assert b"413" in await reader.readline()
        end = perf_counter() + 5
        while server.connections:
            assert perf_counter() < end, "it is still there"
            writer.write(b"x")
            await asyncio.sleep(0.01)
        writer.close()


async def test_whoever_only_lingers_gives_way_where_it_is_crowded() -> None:
    """It has its answer; a new client has none yet."""
    crowded = ServerSettings(connections=4, idle_reuse=0.75, linger=30.0)
    async with serving(echo, crowded) as server:
        lingering = [await Raw.to(server.port) for _ in range(2)]
        for client in lingering:
            await client.send(COUNTED)
            assert b"413" in await client.until(b"\r\n")
        await asyncio.sleep(0.2)  # the young are left alone
        new = await Raw.to(server.port)
        await new.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in await new.until(b"\r\n")
        assert server.counters.made_room == 1
        for client in (new, *lingering):
            await client.close()


async def test_no_more_than_a_bounded_number_of_bytes_is_read_for_nobody() -> None:
    async with serving(echo, ServerSettings(linger_bytes=1 << 20)) as server:
        with pytest.raises(ConnectionError):
            await sent(server.port, counted())
        await gone(server)


async def test_a_client_that_has_gone_as_its_answer_is_written_is_no_defect(
    loop_factory: Any,
) -> None:
    """Its reset has come before the end of what is sent is said."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))

    async def leaving(call: Call[Request]) -> Response:
        client.close()
        return Response(200, body=b"ok")

    async with serving(leaving, drive=Drive.EAGER) as server:
        for asked in range(1, 6):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /")
            while server.counters.requests < asked:
                await asyncio.sleep(0.005)
            await gone(server)
        assert errors == []
        assert server.counters.defects == 0
