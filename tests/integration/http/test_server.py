"""The server on real sockets, on asyncio and on uvloop, asked by raw bytes (rules 20 to 29)."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchgear.core.ambient import current
from switchgear.http.events import Turned
from switchgear.http.exchanged import Exchanged
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, StreamResponse, hint
from switchgear.http.problem import judging, problem_within
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.http.unwritable import UnwritableError
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.integration.http.harness import (
    Raw,
    answers,
    ask,
    echo,
    listen,
    reluctant,
    serving,
    streaming,
)

pytestmark = pytest.mark.usefixtures("loop_factory")

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("drive", list(Drive))


@BOTH
async def test_a_request_is_answered_and_the_connection_kept(
    loop_factory: Any, drive: Drive
) -> None:
    async with serving(echo, drive=drive) as server:
        client = await Raw.to(server.port)
        for number in range(3):
            await client.send(b"GET /a%d?b=c HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            got = answers(await client.until(b"}"))[0]
            assert got.status == 200
            assert json.loads(got.body)["path"] == f"/a{number}"
            assert "date" in got.headers
            assert "connection" not in got.headers
        assert server.counters.requests == 3
        assert server.counters.accepted == 1
        await client.close()


async def test_answers_leave_without_delay(loop_factory: Any) -> None:
    """Whoever gave the socket: the second of two writes must not wait for an acknowledgement."""
    async with serving(echo) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await client.until(b"}")
        (connection,) = server.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await client.close()


async def test_a_hint_goes_before_the_answer_of_its_own_request_alone(loop_factory: Any) -> None:
    """Whoever still works for an earlier one of the connection is not heard any more."""
    links = Headers({"link": "</a.css>"})
    calls: list[Call[Request]] = []

    async def handler(call: Call[Request]) -> Response:
        calls.append(call)
        hint(calls[0], links)
        return Response(200, body=b"answered")

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        said = await client.until(b"answered")
        assert said.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200")
        await client.send(GET)
        assert (await client.until(b"answered")).startswith(b"HTTP/1.1 200")
        assert calls[0].payload.arrival is calls[1].payload.arrival
        await client.close()


@BOTH
async def test_pipelined_requests_answer_in_order(loop_factory: Any, drive: Drive) -> None:
    """Rule 28."""

    async def slow_first(call: Call[Request]) -> Response:
        await asyncio.sleep(0.05 if call.payload.path == "/0" else 0)
        return Response(200, body=call.payload.path.encode())

    wire = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(200)) + LAST
    handler = slow_first if drive is Drive.PARKED else echo_path
    async with serving(handler, drive=drive) as server:
        got = await ask(server.port, wire, ["GET"] * 201)
    assert [answer.body for answer in got] == [b"/%d" % n for n in range(200)] + [b"/last"]


async def echo_path(call: Call[Request]) -> Response:
    return Response(200, body=call.payload.path.encode())


async def test_pipelined_bodies_answer_in_order(loop_factory: Any) -> None:
    chunked = (
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    )
    counted = b"POST /n HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
    wire = (chunked + counted) * 10 + LAST
    async with serving(echo) as server:
        for size in (1, 7, len(wire)):
            client = await Raw.to(server.port)
            for at in range(0, len(wire), size):
                client.writer.write(wire[at : at + size])
                await asyncio.sleep(0)
            got = answers(await client.rest(), ["POST"] * 20 + ["GET"])
            await client.close()
            assert [json.loads(a.body)["body"] for a in got] == ["ab", "xyz"] * 10 + [""]


async def test_what_waits_behind_a_slow_request_is_bounded(loop_factory: Any) -> None:
    """Rule 28: the sum of buffered bytes."""
    release = asyncio.Event()

    async def handler(call: Call[Request]) -> Response:
        await release.wait()
        return Response()

    settings = ServerSettings(buffer_bytes=16384)
    async with serving(handler, settings) as server:
        client = await Raw.to(server.port)
        client.writer.write(GET * 400_000)
        await asyncio.sleep(0.2)
        (connection,) = server.connections
        assert len(connection._buffer) <= 16384 + 262_144  # and one read of the event loop
        assert client.writer.transport.get_write_buffer_size() > 0
        client.writer.transport.abort()
        release.set()
        await client.close()


REFUSED = [
    ("a smuggled length", (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "transfer-encoding"),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    ("bare LF throughout", b"GET / HTTP/1.1\nHost: a\n\n", 400, "request-line"),
    ("an unfinished head with a bare LF", b"GET / HTTP/1.1\r\nHost: a\nX", 400, "line-break"),
    ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line-break"),
    ("dots", b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "dot-segment"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "request-line"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    ("a long target", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414,
     "target-too-large"),
    ("an endless target", b"GET /" + b"a" * 20000, 414, "target-too-large"),
    ("a large head", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 33000 + b"\r\n\r\n", 431,
     "head-too-large"),
    ("an endless head", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000, 431, "head-too-large"),
    ("many lines", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431,
     "too-many-headers"),
    ("a large body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413,
     "body-too-large"),
    ("an expectation", b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "expectation"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "status", "reason"), [pytest.param(w, s, r, id=n) for n, w, s, r in REFUSED]
)
async def test_what_is_ambiguous_is_refused_and_the_connection_closed(
    loop_factory: Any, wire: bytes, status: int, reason: str
) -> None:
    """Rules 20, 21, 24 and the limits; a request hidden behind it is never read."""
    seen: list[Any] = []
    async with serving(echo, observer=seen.append) as server:
        (got,) = await ask(server.port, wire + GET)
        assert server.counters.requests == 0
    assert got.status == status
    assert got.headers["connection"] == "close"
    problem = json.loads(got.body)
    assert problem["status"] == status
    assert problem["reason"] == reason
    assert [(event.status, event.reason) for event in seen if isinstance(event, Turned)] == [
        (status, reason)
    ]


async def test_one_empty_line_before_a_request_is_tolerated(loop_factory: Any) -> None:
    async with serving(echo) as server:
        got = await ask(server.port, b"\r\n" + GET + b"\r\n" + LAST, ["GET", "GET"])
    assert [answer.status for answer in got] == [200, 200]


BROKEN_BODIES = [
    ("a chunk that is longer than it said", b"2\r\nabc\r\n0\r\n\r\n", "chunk"),
    ("a chunk with a bare LF", b"2\nab\r\n0\r\n\r\n", "chunk"),
    ("a huge extension", b"2;" + b"x" * 5000, "chunk-extension"),
    ("a malformed trailer", b"0\r\nA : b\r\n\r\n", "space-before-colon"),
    ("chunks beyond the limit", b"fffff\r\n" + b"a" * 0xFFFFF + b"\r\n" + b"2\r\nab\r\n0\r\n\r\n",
     "body-too-large"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "reason"), [pytest.param(b, r, id=n) for n, b, r in BROKEN_BODIES]
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
async def test_a_broken_body_is_refused_and_the_connection_closed(
    loop_factory: Any, body: bytes, reason: str, together: bool
) -> None:
    async with serving(echo) as server:
        client = await Raw.to(server.port)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        if together:
            await client.send(head + body + GET)
        else:
            await client.send(head)
            await asyncio.sleep(0.02)
            await client.send(body + GET)
        (got,) = answers(await client.rest(), ["POST"])
        await client.close()
        assert server.counters.requests <= 1
    assert got.status == (413 if reason == "body-too-large" else 400)
    assert json.loads(got.body)["reason"] == reason
    assert got.headers["connection"] == "close"


async def test_a_reader_may_accept_less_than_the_server(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        await call.payload.body.read(3)
        return Response()

    async with serving(handler) as server:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        whole = await ask(server.port, head + b"Content-Length: 4\r\n\r\nabcd", ["POST"])
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
        assert [whole[0].status, (await ask(server.port, chunked, ["POST"]))[0].status] == [413] * 2


async def test_continue_is_said_once_and_only_when_the_body_is_wanted(loop_factory: Any) -> None:
    """Rule 25."""

    async def handler(call: Call[Request]) -> Response:
        if call.payload.path == "/no":
            return Response(403)
        await asyncio.sleep(0.01)
        return Response(200, body=await call.payload.body.read())

    head = b"POST /%b HTTP/1.%d\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(head % (b"yes", 1))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert b"200 OK" in await client.until(b"abc")
        await client.send(head % (b"no", 1))
        got = await client.rest()  # nobody read it: the connection cannot go on
        assert got.startswith(b"HTTP/1.1 403 ")
        assert b"connection: close" in got
        await client.close()

        old = await Raw.to(server.port)
        await old.send(head % (b"yes", 0) + b"abc")
        assert (await old.rest()).startswith(b"HTTP/1.1 200 ")
        await old.close()


@BOTH
async def test_head_204_and_304_have_no_body(loop_factory: Any, drive: Drive) -> None:
    """Rule 25."""

    async def handler(call: Call[Request]) -> Response:
        path = call.payload.path
        if path == "/stream":
            return streaming(b"abc")
        return Response(int(path[1:]), body=b"abc")

    wire = b"".join(
        b"%b /%b HTTP/1.1\r\nHost: a\r\n\r\n" % pair
        for pair in ((b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304"), (b"HEAD", b"stream"))
    )
    async with serving(handler, drive=drive) as server:
        got = await ask(server.port, wire + LAST.replace(b"last", b"200"),
                        ["HEAD", "GET", "GET", "HEAD", "GET"])  # fmt: skip
    assert [answer.body for answer in got] == [b"", b"", b"", b"", b"abc"]
    assert got[0].headers["content-length"] == "3"
    assert "content-length" not in got[1].headers


async def test_http_1_0_closes_unless_asked_and_gets_no_chunks(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        return streaming(b"ab", b"c") if call.payload.path == "/s" else Response(200, body=b"x")

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"connection: keep-alive" in await client.until(b"x")
        await client.send(b"GET /s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        got = await client.rest()
        await client.close()
    assert got.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in got
    assert b"connection: close" in got


@BOTH
async def test_a_fault_becomes_a_problem(loop_factory: Any, drive: Drive) -> None:
    async def handler(call: Call[Request]) -> Response:
        raise Fault(Code.NOT_FOUND, "row 7 is missing", origin="db", extra={"id": 7})

    async with serving(handler, drive=drive) as server:
        (got,) = await ask(server.port, LAST)
    assert got.status == 404
    assert got.headers["content-type"] == "application/problem+json"
    assert json.loads(got.body) == {
        "type": "about:blank", "title": "Not Found", "status": 404, "code": "not_found",
        "detail": "There is nothing here.", "id": 7,
    }  # fmt: skip
    assert b"row 7" not in got.body


@BOTH
async def test_a_defect_is_a_500_with_its_traceback_in_the_log(
    loop_factory: Any, drive: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(call: Call[Request]) -> Response:
        if call.payload.path == "/a":
            raise ZeroDivisionError("secret detail")
        if call.payload.path == "/b":
            return "no response"  # type: ignore[return-value]  # wrong on purpose
        return Response(99)

    wire = GET + GET.replace(b"/a", b"/b") + LAST
    with caplog.at_level(logging.ERROR, "switchgear.http"):
        async with serving(handler, drive=drive) as server:
            got = await ask(server.port, wire, ["GET"] * 3)
            assert server.counters.defects == 3
    assert [answer.status for answer in got] == [500, 500, 500]
    assert b"secret" not in got[0].body
    assert [type(record.exc_info[1]).__name__ for record in caplog.records if record.exc_info] == [
        "ZeroDivisionError", "TypeError", "ValueError",
    ]  # fmt: skip


async def test_a_header_with_a_line_break_is_a_defect(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        return Response(200, Headers({"x": "a\r\nset-cookie: b"}))

    defects: list[BaseException] = []
    async with serving(
        handler,
        on_defect=lambda error, _: defects.append(error),
        problem=lambda fault, _: problem_within(fault, "service"),
    ) as server:
        (got,) = await ask(server.port, LAST)
    assert got.status == 500
    assert "set-cookie" not in got.headers
    assert [type(one) for one in defects] == [UnwritableError]
    told = json.loads(got.body)
    assert told["detail"] == "Something went wrong on our side."
    # It says nothing of the service: what is in such a header is mostly a client's.
    assert judging(trusted=True)(Response(got.status, Headers(got.headers))) == NEUTRAL


async def test_a_streamed_answer_is_framed_and_complete(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        known = call.payload.path == "/known"
        return streaming(b"ab", b"", b"c" * 100_000, length=100_002 if known else None)

    async with serving(handler) as server:
        got = await ask(server.port, GET.replace(b"/a", b"/known") + LAST, ["GET", "GET"])
    assert [len(answer.body) for answer in got] == [100_002] * 2
    assert got[0].headers["content-length"] == "100002"
    assert got[1].headers["transfer-encoding"] == "chunked"


BREAKS = {
    "raises": ZeroDivisionError(),
    "cancels": asyncio.CancelledError(),
    "exits": SystemExit(2),
    "leaves": GeneratorExit(),
    "panics": type("Panic", (BaseException,), {})(),
}


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("how", [*BREAKS, "short", "long"])
async def test_a_cut_answer_reaches_the_client_as_a_cut(
    loop_factory: Any, how: str, minor: int
) -> None:
    """Rule 25; with HTTP/1.0, where a close is an end, it takes a reset."""
    verdicts: list[Verdict] = []
    seen: list[Any] = []
    defects: list[BaseException] = []

    async def handler(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            yield b"abc"
            await asyncio.sleep(0.02)
            if how in BREAKS:
                raise BREAKS[how]
            if how == "long":
                yield b"def"

        length = None if how in BREAKS else 4
        answer = StreamResponse.of(make(), length=length)
        answer.on_end(verdicts.append)
        return answer

    async with serving(
        handler, observer=seen.append, on_defect=lambda error, _: defects.append(error)
    ) as server:
        client = await Raw.to(server.port)
        await client.send(b"GET / HTTP/1.%d\r\nHost: a\r\n\r\n" % minor)
        await client.until(b"abc")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)) as caught:
            await client.reader.readexactly(10)
        if minor == 0 and how in BREAKS:
            assert isinstance(caught.value, ConnectionResetError)
        await client.close()
    assert len(defects) == 1
    assert [event.cut for event in seen if isinstance(event, Exchanged)] == [True]
    assert len(verdicts) == 1
    if how in BREAKS:
        assert verdicts == [BAD]


@BOTH
async def test_a_client_who_leaves_calls_the_work_off(loop_factory: Any, drive: Drive) -> None:
    """Rule 16."""
    begun, ended = asyncio.Event(), asyncio.Event()
    seen: list[Any] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handler(call: Call[Request]) -> Response:
        begun.set()
        try:
            await future
        except asyncio.CancelledError:
            ended.set()
            raise
        return Response()

    async with serving(handler, drive=drive, observer=seen.append) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await begun.wait()
        await client.close()
        await asyncio.wait_for(ended.wait(), 5)
        await asyncio.sleep(0.01)
        assert [(event.left, event.status) for event in seen] == [(True, 0)]


async def test_a_client_who_leaves_a_stream_ends_it_neutral(loop_factory: Any) -> None:
    verdicts: list[Verdict] = []
    cleaned = asyncio.Event()

    async def handler(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick\n"
                    await asyncio.sleep(0.01)
            finally:
                cleaned.set()

        answer = StreamResponse.of(make())
        answer.on_end(verdicts.append)
        return answer

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        await client.until(b"tick\n")
        await client.close()
        await asyncio.wait_for(cleaned.wait(), 5)
    assert verdicts == [NEUTRAL]


async def test_a_slow_reader_pauses_the_one_who_writes(loop_factory: Any) -> None:
    """Rule 26: backpressure."""
    made = 0
    verdicts: list[Verdict] = []

    async def handler(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            nonlocal made
            for _ in range(800):
                made += 1
                yield b"x" * 65536

        answer = StreamResponse.of(make())
        answer.on_end(verdicts.append)
        return answer

    async with serving(handler) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(LAST)
        await asyncio.sleep(0.3)
        assert made < 400
        size = 0
        while part := await reader.read(1 << 20):
            size += len(part)
        writer.close()
        await writer.wait_closed()
    assert made == 800
    assert size > 800 * 65536
    assert verdicts == [GOOD]


async def test_a_slow_handler_pauses_the_client(loop_factory: Any) -> None:
    """Rule 26: the other way."""
    release = asyncio.Event()

    async def handler(call: Call[Request]) -> Response:
        await release.wait()
        return Response(200, body=b"%d" % len(await call.payload.body.read()))

    settings = ServerSettings(body_bytes=64 << 20)
    async with serving(handler, settings) as server:
        client = await Raw.to(server.port)
        body = b"x" * (32 << 20)
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                            b"Content-Length: %d\r\n\r\n" % len(body))  # fmt: skip
        client.writer.write(body)
        await asyncio.sleep(0.2)
        (connection,) = server.connections
        assert connection._incoming is not None
        assert connection._incoming.stream is not None
        assert connection._incoming.stream._size < 1 << 20
        release.set()
        (got,) = answers(await client.rest(), ["POST"])
        await client.close()
    assert got.body == b"%d" % len(body)


async def test_a_short_unread_body_does_not_cost_the_connection(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        return Response(429)

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        assert b"429" in await client.until(b"\r\n\r\n")
        await client.send(b"cde" + LAST)
        assert b"429" in await client.rest()
        await client.close()
        assert server.counters.accepted == 1


async def test_a_long_unread_body_costs_the_connection_but_not_the_answer(
    loop_factory: Any,
) -> None:
    async def handler(call: Call[Request]) -> Response:
        return Response(429)

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        await client.send(b"x" * 500_000)
        got = await client.rest()
        await client.close()
    assert got.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in got


async def test_the_deadlines_of_receipt(loop_factory: Any) -> None:
    """Rule 26: slow heads, slow bodies, idle connections."""
    settings = ServerSettings(head_timeout=0.1, body_grace=0.1, idle_timeout=0.3, linger=0.05)
    async with serving(echo, settings) as server:
        slow_head = await Raw.to(server.port)
        slow_body = await Raw.to(server.port)
        idle = await Raw.to(server.port)
        await slow_head.send(b"GET / HTTP/1.1\r\nHo")
        await slow_body.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nab")
        assert (await slow_head.rest()).startswith(b"HTTP/1.1 408 ")
        got = await slow_body.rest()
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b"body-timeout" in got
        assert await idle.rest() == b""
        assert server.counters.timeouts == 2
        for client in (slow_head, slow_body, idle):
            await client.close()


async def test_a_reader_without_progress_is_cut(loop_factory: Any) -> None:
    """Rule 26: slow readers."""
    verdicts: list[Verdict] = []

    async def handler(call: Call[Request]) -> Response:
        answer = streaming(*[b"x" * 65536] * 400)
        answer.on_end(verdicts.append)
        return answer

    async with serving(handler, ServerSettings(write_timeout=0.2)) as server:
        client = await Raw.to(server.port)
        await client.send(GET)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if not server.connections:
                break
        assert not server.connections
        assert server.counters.timeouts == 1
        await client.close()
    assert verdicts == [NEUTRAL]


@pytest.mark.parametrize("pieces", [[b"x" * 65536] * 400, [b"x" * 8_000_000]], ids=len)
async def test_a_reader_who_takes_a_little_now_and_then_is_waited_for(
    loop_factory: Any, pieces: list[bytes]
) -> None:
    """However slowly it reads what the kernel holds, which asks for more a megabyte later only."""

    async def handler(call: Call[Request]) -> Response:
        return streaming(*pieces) if len(pieces) > 1 else Response(200, body=pieces[0])

    settings = ServerSettings(write_timeout=0.5, idle_timeout=0.1)
    loop = asyncio.get_running_loop()
    async with serving(handler, settings) as server:
        with reluctant(server.port) as client:
            await loop.sock_sendall(client, GET)
            for _ in range(30):
                assert await loop.sock_recv(client, 30_000)
                await asyncio.sleep(0.05)
            assert server.connections
            assert not server.counters.timeouts
            for _ in range(100):
                await asyncio.sleep(0.02)
                if not server.connections:
                    break
            assert server.counters.refusals["write-timeout"] == 1, "it reads no more"


async def test_a_reader_who_takes_next_to_nothing_is_cut(loop_factory: Any) -> None:
    """A byte now and then would hold an upstream's connection for as long as one likes."""

    async def handler(call: Call[Request]) -> Response:
        return streaming(*[b"x" * 65536] * 400)

    settings = ServerSettings(write_timeout=0.5, body_rate=4_000_000)
    loop = asyncio.get_running_loop()
    async with serving(handler, settings) as server:
        with reluctant(server.port) as client:
            await loop.sock_sendall(client, GET)
            with pytest.raises(ConnectionResetError):
                for _ in range(60):
                    await loop.sock_recv(client, 30_000)
                    await asyncio.sleep(0.05)
            assert server.counters.refusals["write-timeout"] == 1


async def test_connections_are_capped_per_address(loop_factory: Any) -> None:
    async with serving(echo, ServerSettings(connections_per_address=2)) as server:
        first, second = await Raw.to(server.port), await Raw.to(server.port)
        await first.send(GET)
        await first.until(b"}")
        third = await Raw.to(server.port)
        assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
        await first.close()
        await third.close()
        await asyncio.sleep(0.02)
        (got,) = await ask(server.port, LAST)
        assert got.status == 200
        assert server.counters.turned_away == 1
        await second.close()


async def test_what_began_before_the_drain_is_answered(loop_factory: Any) -> None:
    """Rule 29."""

    async def handler(call: Call[Request]) -> Response:
        await asyncio.sleep(0.1)
        return Response(200, body=b"whole")

    server = Server(handler, ServerSettings(drain_grace=0.1))
    sock = listen()
    await server.start(sock)
    port = server.port
    busy, idle, late, queued = [await Raw.to(port) for _ in range(4)]
    await busy.send(GET)
    await asyncio.sleep(0.03)
    await queued.send(GET)
    draining = asyncio.ensure_future(server.drain(5))
    await asyncio.sleep(0.01)
    await late.send(GET)  # on a connection that was idle when the drain began
    got = answers(await busy.rest())[0]
    assert (got.body, got.headers["connection"]) == (b"whole", "close")
    assert answers(await late.rest())[0].body == b"whole"
    assert answers(await queued.rest())[0].body == b"whole"
    assert await idle.rest() == b""
    assert await draining
    with pytest.raises(OSError):
        await Raw.to(port)
    for client in (busy, idle, late, queued):
        await client.close()


@BOTH
async def test_who_was_told_to_go_on_before_the_drain_may_ask_once_more(
    loop_factory: Any, drive: Drive
) -> None:
    """The head of an answer that flows had left by then, and said nothing of an end."""
    rest = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await rest.wait()
        yield b"second"

    async def handler(call: Call[Request]) -> Response:
        return StreamResponse.of(pieces(), length=11) if not rest.is_set() else Response(200)

    server = Server(handler, ServerSettings(drain_grace=2.0), drive=drive)
    await server.start(listen())
    client, other = await Raw.to(server.port), await Raw.to(server.port)
    for one in (client, other):
        await one.send(GET)
        assert b"connection" not in await one.until(b"first")
    draining = asyncio.ensure_future(server.drain(30))
    rest.set()
    for one in (client, other):
        await one.until(b"second")
    await client.send(GET)
    (got,) = answers(await client.rest())
    assert (got.status, got.headers["connection"]) == (200, "close")
    assert await other.rest() == b"", "who asks nothing is not waited for"
    assert await draining
    await client.close()
    await other.close()


@BOTH
async def test_pipelined_requests_that_arrived_before_the_drain_are_answered(
    loop_factory: Any, drive: Drive
) -> None:
    """Rule 29."""
    started = asyncio.Event()
    release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handler(call: Call[Request]) -> Response:
        started.set()
        await asyncio.shield(release)
        return Response(200, body=call.payload.path.encode())

    server = Server(handler, drive=drive)
    await server.start(listen())
    client = await Raw.to(server.port)
    await client.send(b"".join(GET.replace(b"/a", b"/%d" % number) for number in range(5)))
    await started.wait()
    draining = asyncio.ensure_future(server.drain(5))
    await asyncio.sleep(0.01)
    release.set_result(None)
    got = answers(await client.rest(), ["GET"] * 5)
    assert [answer.body for answer in got] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    assert ["connection" in answer.headers for answer in got] == [False] * 4 + [True]
    assert await draining
    await client.close()


async def test_a_body_that_is_cut_is_never_complete_even_to_stubborn_code(
    loop_factory: Any,
) -> None:
    ended: list[str] = []

    async def handler(call: Call[Request]) -> Response:
        for _ in range(2):
            try:
                ended.append(repr(await call.payload.body.read()))
            except asyncio.CancelledError:
                ended.append("cancelled")
            except Fault as fault:
                ended.append(fault.code)
        return Response()

    async with serving(handler) as server:
        client = await Raw.to(server.port)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        await asyncio.sleep(0.02)
        await client.close()
        while len(ended) < 2:
            await asyncio.sleep(0.01)
    assert ended == ["cancelled", Code.CANCELLED]


async def test_connections_still_in_the_queue_are_answered_when_the_listener_closes(
    loop_factory: Any,
) -> None:
    """Rule 29: the kernel's queue is taken to its end."""
    server = Server(echo)
    await server.start(listen())
    import socket

    clients = []
    for _ in range(20):  # no await: the server cannot accept in between
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(GET)
        clients.append(sock)
    assert await server.drain(5)
    for sock in clients:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        sock.close()


async def test_a_drain_does_not_wait_for_ever(loop_factory: Any) -> None:
    called_off = asyncio.Event()

    async def handler(call: Call[Request]) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            called_off.set()
        return Response()

    server = Server(handler)
    await server.start(listen())
    client = await Raw.to(server.port)
    await client.send(GET)
    await asyncio.sleep(0.02)
    assert not await server.drain(0.05)
    await asyncio.wait_for(called_off.wait(), 1)
    assert await client.rest() == b""
    await client.close()


async def test_user_code_sees_its_own_call_and_nobody_elses_context(loop_factory: Any) -> None:
    from contextvars import ContextVar

    mark: ContextVar[str] = ContextVar("mark", default="")

    async def handler(call: Call[Request]) -> Response:
        assert current() is call
        found = mark.get()
        mark.set(call.payload.path)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)
        return Response(200, body=found.encode())

    async with serving(handler) as server:
        got = await asyncio.gather(
            *[ask(server.port, GET * 3 + LAST, ["GET"] * 4) for _ in range(50)]
        )
    assert {answer.body for batch in got for answer in batch} == {b""}


async def test_the_observer_is_shown_one_event_per_exchange(loop_factory: Any) -> None:
    seen: list[Any] = []

    async def handler(call: Call[Request]) -> Response:
        call.trail.route = "r"
        if call.payload.path == "/a":
            raise Fault(Code.UNAVAILABLE, "mail is down", retry_after=1.5)
        return Response(200, body=b"abc")

    async with serving(handler, observer=seen.append) as server:
        got = await ask(server.port, GET + LAST, ["GET", "GET"])
    first, second = seen
    assert got[0].headers["retry-after"] == "2"
    assert (first.status, first.fault, first.detail) == (503, "unavailable", "mail is down")
    assert (second.status, second.sent, second.fault) == (200, 3, "")
    assert second.call.trail.route == "r"
    assert second.elapsed >= 0


async def test_the_intake_makes_the_call_or_turns_it_away(loop_factory: Any) -> None:
    def intake(request: Request, now: float) -> Call[Request]:
        if request.path == "/last":
            raise Fault(Code.UNAUTHENTICATED)
        return Call(request, now + 1, key="k")

    async def handler(call: Call[Request]) -> Response:
        return Response(200, body=call.key.encode())

    async with serving(handler, intake=intake) as server:
        got = await ask(server.port, GET + LAST, ["GET", "GET"])
    assert got[0].body == b"k"
    assert got[1].status == 401
    assert got[1].headers["www-authenticate"] == "Bearer"
