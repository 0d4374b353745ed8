"""Rule 26 in virtual time: slow heads, slow bodies, slow readers, hung upstreams."""

import asyncio
from asyncio import sleep
from typing import Any

import pytest

from switchgear.http.connection import AT_ONCE
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.pool import Pool
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import GOOD, Health, Verdict
from switchgear.testing.virtual import clock
from tests.unit.http.wire import ok, read, serve, wired, wires

pytestmark = pytest.mark.virtual

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
SOON = 0.05  # more than the sweep's tick


async def test_a_head_has_five_seconds_however_it_drips() -> None:
    server, connection, wire = serve(ok)
    await sleep(3)  # silence before the head does not count
    for byte in GET[:5]:
        connection.data_received(bytes([byte]))
        await sleep(0.99)
    assert wire.sent == b""
    await sleep(0.1)
    assert wire.sent.startswith(b"HTTP/1.1 408 ")
    assert wire.ended
    assert server.counters.timeouts == 1
    await sleep(5 + SOON)
    assert wire.closed
    assert not wire.aborted
    assert not server.connections


@pytest.mark.parametrize("first", [b"\r\n", b"\r"])
async def test_an_empty_line_takes_no_time_from_a_head_and_gives_it_none(first: bytes) -> None:
    server, connection, wire = serve(ok)
    connection.data_received(first)
    await sleep(20)
    connection.data_received((b"\r\n" + GET)[len(first) : -2])
    await sleep(4.9)
    assert wire.sent == b""
    await sleep(0.2)
    assert wire.sent.startswith(b"HTTP/1.1 408 ")
    await sleep(5 + SOON)
    assert not server.connections


@pytest.mark.parametrize("first", [b"\r\n", b"\r"])
async def test_a_connection_with_an_empty_line_is_idle(first: bytes) -> None:
    server, connection, wire = serve(ok)
    connection.data_received(GET)
    since = connection.idle_since
    await sleep(1)
    connection.data_received(first)
    assert connection.idle_since == since
    await sleep(28.9)
    assert (wire.closed, wire.ended) == (False, False)
    await sleep(0.1 + SOON)
    assert (wire.closed, wire.ended) != (False, False)
    await sleep(5 + SOON)
    assert not server.connections
    assert wire.sent.count(b"HTTP/1.1 ") == 1
    assert server.counters.timeouts == 0


async def test_a_head_in_time_disarms_its_deadline() -> None:
    _server, connection, wire = serve(ok)
    connection.data_received(GET[:9])
    await sleep(4.9)
    connection.data_received(GET[9:])
    await sleep(20)
    assert wire.sent.startswith(b"HTTP/1.1 200 ")
    assert not wire.closed
    connection.data_received(GET[:9])  # the next one has its own five seconds
    await sleep(4.9)
    connection.data_received(GET[9:])
    assert wire.sent.count(b"HTTP/1.1 200 ") == 2
    connection.cut()
    await sleep(0)


async def test_an_idle_connection_is_closed_after_thirty_seconds() -> None:
    server, connection, wire = serve(ok)
    await sleep(29)
    connection.data_received(GET)
    await sleep(29)
    connection.data_received(GET)
    await sleep(29.9)
    assert not wire.closed
    await sleep(0.2)
    assert wire.closed
    assert not wire.aborted
    assert not server.connections
    assert server.counters.timeouts == 0


async def test_a_connection_whose_requests_wait_for_their_turn_is_not_idle() -> None:
    """Its alarm may ring between two turns: the end of a drain was taken for due then."""
    server, connection, wire = serve(ok)
    connection.data_received(GET * 20)
    assert wire.sent.count(b"HTTP/1.1 200 ") == AT_ONCE
    due = connection.look(clock() + 1000)
    assert due is not None
    assert due > clock() + 1000
    assert not wire.closed
    await sleep(SOON)
    assert wire.sent.count(b"HTTP/1.1 200 ") == 20
    assert server.connections


async def test_a_request_in_progress_is_not_idle() -> None:
    async def slow(call: Call[Request]) -> Response:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(100, waiter.set_result, None)
        await waiter
        return Response()

    _, connection, wire = serve(slow)
    connection.data_received(GET)
    await sleep(100.1)
    assert wire.sent.startswith(b"HTTP/1.1 200 ")
    connection.cut()
    await sleep(0)


async def test_a_body_must_keep_a_rate_after_two_seconds() -> None:
    server, connection, wire = serve(read)
    connection.data_received(POST)
    for _ in range(10):  # 1.2 KiB/s is enough
        connection.data_received(b"x" * 1200)
        await sleep(1)
    assert wire.sent == b""
    for _ in range(4):  # 0.9 KiB/s is not, whatever came before
        connection.data_received(b"x" * 900)
        await sleep(1)
    assert wire.sent.startswith(b"HTTP/1.1 408 ")
    assert b"body-timeout" in wire.sent
    assert b"connection: close" in wire.sent
    assert server.counters.timeouts == 1
    await sleep(6)
    assert not server.connections


async def test_a_client_is_not_blamed_for_our_own_pause() -> None:
    release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def late(call: Call[Request]) -> Response:
        await release
        return Response(200, body=b"%d" % len(await call.payload.body.read()))

    _, connection, wire = serve(late, ServerSettings(buffer_bytes=1000))
    connection.data_received(POST + b"x" * 2000)
    assert not wire.reading
    await sleep(60)
    assert wire.sent == b""
    release.set_result(None)
    await sleep(1.5)
    assert wire.reading
    connection.data_received(b"x" * 98000)
    await sleep(SOON)
    assert wire.sent.endswith(b"100000")
    connection.cut()
    await sleep(0)


async def test_a_client_that_waits_for_continue_is_not_slow() -> None:
    release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def late(call: Call[Request]) -> Response:
        await release
        return await read(call)

    _, connection, wire = serve(late)
    connection.data_received(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
    await sleep(60)
    assert wire.sent == b""
    release.set_result(None)
    await sleep(1)
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    await sleep(4)
    assert b"HTTP/1.1 408 " in wire.sent
    await sleep(2)


async def test_an_unread_rest_must_come_in_time_too() -> None:
    server, connection, wire = serve(ok)
    connection.data_received(POST.replace(b"100000", b"1000"))
    assert wire.sent.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" not in wire.sent
    await sleep(9 + SOON)
    assert not server.connections


async def test_a_reader_without_progress_is_cut_after_thirty_seconds() -> None:
    server, connection, wire = serve(ok)
    connection.data_received(GET)
    wire.block(100_000)
    await sleep(29.9)
    assert not wire.aborted
    wire.unsent = 69_280  # so much in thirty seconds is 1 KiB/s
    await sleep(29.9)
    assert not wire.aborted
    wire.unsent = 38_561  # a byte too few
    await sleep(1 + SOON)
    assert wire.aborted
    assert server.counters.timeouts == 1
    assert not server.connections


async def test_what_is_added_for_a_slow_reader_does_not_hide_what_it_takes() -> None:
    _, connection, wire = serve(ok)
    connection.data_received(GET)
    wire.block(100_000)
    await sleep(10)
    wire.unsent = 200_000
    await sleep(10)
    wire.unsent = 169_000
    await sleep(29.9)
    assert not wire.aborted
    await sleep(1 + SOON)
    assert wire.aborted


async def test_a_slow_reader_of_the_last_answer_is_waited_for_while_it_reads() -> None:
    server, connection, wire = serve(ok)
    wire.unsent = 360_000
    connection.data_received(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert wire.closed
    for _ in range(8):
        await sleep(20)
        wire.unsent -= 40_000
        assert not wire.aborted
    await sleep(31)
    assert wire.aborted
    assert not server.connections


async def test_a_refused_client_that_goes_on_sending_is_cut_after_thirty_seconds() -> None:
    server, connection, wire = serve(ok)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    assert wire.ended
    for _ in range(6):  # never silent for five
        connection.data_received(b"x" * 1000)
        await sleep(4.9)
    connection.data_received(b"x" * 1000)
    assert not wire.closed
    await sleep(0.6 + SOON)
    assert wire.aborted
    assert server.counters.refusals["still-sending"] == 1
    assert not server.connections


async def test_a_broken_body_does_not_hurry_a_handler_that_is_at_work() -> None:
    """What was due of the body is due no more: the handler has its time, the client an answer."""

    async def late(call: Call[Request]) -> Response:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(9, waiter.set_result, None)
        await waiter
        return await read(call)

    server, connection, wire = serve(late, ServerSettings(body_bytes=1000))
    connection.data_received(POST.replace(b"Content-Length: 100000", b"Transfer-Encoding: chunked"))
    connection.data_received(b"fff\r\n" + b"x" * 0xFFF)
    await sleep(8.9)
    assert not wire.closed
    await sleep(0.2)
    assert wire.sent.startswith(b"HTTP/1.1 413 ")
    assert wire.ended
    await sleep(5 + SOON)
    assert not wire.aborted
    assert not server.connections


async def test_a_slow_reader_of_a_refusal_is_cut_as_one() -> None:
    server, connection, wire = serve(ok)
    wire.unsent = 100
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    await sleep(30 + SOON)
    assert wire.aborted
    assert server.counters.timeouts == 1
    assert not server.connections


async def test_a_refused_client_that_floods_is_cut_at_once() -> None:
    server, connection, wire = serve(ok)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(64):
        assert not wire.aborted
        connection.data_received(b"x" * (1 << 20))
    assert not wire.aborted
    connection.data_received(b"x")
    assert wire.aborted
    await sleep(0)
    assert not server.connections


async def test_the_date_is_written_once_a_second() -> None:
    asked = 0

    def wall() -> float:
        nonlocal asked
        asked += 1
        return 784111777.5 + clock()

    _server, connection, wire = serve(ok, wall=wall)
    for _ in range(10):
        connection.data_received(GET)
    assert asked == 1
    assert b"date: Sun, 06 Nov 1994" in wire.sent
    await sleep(1)
    connection.data_received(GET)
    assert asked == 2
    connection.cut()
    await sleep(0)


# The client


def ask(within: float = 3.0) -> Call[Request]:
    return Call(Request.of("GET", "/"), clock() + within)


async def begin(pool: Pool, within: float = 3.0) -> Any:
    task = asyncio.ensure_future(pool(ask(within)))
    while not wires(pool) or not wires(pool)[-1].sent:
        await sleep(0)
    return task


async def test_the_head_is_awaited_until_the_deadline_and_no_longer() -> None:
    pool = wired()
    task = await begin(pool)
    await sleep(2.9)
    assert not task.done()
    await sleep(0.1 + SOON)
    with pytest.raises(Fault) as caught:
        await task
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert wires(pool)[0].aborted
    await sleep(0)
    assert pool.statistics()["open"] == 0


async def test_a_body_outlives_the_deadline_while_it_moves() -> None:
    pool = wired()
    task = await begin(pool)
    wire = wires(pool)[0]
    wire.protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    answer = await task
    verdicts: list[Verdict] = []
    assert isinstance(answer, StreamResponse)
    answer.on_end(verdicts.append)
    for _ in range(10):
        await sleep(29)
        wire.protocol.data_received(b"x" * 100)
        assert await answer.body.chunk() == b"x" * 100
    assert verdicts == [GOOD]
    await pool.close()
    await sleep(0)


async def test_a_body_that_hangs_is_bad_after_thirty_seconds() -> None:
    pool = wired()
    task = await begin(pool)
    wires(pool)[0].protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
    answer = await task
    verdicts: list[Verdict] = []
    answer.on_end(verdicts.append)
    assert await answer.body.chunk() == b"x"
    await sleep(29.9)
    assert verdicts == []
    await sleep(0.2)
    assert [verdict.health for verdict in verdicts] == [Health.BAD]
    with pytest.raises(Fault):
        await answer.body.chunk()
    await sleep(0)


async def test_an_upstream_is_not_blamed_for_a_slow_taker() -> None:
    pool = wired(ClientSettings(buffer_bytes=10))
    task = await begin(pool)
    wire = wires(pool)[0]
    wire.protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
    answer = await task
    verdicts: list[Verdict] = []
    answer.on_end(verdicts.append)
    assert not wire.reading
    await sleep(300)
    assert verdicts == []
    assert await answer.body.chunk() == b"x" * 50
    assert wire.reading
    wire.protocol.data_received(b"x" * 50)
    assert verdicts == [GOOD]
    await pool.close()
    await sleep(0)


async def test_idle_connections_of_a_pool_are_closed_before_their_peer_would() -> None:
    pool = wired()
    task = await begin(pool)
    wires(pool)[0].protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await task
    await sleep(14.9)
    assert not wires(pool)[0].closed
    await sleep(0.2)
    assert wires(pool)[0].closed
    assert pool.statistics()["idle"] == 0


async def test_an_alarm_between_the_close_and_its_end_makes_no_reset_of_it() -> None:
    """It may ring at any moment: one of a draining process did so just then."""
    server, connection, wire = serve(ok)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert wire.sent.endswith(b"ok")
    assert wire.closed
    connection.ring()
    assert not wire.aborted
    assert server.counters.timeouts == 0
    await sleep(SOON)
    assert not server.connections
