"""Program 1, over real sockets: an answer is judged by its end, not by its head."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest

from switchgear.http.pool import Pool
from switchgear.http.settings import ClientSettings
from switchgear.policy.breaker import State
from switchgear.policy.verdict import Health
from tests.entrances.proxy import serve_proxy
from tests.integration.http.harness import Raw, answers
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    bulkhead,
    nothing_left,
    serving,
    speaking,
    until,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("loop_factory")

BODY = bytes(range(256)) * 64
QUICK = ClientSettings(body_timeout=0.2)


def get(path: str, *, last: bool = True) -> bytes:
    closing = "Connection: close\r\n" if last else ""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{closing}\r\n".encode()


class Upstream:
    """A server that answers by the path: whole, cut, hung, slow; it notes who leaves it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left = 0
        self.go_on = asyncio.Event()
        self.hang_up = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            path = head.split()[1]
            self.asked.append(path)
            if not await self.answer(path.split("/"), reader, writer):
                return

    async def answer(
        self, path: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match path[1:]:
            case ["mute"]:
                await self.gone(reader, self.hang_up)
                return False
            case ["named", name]:
                body = name.encode() * 2000
            case ["status", status]:
                writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
                return True
            case _:
                body = BODY
        if path[1] == "chunks":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            first, rest = (b"%x\r\n%b\r\n" % (len(body) // 2, part) for part in halves(body))
            rest += b"0\r\n\r\n"
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            first, rest = halves(body)
        writer.write(first)
        await writer.drain()
        if path[1] == "hung" or path[-1] == "wait":
            if await self.gone(reader, self.go_on):
                return False
        else:
            await asyncio.sleep(0)
        if path[-1] == "cut":
            return False
        writer.write(rest)
        await writer.drain()
        return True

    async def gone(self, reader: asyncio.StreamReader, word: asyncio.Event) -> bool:
        """Wait for whoever asked to leave, or for the word to go on."""
        left = asyncio.ensure_future(reader.read(1))
        more = asyncio.ensure_future(word.wait())
        try:
            await asyncio.wait({left, more}, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                self.left += 1
                left.exception()
            return left.done()
        finally:
            left.cancel()
            more.cancel()
            await asyncio.wait({left, more})


def halves(body: bytes) -> tuple[bytes, bytes]:
    return body[: len(body) // 2], body[len(body) // 2 :]


class Setting:
    """The proxy between an upstream and a client, with its gates."""

    def __init__(self, upstream: Upstream, port: int, gates: Sequence[Overheard]) -> None:
        self.upstream = upstream
        self.port = port
        self.gates = gates

    async def client(self, path: str) -> Raw:
        client = await Raw.to(self.port)
        await client.send(get(path))
        return client

    async def ask(self, path: str) -> bytes:
        """Ask, and return every byte that came back."""
        client = await self.client(path)
        got = await client.rest()
        await client.close()
        return got

    async def settled(self, count: int = 1) -> list[Health]:
        """Wait for so many verdicts, which both gates were told alike, and return them."""
        await until(lambda: len(self.gates[0].verdicts) >= count)
        assert [gate.out for gate in self.gates] == [0, 0]
        assert self.gates[0].verdicts == self.gates[1].verdicts
        return self.gates[0].heard


@asynccontextmanager
async def proxied(client: ClientSettings = QUICK, **settings: Any) -> AsyncIterator[Setting]:
    gates = breaker(**settings), bulkhead(permits=200)
    upstream = Upstream()
    async with nothing_left(*gates), speaking(upstream.talk) as port:
        pool = Pool("127.0.0.1", port, client, name="upstream")
        async with serving(serve_proxy(pool, *gates)) as mine:
            yield Setting(upstream, mine, gates)
        await pool.close()


@pytest.mark.parametrize("path", ["/plain", "/chunks"])
async def test_a_whole_body_is_good_and_only_its_end_says_so(path: str) -> None:
    async with proxied() as on:
        client = await on.client(f"{path}/wait")
        await client.until(BODY[:256])
        assert [gate.out for gate in on.gates] == [1, 1]
        assert on.gates[0].verdicts == []
        on.upstream.go_on.set()
        rest = await client.rest()
        await client.close()
        assert rest.endswith(halves(BODY)[1] + (b"\r\n0\r\n\r\n" if path == "/chunks" else b""))
        assert await on.settled() == [Health.GOOD]
        (answer,) = answers(await on.ask(path))
        assert (answer.status, answer.body) == (200, BODY)
        assert await on.settled(2) == [Health.GOOD] * 2


@pytest.mark.parametrize("path", ["/plain/cut", "/chunks/cut"])
async def test_a_cut_body_is_bad_although_its_head_was_200(path: str) -> None:
    async with proxied() as on:
        got = await on.ask(path)
        assert got.startswith(b"HTTP/1.1 200 OK")
        with pytest.raises((h11.RemoteProtocolError, AssertionError)):
            answers(got)
        assert await on.settled() == [Health.BAD]


async def test_a_hung_body_is_bad_and_cut_by_us() -> None:
    async with proxied() as on:
        got = await on.ask("/hung")
        assert got.startswith(b"HTTP/1.1 200 OK")
        with pytest.raises((h11.RemoteProtocolError, AssertionError)):
            answers(got)
        assert await on.settled() == [Health.BAD]
        await until(lambda: on.upstream.left == 1)


async def test_cut_bodies_open_the_breaker() -> None:
    async with proxied(consecutive=3) as on:
        for count in range(1, 4):
            assert (await on.ask("/plain/cut")).startswith(b"HTTP/1.1 200 OK")
            await on.settled(count)
        (refused,) = answers(await on.ask("/plain"))
        assert refused.status == 503
        assert on.gates[0].statistics()["state"] == State.OPEN
        assert len(on.upstream.asked) == 3


@pytest.mark.parametrize(
    ("status", "health"), [(404, Health.GOOD), (500, Health.BAD), (503, Health.BAD)]
)
async def test_an_answer_without_a_body_is_judged_by_its_status(
    status: int, health: Health
) -> None:
    async with proxied() as on:
        (answer,) = answers(await on.ask(f"/status/{status}"))
        assert answer.status == status
        assert await on.settled() == [health]


@pytest.mark.parametrize("path", ["/mute", "/hung", "/chunks/wait"])
async def test_a_client_that_leaves_is_no_failure_and_its_upstream_is_told(path: str) -> None:
    # A client whose answer stands still is known to have left only after a moment.
    async with proxied(ClientSettings()) as on:
        client = await on.client(path)
        await until(lambda: on.upstream.asked == [path])
        if path != "/mute":
            await client.until(BODY[:256])
        assert on.gates[0].out == 1
        await client.close()
        assert await on.settled() == [Health.NEUTRAL]
        await until(lambda: on.upstream.left == 1)


async def test_draining_lets_a_stream_end_and_then_calls_off_what_has_not() -> None:
    gates = breaker(), bulkhead()
    upstream = Upstream()
    async with nothing_left(*gates), speaking(upstream.talk) as port:
        pool = Pool("127.0.0.1", port, name="upstream")
        server = serve_proxy(pool, *gates)
        async with serving(server) as mine:
            ends, hangs = await Raw.to(mine), await Raw.to(mine)
            await ends.send(get("/plain/wait"))
            await hangs.send(get("/mute"))
            await until(lambda: len(upstream.asked) == 2)
            draining = asyncio.create_task(server.drain(0.3))
            await asyncio.sleep(0.05)
            assert (gates[0].verdicts, upstream.left) == ([], 0)
            upstream.go_on.set()
            assert (await ends.rest()).endswith(BODY[-256:])
            assert gates[0].heard == [Health.GOOD]
            assert await draining is False
            await until(lambda: upstream.left == 1)
            await hangs.rest()
            await ends.close()
            await hangs.close()
        await pool.close()
    assert gates[0].heard == [Health.GOOD, Health.NEUTRAL]


async def test_of_200_interleaved_connections_each_gets_its_own_bytes() -> None:
    async with proxied() as on:
        clients = [await Raw.to(on.port) for _ in range(200)]
        for number, client in enumerate(clients):
            await client.send(get(f"/named/{number:04}"))
        for number, client in enumerate(clients):
            (answer,) = answers(await client.rest())
            assert answer.body == b"%04d" % number * 2000
            await client.close()
        assert await on.settled(200) == [Health.GOOD] * 200


@pytest.mark.parametrize("path", ["/plain", "/chunks", "/chunks/cut", "/mute"])
async def test_every_wait_can_be_the_last(watch: Watch, path: str) -> None:
    async def scene() -> None:
        async with proxied() as on:
            client = await Raw.to(on.port)
            watch.leave = client.writer.transport.abort
            await client.send(get(path))
            if path == "/mute" and not watch.struck:
                await until(lambda: watch.struck or on.upstream.asked)
                await asyncio.sleep(0.01)
                on.upstream.hang_up.set()
            await client.rest()
            await client.close()
            (health,) = await on.settled()
            cut = path in ("/chunks/cut", "/mute")
            usual = Health.BAD if cut else Health.GOOD
            assert health in ((usual, Health.NEUTRAL) if watch.struck else (usual,))

    await at_every_wait(watch, scene, *Strike, least=2)
