"""The pooled client against upstreams that misbehave, and the proxy that the two make."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.pool import deadline_line
from switchgear.http.problem import fault_of, judging, problem_within
from switchgear.http.refusals import reason_of, status_of
from switchgear.http.server import Drive
from switchgear.http.settings import ClientSettings, ServerSettings
from switchgear.http.stream import Produced
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Health, Verdict
from tests.integration.http.harness import (
    Raw,
    answers,
    ask,
    call,
    echo,
    listen,
    pooled,
    raw_server,
    serving,
    streaming,
)
from tests.support.entrance import until

pytestmark = pytest.mark.usefixtures("loop_factory")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def test_connections_are_kept_and_used_again(loop_factory: Any) -> None:
    async with serving(echo) as server, pooled(server.port) as pool:
        for number in range(5):
            answer = await pool(call("POST", f"/a{number}?b=c", body=b"x" * number))
            got = json.loads(await answer.read())
            assert (got["path"], got["query"], got["body"]) == (f"/a{number}", "b=c", "x" * number)
        many = await asyncio.gather(*[pool(call()) for _ in range(20)])
        assert {answer.status for answer in many} == {200}
        assert pool.counters.connects == 20
        assert server.counters.accepted == 20
        assert pool.statistics()["idle"] == 20


async def test_bodies_stream_both_ways(loop_factory: Any) -> None:
    async def back(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            async for part in call.payload.body:
                yield part

        return StreamResponse.of(make())

    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            yield bytes([number]) * 9000

    async with serving(back) as server, pooled(server.port) as pool:
        answer = await pool(call("POST", "/", body=Produced(parts())))
        whole = await answer.read()
    assert whole == b"".join(bytes([number]) * 9000 for number in range(100))


BROKEN = [
    ("length and coding", (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk"),
    ("another coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"),
    ("folding", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"),
    ("a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("a malformed chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("bytes after the answer", OK + b"HTTP/1.1 200 OK\r\n\r\n"),
    ("a body for 204", b"HTTP/1.1 204 No Content\r\n\r\nok"),
    ("an upgrade that was not asked for", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ("endless interim answers", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + OK),
    ("a huge head", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 40_000 + b"\r\n\r\n"),
    ("an endless head", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 40_000),
    ("a cut head", b"HTTP/1.1 200 OK\r\nConte"),
    ("a cut body in one piece", b""),
]  # fmt: skip


@pytest.mark.parametrize("wire", [pytest.param(w, id=n) for n, w in BROKEN])
async def test_an_answer_that_breaks_a_rule_is_a_fault_and_poisons_the_connection(
    loop_factory: Any, wire: bytes
) -> None:
    """Rule 22."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(wire)
        if wire.endswith((b"Conte", b"aaaa")) or not wire:
            return
        await reader.read()

    async with raw_server(talk) as port, pooled(port) as pool:
        with pytest.raises(Fault) as caught:
            await pool(call())
        assert caught.value.code is Code.UNAVAILABLE
        assert caught.value.effect is Effect.UNKNOWN
        assert caught.value.origin == "upstream"
        assert status_of(caught.value) == 502
        await asyncio.sleep(0.01)
        assert pool.statistics()["open"] == 0


async def test_unsolicited_bytes_poison_an_idle_connection(loop_factory: Any) -> None:
    """Rule 22: the answer of one caller is never another's."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(OK.replace(b"ok", b"no"))
        await reader.read()

    async with raw_server(talk) as port, pooled(port) as pool:
        assert await (await pool(call())).read() == b"ok"
        async with asyncio.timeout(5):
            while not pool.counters.poisoned:
                await asyncio.sleep(0.005)
        assert pool.counters.poisoned == 1
        assert pool.statistics()["idle"] == 0
        assert await (await pool(call())).read() == b"ok"


async def test_poison_that_the_loop_has_not_seen_yet_is_found_before_a_post(
    loop_factory: Any,
) -> None:
    loop = asyncio.get_running_loop()
    sock = listen()
    sock.setblocking(False)

    async def asked() -> socket.socket:
        async with asyncio.timeout(5):
            peer, _ = await loop.sock_accept(sock)
            assert await loop.sock_recv(peer, 65536)
        return peer

    async with pooled(sock.getsockname()[1]) as pool:
        first = asyncio.ensure_future(pool(call()))
        peer = await asked()
        peer.sendall(OK)
        assert await (await first).read() == b"ok"
        peer.shutdown(socket.SHUT_WR)  # from here on no turn of the loop until the POST
        second = asyncio.ensure_future(pool(call("POST", "/", body=b"x")))
        other = await asked()
        other.sendall(OK)
        assert await (await second).read() == b"ok"
        assert pool.counters.stale == 0
        peer.close()
        other.close()
    sock.close()


async def test_interim_answers_are_skipped(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK)
        await reader.read()

    async with raw_server(talk) as port, pooled(port) as pool:
        assert (await pool(call())).status == 200


@pytest.mark.parametrize(
    ("repeatable", "body", "again"),
    [(True, b"", True), (False, b"x", False), (True, None, False)],
    ids=["repeatable", "not repeatable", "a body that is gone"],
)
async def test_a_dead_kept_connection_is_retried_only_where_that_is_harmless(
    loop_factory: Any, repeatable: bool, body: bytes | None, again: bool
) -> None:
    """Rule 27: the upstream takes the second request of each connection and closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await head_of(reader)

    async def produced() -> AsyncIterator[bytes]:
        yield b"x"

    async with raw_server(talk) as port, pooled(port) as pool:
        await pool(call())
        content = Produced(produced()) if body is None else body
        second = pool(call("PUT", "/", body=content, repeatable=repeatable))
        if again:
            assert (await second).status == 200
            assert pool.counters.stale == 1
        else:
            with pytest.raises(Fault) as caught:
                await second
            assert caught.value.effect is Effect.UNKNOWN
            assert pool.counters.stale == 0


async def test_a_fresh_connection_that_dies_is_a_fault(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)

    async with raw_server(talk) as port, pooled(port) as pool:
        with pytest.raises(Fault) as caught:
            await pool(call(repeatable=True))
        assert caught.value.effect is Effect.UNKNOWN
        assert pool.counters.connects == 1


async def test_a_refused_connection_had_no_effect(loop_factory: Any) -> None:
    sock = listen()
    port = sock.getsockname()[1]
    sock.close()
    async with pooled(port) as pool:
        with pytest.raises(Fault) as caught:
            await pool(call())
        assert caught.value.code is Code.UNAVAILABLE
        assert caught.value.effect is Effect.NONE


async def test_a_connection_that_hangs_had_no_effect(loop_factory: Any) -> None:
    import socket

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    port = sock.getsockname()[1]
    fill = [socket.socket() for _ in range(4)]  # the queue is full: further SYNs are dropped
    for one in fill:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    async with pooled(port, ClientSettings(connect_timeout=0.05)) as pool:
        with pytest.raises(Fault) as caught:
            await pool(call())
        assert caught.value.code is Code.UNAVAILABLE
        assert caught.value.effect is Effect.NONE
        with pytest.raises(Fault) as hurried:
            await pool(call(within=0.01))
        assert hurried.value.code is Code.DEADLINE_EXCEEDED
        assert hurried.value.effect is Effect.NONE
        await asyncio.sleep(0.08)
    for one in [*fill, sock]:
        one.close()


async def test_the_number_of_connections_is_bounded(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await asyncio.sleep(0.05)
        writer.write(OK)
        await reader.read()

    async with raw_server(talk) as port, pooled(port, ClientSettings(connections=2)) as pool:
        got = await asyncio.gather(*[pool(call()) for _ in range(3)], return_exceptions=True)
        refused = [one for one in got if isinstance(one, Fault)]
        assert [fault.refusal for fault in refused] == [Refusal.FULL]
        assert refused[0].effect is Effect.NONE


async def test_the_deadline_bounds_the_head(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()

    async with raw_server(talk) as port, pooled(port) as pool:
        with pytest.raises(Fault) as caught:
            await pool(call(within=0.05))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert caught.value.effect is Effect.UNKNOWN
        assert pool.statistics()["open"] == 0


async def test_a_caller_who_leaves_takes_the_connection_along(loop_factory: Any) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        try:
            await reader.read()
        finally:
            closed.set()

    async with raw_server(talk) as port, pooled(port) as pool:
        task = asyncio.ensure_future(pool(call()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 5)
        assert pool.statistics()["open"] == 0


async def test_a_caller_who_leaves_before_the_connection_leaves_it_to_others(
    loop_factory: Any,
) -> None:
    async with serving(echo) as server, pooled(server.port) as pool:
        task = asyncio.ensure_future(pool(call()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)
        assert pool.statistics()["idle"] == 1
        await pool(call())
        assert pool.counters.connects == 1


ENDINGS = [
    ("complete by length", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", b"def", GOOD),
    ("complete by chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     b"3\r\ndef\r\n0\r\n\r\n", GOOD),
    ("complete by close", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
     b"def", GOOD),
    ("complete by close of HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nabc", b"def", GOOD),
    ("cut by length", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabc", b"def", BAD),
    ("cut by chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     b"3\r\ndef\r\n", BAD),
    ("malformed later", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     b"nonsense\r\n", BAD),
    ("too long", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", b"defg", BAD),
]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "end"), [pytest.param(f, s, e, id=n) for n, f, s, e in ENDINGS]
)
async def test_the_end_of_a_body_is_told_once_and_truly(
    loop_factory: Any, first: bytes, second: bytes, end: Verdict
) -> None:
    """A body cut or hung is BAD although its head was 200."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(first)
        await asyncio.sleep(0.03)
        writer.write(second)

    verdicts: list[Verdict] = []
    async with raw_server(talk) as port, pooled(port) as pool:
        answer = await pool(call())
        assert isinstance(answer, StreamResponse)
        answer.on_end(verdicts.append)
        if end is GOOD:
            assert await answer.read() == b"abcdef"
        else:
            with pytest.raises(Fault):
                await answer.read()
        answer.abandon()
        await asyncio.sleep(0.01)
    assert [verdict.health for verdict in verdicts] == [end.health]


async def test_a_hung_body_is_bad_but_a_slow_taker_is_not(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        size = 10 if b"/hang" in head else 1_000_000
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nx" % size)
        if size > 10:
            writer.write(b"x" * (size - 1))
        await reader.read()

    verdicts: list[Verdict] = []
    settings = ClientSettings(body_timeout=0.08, buffer_bytes=4096)
    async with raw_server(talk) as port, pooled(port, settings) as pool:
        hung = await pool(call("GET", "/hang"))
        hung.on_end(verdicts.append)
        with pytest.raises(Fault):
            await hung.read()
        assert verdicts[0].health is Health.BAD
        slow = await pool(call("GET", "/slow"))
        slow.on_end(verdicts.append)
        await asyncio.sleep(0.3)
        assert len(verdicts) == 1
        assert len(await slow.read()) == 1_000_000
        assert verdicts[1] is GOOD


async def test_an_upstream_that_takes_a_little_now_and_then_is_waited_for(
    loop_factory: Any,
) -> None:
    """However slowly it reads what the kernel holds, which asks for more a megabyte later only."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with pooled(port, ClientSettings(write_timeout=0.5)) as pool:
            asked = asyncio.create_task(pool(call("PUT", body=b"x" * 8_000_000)))
            upstream, _ = await loop.sock_accept(listening)
            with upstream:
                for _ in range(30):
                    assert await loop.sock_recv(upstream, 30_000)
                    await asyncio.sleep(0.05)
                assert not asked.done()
                with pytest.raises(Fault, match="it read nothing of the request for"):
                    await asyncio.wait_for(asked, 5)


async def test_an_abandoned_body_is_neutral_and_closes_the_connection(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        return streaming(*[b"x" * 9999] * 9, pause=0.01)

    async with serving(handler) as server, pooled(server.port) as pool:
        verdicts: list[Verdict] = []
        answer = await pool(call())
        answer.on_end(verdicts.append)
        await answer.body.chunk()
        answer.abandon()
        answer.abandon()
        assert verdicts == [NEUTRAL]
        assert pool.statistics()["open"] == 0


async def test_an_early_answer_ends_the_upload(loop_factory: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    async with raw_server(talk) as port, pooled(port) as pool:
        body = endless()
        answer = await pool(call("POST", "/", body=Produced(body)))
        assert answer.status == 413
        await asyncio.sleep(0)
        await body.aclose()
        await asyncio.wait_for(ended.wait(), 5)
        assert pool.statistics()["open"] == 0


async def test_the_stamp_is_set_last(loop_factory: Any) -> None:
    async with serving(echo) as server, pooled(server.port, stamp=deadline_line) as pool:
        got = json.loads(await (await pool(call(within=2))).read())
        name, value = got["headers"][-1]
        assert name == "switchgear-deadline-ms"
        assert 1000 < int(value) <= 2000


# The two together: a proxy


async def test_a_proxy_passes_bodies_and_re_emits_framing(loop_factory: Any) -> None:
    """Rule 22."""
    async with (
        serving(echo) as origin,
        pooled(origin.port) as pool,
        serving(pool, drive=Drive.EAGER) as proxy,
    ):
        wire = (
            b"POST /x%2e?y HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
            b"X-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
        )
        got = await ask(proxy.port, wire + LAST, ["POST", "GET"])
        seen = json.loads(got[0].body)
    assert seen["path"] == "/x."
    assert seen["body"] == "abc"
    assert seen["headers"] == [["host", "a"], ["x-kept", "1"], ["content-length", "3"]]


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_proxy_streams_both_ways(loop_factory: Any, size: int) -> None:
    async def back(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            async for part in call.payload.body:
                yield part

        return StreamResponse.of(make())

    limits = ServerSettings(body_bytes=8 << 20)
    async with (
        serving(back, limits) as origin,
        pooled(origin.port) as pool,
        serving(pool, limits, drive=Drive.EAGER) as proxy,
    ):
        client = await Raw.to(proxy.port)
        body = bytes(range(250)) * (size // 250)
        client.writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        client.writer.write(body)
        (got,) = answers(await client.rest(), ["POST"])
        await client.close()
    assert got.body == body


async def test_a_proxied_cut_reaches_the_client_as_a_cut(loop_factory: Any) -> None:
    """Rule 25; and before the first byte it is an honest 502."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        if b"/later" in head:
            writer.write(b"x" * 50_000)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        raw_server(talk) as port,
        pooled(port) as pool,
        serving(pool, drive=Drive.EAGER) as proxy,
    ):
        client = await Raw.to(proxy.port)
        await client.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await client.rest()
        await client.close()
        assert got.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 100000" in got
        assert len(got) < 100_000
        assert proxy.counters.defects == 0


async def test_a_slow_client_pauses_the_upstream(loop_factory: Any) -> None:
    """Rule 26: a slow reader pauses the upstream."""
    made = 0

    async def handler(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            nonlocal made
            for _ in range(1000):
                made += 1
                yield b"x" * 65536

        return StreamResponse.of(make())

    async with (
        serving(handler) as origin,
        pooled(origin.port) as pool,
        serving(pool, drive=Drive.EAGER) as proxy,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1024)
        writer.write(LAST)
        await asyncio.sleep(0.4)
        assert made < 600
        size = 0
        while part := await reader.read(1 << 20):
            size += len(part)
        writer.close()
        await writer.wait_closed()
    assert made == 1000
    assert size > 1000 * 65536


async def test_a_client_who_leaves_a_proxied_stream_abandons_the_upstream(
    loop_factory: Any,
) -> None:
    left = asyncio.Event()
    verdicts: list[Verdict] = []

    async def handler(call: Call[Request]) -> Response:
        async def make() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick\n"
                    await asyncio.sleep(0.01)
            finally:
                left.set()

        return StreamResponse.of(make())

    async with serving(handler) as origin, pooled(origin.port) as pool:

        async def forward(call: Call[Request]) -> Response:
            answer: Response = await pool(call)
            assert isinstance(answer, StreamResponse)
            answer.on_end(verdicts.append)
            return answer

        async with serving(forward, drive=Drive.EAGER) as proxy:
            client = await Raw.to(proxy.port)
            await client.send(LAST)
            await client.until(b"tick\n")
            await client.close()
            await asyncio.wait_for(left.wait(), 5)
            assert verdicts == [NEUTRAL]
            assert pool.statistics()["open"] == 0


async def test_a_client_who_leaves_its_upload_cuts_the_upstream_request(loop_factory: Any) -> None:
    faults: list[str] = []
    begun = asyncio.Event()

    async def handler(call: Call[Request]) -> Response:
        begun.set()
        try:
            await call.payload.body.read()
        except BaseException as error:
            faults.append(type(error).__name__)
            raise
        return Response()

    async with (
        serving(handler) as origin,
        pooled(origin.port) as pool,
        serving(pool, drive=Drive.EAGER) as proxy,
    ):
        client = await Raw.to(proxy.port)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
        async with asyncio.timeout(10):
            await begun.wait()
        await client.close()
        await until(lambda: faults)
        assert faults == ["CancelledError"]


async def test_a_fault_keeps_its_meaning_across_our_own_hops(loop_factory: Any) -> None:
    async def handler(call: Call[Request]) -> Response:
        raise Fault(
            Code.UNAVAILABLE,
            "breaker 'mail' is open",
            effect=Effect.NONE,
            refusal=Refusal.OPEN,
            retry_after=2.5,
            origin="mail",
        )

    async with (
        serving(handler, problem=lambda fault, _: problem_within(fault, "users")) as server,
        pooled(server.port) as pool,
    ):
        answer = await pool(call())
    fault = fault_of(answer, "users", trusted=True)
    assert fault is not None
    assert (fault.code, fault.effect, fault.refusal) == (
        Code.UNAVAILABLE, Effect.NONE, Refusal.OPEN,
    )  # fmt: skip
    assert (fault.origin, fault.hops, fault.retry_after) == ("mail", ("users",), 2.5)
    assert fault.detail == "breaker 'mail' is open"
    assert judging(trusted=True)(answer).health is Health.NEUTRAL
    assert judging(trusted=False)(answer).health is Health.BAD
    stranger = fault_of(answer, "users")
    assert stranger is not None
    assert stranger.refusal is None
    assert reason_of(stranger) == ""
