"""How a pool comes to its connections and loses them: names, dead peers, half-closes, uploads."""

import asyncio
import gc
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchgear.http.message import StreamResponse
from switchgear.http.pool import Pool
from switchgear.http.server import Drive
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.http.stream import Produced
from switchgear.policy.fault import Code, Effect, Fault
from tests.integration.http.harness import (
    Raw,
    answers,
    call,
    echo,
    listen,
    pooled,
    raw_server,
    serving,
)

pytestmark = pytest.mark.usefixtures("loop_factory")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name have the addresses of this list: all of 127/8 is here."""
    found: list[str] = []

    async def addresses(host: str, port: int) -> list[str]:
        return found

    monkeypatch.setattr("switchgear.http.dial.addresses", addresses)
    return found


async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


def deaf(address: str, port: int) -> list[socket.socket]:
    """Listen where connecting hangs: the queue is full, so that further SYNs are dropped."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(0)
    fill = [socket.socket() for _ in range(4)]
    for one in fill:
        one.setblocking(False)
        one.connect_ex((address, port))
    return [*fill, sock]


STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"


async def produced(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("size", [0, 200_000])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_lay_in_the_kernel_before_a_request_is_not_its_answer(
    loop_factory: Any, size: int, streamed: bool
) -> None:
    """It came, unasked, since the loop last looked."""
    ends: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer.get_extra_info("socket").fileno())
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"content-length" in head:
                await reader.readexactly(size)
            writer.write(OK)

    async with raw_server(talk) as port, pooled(port) as pool:
        assert await (await pool(call())).read() == b"ok"
        os.write(ends[0], STRAY)
        body: Any = Produced(produced(b"x" * size), size) if streamed else b"x" * size
        answer = await pool(call("PUT", body=body, repeatable=True))
        assert await answer.read() == b"ok"
        assert len(ends) == pool.counters.connects == 2
        assert pool.counters.retired == {"stale" if streamed else "unanswered": 1}


async def test_the_rest_of_an_early_answered_request_is_sent_before_its_connection_ends(
    loop_factory: Any,
) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    read, size = asyncio.Event(), 12_000_000
    got = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        await read.wait()
        while data := await reader.read(1 << 20):
            got.extend(data)
        writer.close()
        read.clear()

    async with raw_server(talk) as port, pooled(port) as pool:
        assert (await pool(call("PUT", body=b"x" * size))).status == 401
        assert pool.counters.retired == {"unfinished": 1}
        read.set()
        async with asyncio.timeout(5):
            while read.is_set():
                await asyncio.sleep(0.01)
        assert len(got) == size
        assert errors == []


async def test_a_name_is_looked_up(loop_factory: Any) -> None:
    async with serving(echo) as server:
        pool = Pool("localhost", server.port)
        got = json.loads(await (await pool(call())).read())
        assert ["host", f"localhost:{server.port}"] in got["headers"]
        await pool.close()
        await asyncio.sleep(0)


async def test_a_name_that_nobody_has_had_no_effect(loop_factory: Any) -> None:
    pool = Pool("nobody.invalid", 80)
    with pytest.raises(Fault) as caught:
        await pool(call())
    assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    await pool.close()


@pytest.mark.parametrize("name", ["a" * 64 + ".internal", "users..internal", ".internal"])
async def test_what_can_be_nobodys_name_is_told_as_one_that_nobody_has(
    loop_factory: Any, name: str
) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    pool = Pool(name, 80)
    with pytest.raises(Fault, match="is no name of a host") as caught:
        await pool(call())
    assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    await pool.close()
    gc.collect()  # a task whose error nobody has seen tells of it at its end
    assert errors == []


async def test_the_next_address_is_tried_when_one_refuses(
    loop_factory: Any, resolved: list[str]
) -> None:
    resolved += ["127.0.0.9", "127.0.0.1"]
    settings = ClientSettings(address_delay=30.0, connect_timeout=30.0)
    async with raw_server(ok) as port:
        pool = Pool("users.internal", port, settings)
        assert await (await pool(call())).read() == b"ok"
        assert pool.counters.connects == 1
        await pool.close()


async def test_the_next_address_is_tried_beside_one_that_hangs(
    loop_factory: Any, resolved: list[str]
) -> None:
    resolved += ["127.0.0.9", "127.0.0.1"]
    settings = ClientSettings(address_delay=0.05, connect_timeout=30.0)
    async with raw_server(ok) as port:
        held = deaf("127.0.0.9", port)
        pool = Pool("users.internal", port, settings)
        async with asyncio.timeout(10):
            assert await (await pool(call(within=30.0))).read() == b"ok"
        assert pool.statistics()["open"] == 1
        await pool.close()
        for one in held:
            one.close()


async def test_of_two_addresses_that_answer_late_one_is_taken_and_the_other_closed(
    loop_factory: Any, resolved: list[str]
) -> None:
    """Both connect in the end: the second must not be left open, nor counted."""
    resolved += ["127.0.0.1", "127.0.0.2"]
    ends: list[asyncio.Event] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        ends.append(ended)
        try:
            await ok(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            ended.set()
            writer.close()

    one = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = one.sockets[0].getsockname()[1]
    two = await asyncio.start_server(talk, "127.0.0.2", port)
    pool = Pool("users.internal", port, ClientSettings(address_delay=0.0))
    for _ in range(5):
        many = await asyncio.gather(*[pool(call()) for _ in range(8)])
        assert {answer.status for answer in many} == {200}
    await pool.close()
    async with asyncio.timeout(5):
        for ended in ends:
            await ended.wait()
    assert pool.statistics()["open"] == 0
    assert pool.counters.connects == 8
    one.close()
    two.close()


async def test_where_no_address_answers_all_are_told(
    loop_factory: Any, resolved: list[str]
) -> None:
    resolved += ["127.0.0.8", "127.0.0.9"]
    sock = listen()
    port = sock.getsockname()[1]
    sock.close()
    pool = Pool("users.internal", port)
    with pytest.raises(Fault) as caught:
        await pool(call())
    assert caught.value.effect is Effect.NONE
    assert "127.0.0.8" in caught.value.detail
    assert "127.0.0.9" in caught.value.detail
    await pool.close()


async def test_all_addresses_together_have_the_connect_timeout(
    loop_factory: Any, resolved: list[str]
) -> None:
    resolved += ["127.0.0.8", "127.0.0.9"]
    sock = listen()
    port = sock.getsockname()[1]
    sock.close()
    held = deaf("127.0.0.8", port) + deaf("127.0.0.9", port)
    pool = Pool("users.internal", port, ClientSettings(address_delay=0.01, connect_timeout=0.1))
    async with asyncio.timeout(10):
        with pytest.raises(Fault, match=r"none within 0\.1 s") as caught:
            await pool(call(within=30.0))
    assert caught.value.effect is Effect.NONE
    await pool.close()
    for one in held:
        one.close()


# Ends


async def test_a_peer_that_closes_in_order_costs_no_attempt(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.write_eof()
        await reader.read()

    async with raw_server(talk) as port, pooled(port) as pool:
        for _ in range(3):
            assert (await pool(call("POST", body=b"x"))).status == 200
            await asyncio.sleep(0.02)
        told = pool.statistics()
        assert (told["connects"], told["stale"], told["open"]) == (3, 0, 0)
        assert told["retired"] == {"ended": 3}


async def test_an_end_is_told_at_once_though_nothing_of_the_request_is_read(
    loop_factory: Any,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads
        await asyncio.sleep(30)

    async with raw_server(talk) as port, pooled(port) as pool:
        async with asyncio.timeout(10):
            with pytest.raises(Fault, match="closed before the answer") as caught:
                await pool(call("PUT", body=b"x" * 20_000_000, within=60.0))
        assert caught.value.effect is Effect.UNKNOWN
        assert pool.statistics()["retired"] == {"unanswered": 1}


async def test_a_reset_cuts_a_body_that_lasts_until_the_close(loop_factory: Any) -> None:
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nabc")
        await go.wait()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with raw_server(talk) as port, pooled(port) as pool:
        answer = await pool(call())
        assert isinstance(answer, StreamResponse)
        assert await answer.body.chunk() == b"abc"
        go.set()
        with pytest.raises(Fault):
            await answer.body.chunk()
        assert pool.statistics()["retired"] == {"cut": 1}


async def test_nothing_is_sent_again_once_an_answer_has_begun(loop_factory: Any) -> None:
    """Rule 27: an interim answer is one, too."""
    asked = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    async with raw_server(talk) as port, pooled(port) as pool:
        await pool(call())
        with pytest.raises(Fault):
            await pool(call(repeatable=True))
        assert (asked, pool.counters.stale, pool.counters.connects) == (1, 0, 1)


# Uploads


async def test_an_upstream_that_reads_slowly_pauses_the_source(loop_factory: Any) -> None:
    """Rule 26."""
    made = 0
    go = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield b"x" * 65536

    async def deaf_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        left = 1000 * (65536 + len(b"10000\r\n\r\n")) + len(b"0\r\n\r\n")
        while left > 0:
            left -= len(await reader.read(1 << 20))
        writer.write(OK)

    async with raw_server(deaf_first) as port, pooled(port) as pool:
        asking = asyncio.ensure_future(pool(call("POST", body=Produced(source()), within=60.0)))
        before = -1
        while made != before:
            before = made
            await asyncio.sleep(0.1)
        assert 0 < made < 500
        go.set()
        assert (await asking).status == 200
        assert made == 1000


@pytest.mark.parametrize("expects", [True, False])
async def test_a_refusal_before_the_body_reaches_the_client_and_ends_the_upload(
    loop_factory: Any, expects: bool
) -> None:
    """We say 100 where the upload is wanted by us; the upstream never sees that question."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await reader.read()

    async with (
        raw_server(talk) as port,
        pooled(port) as pool,
        serving(pool, ServerSettings(body_bytes=1 << 30), drive=Drive.EAGER) as proxy,
    ):
        client = await Raw.to(proxy.port)
        line = b"Expect: 100-continue\r\n" if expects else b""
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n%b\r\n" % line
            + (b"" if expects else b"x" * 1000)
        )
        if expects:
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        got = await client.until(b"large")
        await client.close()
        (answer,) = answers(got, ["POST"])
        assert (answer.status, answer.body) == (413, b"large")
        assert b"xpect" not in heads[0]
        assert pool.statistics()["retired"] == {"unfinished": 1}
