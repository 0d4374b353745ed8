"""Long answers that go past us: byte for byte what the upstream sent, or cut, on both loops."""

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from switchgear.core.drivers import step
from switchgear.http import splice
from switchgear.http.pool import Pool
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ClientSettings, ServerSettings
from tests.integration.http.harness import (
    Raw,
    answers,
    call,
    pooled,
    raw_server,
    reluctant,
    serving,
)

pytestmark = pytest.mark.skipif(
    not hasattr(os, "splice"), reason="platform: only Linux moves bytes from socket to socket"
)

LONG = random.Random(1).randbytes((3 << 20) + 12_345)
OTHER = random.Random(2).randbytes((1 << 20) + 1)
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LEAST = 64 << 10

Say = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Any]


def head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length


async def whole(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(head(len(body)) + body)
    await writer.drain()


def upstream(say: Say) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await reader.readuntil(b"\r\n\r\n")
            await say(reader, writer, OTHER if asked.startswith(b"GET /other") else LONG)

    return talk


def twice() -> list[str]:
    """Return the sockets of this process that have a second descriptor."""
    links = Counter[str]()
    for name in os.listdir("/proc/self/fd"):
        try:
            links[os.readlink(f"/proc/self/fd/{name}")] += 1
        except FileNotFoundError:  # that of the folder itself
            pass
    return [link for link, count in links.items() if link.startswith("socket:") and count > 1]


@asynccontextmanager
async def through(
    say: Say, settings: ServerSettings | None = None, **client: Any
) -> AsyncIterator[tuple[Server, Pool]]:
    """Run a gateway in front of an upstream; at the end, nothing that was opened is left."""
    async with AsyncExitStack() as held:
        port = await held.enter_async_context(raw_server(upstream(say)))
        pool: Pool = await held.enter_async_context(pooled(port, ClientSettings(**client)))
        settings = settings or ServerSettings(splice_bytes=LEAST)
        server = await held.enter_async_context(serving(pool, settings, drive=Drive.EAGER))
        yield server, pool
        async with asyncio.timeout(5):
            while splice.PIPES.open or twice():
                await asyncio.sleep(0.01)


async def test_long_answers_arrive_as_they_were_sent_one_behind_the_other(
    loop_factory: Any,
) -> None:
    async with through(whole) as (server, pool):
        client = await Raw.to(server.port)
        await client.send(ASK + ASK + LAST)
        got = answers(await client.rest(), ["GET"] * 3)
        await client.close()
        assert [one.body for one in got] == [LONG, LONG, OTHER]
        assert server.counters.spliced == 3
        assert pool.counters.connects == 1
        assert server.counters.sent >= 2 * len(LONG) + len(OTHER)


async def test_short_answers_and_those_without_a_length_are_read(loop_factory: Any) -> None:
    async def speak(_: Any, writer: asyncio.StreamWriter, body: bytes) -> None:
        if body is OTHER:
            writer.write(head(LEAST - 1) + body[: LEAST - 1])
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        await writer.drain()

    async with through(speak) as (server, _):
        client = await Raw.to(server.port)
        await client.send(ASK + LAST)
        got = answers(await client.rest(), ["GET"] * 2)
        await client.close()
        assert [one.body for one in got] == [LONG, OTHER[: LEAST - 1]]
        assert server.counters.spliced == 0


@pytest.mark.parametrize("least", [0, 1])
async def test_a_setting_says_which(loop_factory: Any, least: int) -> None:
    async def slowly(_: Any, writer: asyncio.StreamWriter, body: bytes) -> None:
        for piece in (head(10), body[:3], body[3:10]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with through(slowly, ServerSettings(splice_bytes=least)) as (server, _):
        client = await Raw.to(server.port)
        await client.send(LAST)
        (got,) = answers(await client.rest())
        await client.close()
        assert got.body == OTHER[:10]
        assert server.counters.spliced == least


async def test_what_follows_an_answer_reaches_nobody(loop_factory: Any) -> None:
    async def more(_: Any, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(head(len(body)) + body + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await writer.drain()

    async with through(more) as (server, pool):
        client = await Raw.to(server.port)
        await client.send(ASK)
        head_end = await client.until(b"\r\n\r\n")
        assert head_end.startswith(b"HTTP/1.1 200")
        assert await client.reader.readexactly(len(LONG)) == LONG
        async with asyncio.timeout(5):
            while not pool.counters.poisoned:
                await asyncio.sleep(0.01)
        await client.send(LAST)
        (got,) = answers(await client.rest())
        assert got.body == OTHER
        await client.close()
        assert pool.counters.connects == 2


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
async def test_an_upstream_that_ends_too_early_cuts_the_answer(
    loop_factory: Any, share: float
) -> None:
    sent = min(int(len(LONG) * share), len(LONG) - 1)

    async def cut(_: Any, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(head(len(body)) + body[:sent])
        await writer.drain()
        writer.close()

    async with through(cut) as (server, pool):
        client = await Raw.to(server.port)
        await client.send(ASK)
        got = await client.rest()
        await client.close()
        assert len(got) < len(LONG) + 200
        assert LONG.startswith(got.partition(b"\r\n\r\n")[2])
        assert server.counters.spliced == 1
        async with asyncio.timeout(5):
            while not pool.counters.retired["cut"]:
                await asyncio.sleep(0.01)


async def test_an_upstream_that_hangs_is_cut_in_time(loop_factory: Any) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(head(len(body)) + body[: 1 << 20])
        await reader.read(1)

    async with through(hang, body_timeout=0.3) as (server, pool):
        client = await Raw.to(server.port)
        await client.send(ASK)
        got = await client.rest()
        await client.close()
        assert got.partition(b"\r\n\r\n")[2] == LONG[: 1 << 20]
        assert server.counters.spliced == 1
        assert pool.counters.retired["overdue"] == 1


async def test_a_client_that_stops_is_given_up_and_one_that_crawls_is_not(
    loop_factory: Any,
) -> None:
    loop = asyncio.get_running_loop()
    settings = ServerSettings(splice_bytes=LEAST, write_timeout=0.6)
    async with through(whole, settings, body_timeout=0.3) as (server, pool):
        with reluctant(server.port) as stopped, reluctant(server.port) as crawling:
            await loop.sock_sendall(stopped, ASK)
            await loop.sock_sendall(crawling, ASK)
            got = bytearray()
            for _ in range(30):  # in which who takes nothing is given up
                got += await loop.sock_recv(crawling, 30_000)
                await asyncio.sleep(0.05)
            while len(got) < len(LONG):
                got += await loop.sock_recv(crawling, 1 << 16)
            assert got.partition(b"\r\n\r\n")[2] == LONG[: len(got) - got.index(b"\r\n\r\n") - 4]
            with pytest.raises(ConnectionResetError):
                while await loop.sock_recv(stopped, 1 << 20):
                    pass
        assert server.counters.spliced == 2
        assert server.counters.refusals["write-timeout"] == 1
        assert not pool.counters.retired["overdue"], "the upstream was waited for"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_ends_the_upstream_too(loop_factory: Any, reset: bool) -> None:
    ended = asyncio.Event()

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(head(1 << 40))
        try:
            while True:
                writer.write(body)
                await writer.drain()
        except ConnectionError:
            ended.set()
            raise

    async with through(endless) as (server, _):
        client = await Raw.to(server.port)
        await client.send(ASK)
        await client.reader.readexactly(2 << 20)
        if reset:
            linger = b"\1\0\0\0\0\0\0\0"
            client.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        await client.close()
        async with asyncio.timeout(5):
            await ended.wait()
        assert server.counters.spliced == 1


async def test_without_a_pipe_it_is_read(
    loop_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice.PIPES, "most", 0)
    async with through(whole) as (server, _):
        client = await Raw.to(server.port)
        await client.send(ASK + LAST)
        got = answers(await client.rest(), ["GET"] * 2)
        await client.close()
        assert [one.body for one in got] == [LONG, OTHER]
        assert server.counters.spliced == 0


@pytest.mark.pure
@pytest.mark.parametrize("good", range(6))
async def test_whatever_a_kernel_refuses_is_left_to_reading(
    loop_factory: Any, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    calls = 0

    def refused(*args: Any, **options: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > good:
            raise OSError(22, "Invalid argument")
        return os.splice(*args, **options)

    monkeypatch.setattr(splice, "_splice", refused)
    async with through(whole) as (server, pool):
        client = await Raw.to(server.port)
        await client.send(ASK + LAST)
        got = answers(await client.rest(), ["GET"] * 2)
        await client.close()
        assert [one.body for one in got] == [LONG, OTHER]
        assert calls > good
        assert pool.counters.connects == 1
        assert server.counters.spliced in (1, 2)  # the next is read where some of it waits


async def test_a_connection_that_brought_a_long_answer_carries_everything_else(
    loop_factory: Any,
) -> None:
    """From then on it is read with care: heads by themselves, and the rest as it comes."""
    short = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nshort"
    middle = OTHER[:LEAST]
    said = {
        b"/": head(len(LONG)) + LONG,
        b"/short": short,
        b"/middle": head(len(middle)) + middle,
        b"/head": head(2)[:-2] + b"x: " + b"y" * 20_000 + b"\r\n\r\nok",
        b"/chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG),
        b"/switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"
        b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    }

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            writer.write(said[path])
            await writer.drain()
            if path == b"/switch":
                await reader.readexactly(1)
                writer.write(LONG)
                await writer.drain()
                await reader.read()
                return

    async with AsyncExitStack() as held:
        port = await held.enter_async_context(raw_server(talk))
        pool: Pool = await held.enter_async_context(pooled(port))
        server = await held.enter_async_context(
            serving(pool, ServerSettings(splice_bytes=LEAST + 1), drive=Drive.EAGER)
        )
        client = await Raw.to(server.port)
        for path in (b"/", b"/short", b"/middle", b"/head", b"/chunked", b"/", b"/short"):
            await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            got = await client.until(b"\r\n\r\n")
            body = said[path].partition(b"\r\n\r\n")[2]
            assert got.startswith(b"HTTP/1.1 200 OK\r\n")
            if path == b"/chunked":
                parts = []
                while size := int(await client.until(b"\r\n"), 16):
                    parts.append(await client.reader.readexactly(size))
                    await client.until(b"\r\n")
                await client.until(b"\r\n")
                assert b"".join(parts) == LONG
            else:
                assert await client.reader.readexactly(len(body)) == body
        await client.send(
            b"GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await client.send(b"!")
        assert await client.reader.readexactly(len(LONG)) == LONG
        await client.close()
        assert server.counters.spliced == 2
        assert pool.counters.connects == 1


async def test_who_has_ended_what_it_sends_may_take_its_time_to_read(loop_factory: Any) -> None:
    """What waits for it waits in a pipe, where no transport knows of it."""
    loop = asyncio.get_running_loop()
    settings = ServerSettings(splice_bytes=LEAST, half_close=0.2)
    async with through(whole, settings) as (server, _):
        with reluctant(server.port) as client:
            await loop.sock_sendall(client, ASK)
            client.shutdown(socket.SHUT_WR)
            await asyncio.sleep(1.0)
            got = bytearray()
            while part := await loop.sock_recv(client, 1 << 20):
                got += part
        (answer,) = answers(bytes(got))
        assert answer.body == LONG
        assert server.counters.spliced == 1


async def test_what_lies_behind_a_long_answer_is_seen_before_the_next_request_leaves(
    loop_factory: Any,
) -> None:
    """Where one callback of a socket ends the answer and asks again, as a gateway's may."""
    second = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    loop, tapped, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    asked, got = 0, b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if asked > 1:
                writer.write(head(5) + b"right")
                continue
            writer.write(head(1000) + b"." * 500)
            await tapped.wait()
            writer.write(b"." * 500 + second)

    async with raw_server(talk) as port, pooled(port) as pool:
        body: Any = (await pool(call())).body
        assert await body.chunk() == b"." * 500
        descriptor, left = body.tap()
        tapped.set()

        async def again() -> None:
            nonlocal got
            got = (await pool(call(repeatable=True))).body
            over.set()

        def end() -> None:
            loop.remove_reader(here)
            body.took(len(past.recv(left)))
            step(again())

        here, there = socket.socketpair()
        with socket.socket(fileno=descriptor) as past, here, there:
            async with asyncio.timeout(5):
                while not past_holds(past, left + len(second)):
                    await asyncio.sleep(0.01)
                loop.add_reader(here, end)
                there.send(b"!")
                await over.wait()
        assert got == b"right"


def past_holds(sock: socket.socket, size: int) -> bool:
    """Say whether so many bytes lie in the kernel."""
    try:
        return len(sock.recv(size, socket.MSG_PEEK)) == size
    except BlockingIOError:
        return False
