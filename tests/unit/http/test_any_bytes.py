"""Any bytes, in any slices: a request or a refusal, an answer or a fault, and nothing else.

What a stream of bytes means must not depend on how the network cut it: a parser that sees it
otherwise is how requests are smuggled.
"""

import asyncio
import itertools
from typing import Any, NamedTuple
from unittest import mock

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.http import connection as http_connection
from switchgear.http import turned as turning
from switchgear.http.message import Request, Response
from switchgear.http.server import Server
from switchgear.policy.call import Call
from switchgear.policy.fault import Fault
from switchgear.testing.virtual import clock, run
from tests.unit.http.wire import serve, wired, wires

HEADS = [
    b"GET / HTTP/1.1\r\n",
    b"GET /a?b HTTP/1.1\r\n",
    b"POST /p HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"POST http://a/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET /%2e%2e HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
]
FIELDS = [
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"X-A: b\r\n",
    b" folded\r\n",
    b"X : y\r\n",
    b"X: y\n",
    b"X: \0\r\n",
]
BODIES = [
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;x=y\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"6\r\nhello\r\n",
    b"\r\n",
    b"\n",
    b"x",
]

messages = st.tuples(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(FIELDS), max_size=4),
    st.just(b"\r\n"),
    st.lists(st.sampled_from(BODIES), max_size=3),
).map(lambda parts: parts[0] + b"".join(parts[1]) + parts[2] + b"".join(parts[3]))
plain = st.sampled_from(
    [
        b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /z HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]
)
streams = st.lists(st.one_of(plain, messages), min_size=1, max_size=4).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


def sliced(data: bytes, points: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


class Understood(NamedTuple):
    """The requests that were read whole, the methods of all that were answered, and the answers."""

    seen: list[tuple[str, str, bytes]]
    methods: list[str]
    sent: bytes


async def understand(pieces: list[bytes]) -> Understood:
    """Feed a server, and see what it takes the bytes for."""
    seen: list[tuple[str, str, bytes]] = []
    methods: list[str] = []

    async def handler(call: Call[Request]) -> Response:
        request = call.payload
        methods.append(request.method)
        body = await request.body.read()
        seen.append((request.method, request.path, body))
        return Response(200, body=b"ok")

    def turned(server: Server, peer: str, fault: Fault, *read: Any, bodiless: bool) -> bytes:
        methods.append("HEAD" if bodiless else "GET")
        return turning.turned(server, peer, fault, *read, bodiless=bodiless)

    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    server, connection, wire = serve(handler, wall=lambda: 784111777.0)
    with mock.patch.object(http_connection, "turned", turned):
        for piece in pieces:
            if wire.closed:
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    connection.cut()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert errors == []
    assert not server.connections
    assert server.counters.defects == 0
    return Understood(seen, methods, wire.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))


def statuses(understood: Understood) -> list[int]:
    """Read the answers by another parser: each must be well formed."""
    _, methods, sent = understood
    if not sent:
        return []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(sent)
    client.receive_data(b"")
    read: list[int] = []
    number = 0
    while True:
        method = methods[number] if number < len(methods) else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert not isinstance(event, h11.ConnectionClosed), sent
            if isinstance(event, h11.Response):
                read.append(event.status_code)
        number += 1
        if client.states[h11.SERVER] is not h11.DONE or not client.trailing_data[0]:
            return read
        client.start_next_cycle()


@pytest.mark.pure
@settings(max_examples=300, deadline=None)
@given(streams, cuts)
@example(b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", [])
@example(b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\n", [62])
@example(b"HEAD / HTTP/1.1\r\n\r\n", [3])
def test_what_bytes_mean_does_not_depend_on_their_slicing(data: bytes, points: list[int]) -> None:
    whole = run(understand([data]))
    cut = run(understand(sliced(data, points)))
    assert cut.seen == whole.seen
    got = statuses(whole)
    assert statuses(cut) == got
    assert [status for status in got if status == 200] == [200] * len(whole.seen)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), cuts)
def test_noise_is_refused_or_awaited(data: bytes, points: list[int]) -> None:
    understood = run(understand(sliced(data, points)))
    assert understood.seen == []
    assert understood.sent == b"" or statuses(understood)[0] in (400, 414, 431, 505)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 2000\r\n",
]
answers = st.tuples(
    st.sampled_from(ANSWERS),
    st.lists(st.sampled_from(FIELDS), max_size=3),
    st.just(b"\r\n"),
    st.lists(st.sampled_from(BODIES), max_size=3),
).map(lambda parts: parts[0] + b"".join(parts[1]) + parts[2] + b"".join(parts[3]))


async def hear(pieces: list[bytes]) -> tuple[int, bytes] | None:
    """Let an upstream answer so; return what the caller got, or None for a fault."""
    pool = wired()
    task = asyncio.ensure_future(pool(Call(Request.of("GET", "/"), clock() + 3)))
    while not wires(pool) or not wires(pool)[0].sent:
        await asyncio.sleep(0)
    wire = wires(pool)[0]
    for piece in pieces:
        if wire.closed:
            break
        wire.protocol.data_received(piece)
    await asyncio.sleep(0)
    got: tuple[int, bytes] | None
    try:
        if not wire.closed:
            wire.protocol.eof_received()
            wire.close()
        answer = await task
        got = answer.status, await answer.read()
    except Fault:
        got = None
        assert wire.closed
    await pool.close()
    await asyncio.sleep(0)
    assert pool.statistics()["open"] == 0
    return got


@settings(max_examples=300, deadline=None)
@given(st.lists(answers, min_size=1, max_size=2).map(b"".join), cuts)
def test_an_upstream_is_understood_the_same_however_it_is_sliced(
    data: bytes, points: list[int]
) -> None:
    whole = run(hear([data]))
    cut = run(hear(sliced(data, points)))
    # Bytes after an answer are a fault where they come with it, and poison where they come later.
    assert cut == whole or whole is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), cuts)
def test_noise_from_an_upstream_is_a_fault(data: bytes, points: list[int]) -> None:
    assert run(hear(sliced(data, points))) is None
