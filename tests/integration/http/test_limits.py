"""Rule 26 on real sockets: who is turned away, what it costs, and what still gets in."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from switchgear.http.accept import REST
from switchgear.http.events import Turned
from switchgear.http.message import Response
from switchgear.http.pool import Pool
from switchgear.http.server import Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.fault import Effect, Fault, Refusal
from switchgear.policy.verdict import Health, judge
from tests.integration.http.harness import Raw, ask, call, echo, listen, serving
from tests.integration.http.test_tls import contexts

pytestmark = pytest.mark.usefixtures("loop_factory")

__all__ = ["contexts"]

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def dial(port: int, source: str) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))


def turned(seen: list[Any]) -> list[tuple[str, int, str, float | None]]:
    return [
        (event.peer, event.status, event.reason, event.configured)
        for event in seen
        if isinstance(event, Turned)
    ]


async def test_one_address_is_full_and_another_gets_in(loop_factory: Any) -> None:
    seen: list[Any] = []
    settings = ServerSettings(connections_per_address=3)
    async with serving(echo, settings, observer=seen.append) as server:
        greedy = [await Raw.to(server.port) for _ in range(8)]
        for client in greedy[3:]:
            got = await client.rest()
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in got
        other = await dial(server.port, "127.0.0.2")
        await other.send(LAST)
        assert (await other.rest()).startswith(b"HTTP/1.1 200 ")
        assert turned(seen) == [("127.0.0.1", 503, "address-full", 3)] * 5
        assert server.counters.refusals["address-full"] == server.counters.turned_away == 5
        assert server.counters.accepted == 4
        for client in (*greedy, other):
            await client.close()


async def test_who_sent_a_request_before_it_was_turned_away_reads_why(loop_factory: Any) -> None:
    async with serving(echo, ServerSettings(connections_per_address=0)) as server:
        for _ in range(20):
            client = await Raw.to(server.port)
            await client.send(GET)
            assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
            await client.close()


async def test_a_flood_of_one_address_does_not_keep_another_out(loop_factory: Any) -> None:
    """The queue in the kernel is emptied faster than it is filled: refusing costs little."""
    async with serving(echo, ServerSettings(connections_per_address=2)) as server:
        stop = asyncio.Event()
        opened = 0

        async def flood() -> None:
            nonlocal opened
            while not stop.is_set():
                client = await Raw.to(server.port)
                await client.rest()
                await client.close()
                opened += 1

        holders = [await Raw.to(server.port) for _ in range(2)]
        floods = [asyncio.ensure_future(flood()) for _ in range(20)]
        for _ in range(50):
            other = await dial(server.port, "127.0.0.3")
            await other.send(LAST)
            assert (await other.rest()).startswith(b"HTTP/1.1 200 ")
            await other.close()
        stop.set()
        await asyncio.gather(*floods)
        assert opened > 50
        assert server.counters.refusals["address-full"] == opened
        for holder in holders:
            await holder.close()


async def test_a_handshake_that_never_ends_is_a_connection_too(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    seen: list[Any] = []
    settings = ServerSettings(connections_per_address=3, head_timeout=0.5)
    server = Server(echo, settings, observer=seen.append)
    await server.start(listen(), tls=contexts[0])
    silent = [await Raw.to(server.port) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert (server.census.total, len(server.connections)) == (3, 0)
    fourth = await Raw.to(server.port)
    assert await fourth.rest() == b""  # no handshake is begun to say why
    assert turned(seen) == [("127.0.0.1", 0, "address-full", 3)]
    for client in silent:
        assert await client.rest() == b""
        await client.close()
    await fourth.close()
    assert turned(seen)[1:] == [("127.0.0.1", 0, "tls-handshake", 0.5)] * 3
    assert server.census.total == 0
    garbled = await Raw.to(server.port)
    await garbled.send(GET)
    await garbled.rest()
    await garbled.close()
    assert server.counters.refusals["tls-handshake"] == 4
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=contexts[1])
    writer.write(LAST)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()
    await server.stop()


async def test_a_handshake_under_way_does_not_hold_a_stop_up(
    loop_factory: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server = Server(echo, ServerSettings(head_timeout=30.0))
    await server.start(listen(), tls=contexts[0])
    client = await Raw.to(server.port)
    await asyncio.sleep(0.05)
    assert server.census.total == 1
    async with asyncio.timeout(5):
        await server.stop()
    assert await client.rest() == b""
    await client.close()
    assert server.census.total == 0
    assert server.counters.refusals["draining"] == 1


async def test_every_listening_socket_of_a_server_is_served_and_closed(loop_factory: Any) -> None:
    socks = [listen(), listen()]
    ports = [sock.getsockname()[1] for sock in socks]
    server = Server(echo)
    for sock in socks:
        await server.start(sock)
    for port in ports:
        assert (await ask(port, LAST))[0].status == 200
    await server.stop()
    for port in ports:
        with pytest.raises(OSError):
            await Raw.to(port)


async def test_idle_connections_give_way_to_new_ones(loop_factory: Any) -> None:
    settings = ServerSettings(connections=64, connections_per_address=1000)
    async with serving(echo, settings) as server:
        idle = []
        for _ in range(57):
            client = await Raw.to(server.port)
            await client.send(GET)
            await client.until(b"}")
            idle.append(client)
        await asyncio.sleep(0.15)
        for _ in range(100):  # far more than there is room for, each of them served
            client = await Raw.to(server.port)
            await client.send(GET)
            assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 200 ")
            idle.append(client)
            await asyncio.sleep(0.005)
        assert server.counters.turned_away == 0
        assert server.counters.made_room >= 90
        assert await idle[0].rest() == b""
        for client in idle:
            await client.close()


class Descriptors:
    """Takes every descriptor that this process could still open, and gives some back."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(map(int, os.listdir("/dev/fd")))
        # Some more than are open, so that both sides of a connection find one when they are given.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 16, hard))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                self.taken.append(os.dup(2))

    def give(self) -> None:
        while self.taken:
            os.close(self.taken.pop())


@pytest.fixture
def descriptors() -> Iterator[Descriptors]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    made = Descriptors()
    yield made
    made.give()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def knocking() -> Iterator[Callable[[int], socket.socket]]:
    """Make a client's socket beforehand; the server must find no descriptor for it."""
    with socket.socket() as sock:
        sock.setblocking(False)

        def knock(port: int) -> socket.socket:
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
            return sock

        yield knock


async def test_out_of_descriptors_who_waits_is_served_when_there_are_some(
    loop_factory: Any, descriptors: Descriptors
) -> None:
    seen: list[Any] = []
    loop = asyncio.get_running_loop()
    async with serving(echo, observer=seen.append) as server:
        idle = await Raw.to(server.port)
        await idle.send(GET)
        await idle.until(b"}")
        await asyncio.sleep(0.15)
        with knocking() as knock:
            descriptors.take()
            late = knock(server.port)
            # The idle connection gives its descriptor to who waits, within a rest or two.
            await loop.sock_sendall(late, GET)
            got = await asyncio.wait_for(loop.sock_recv(late, 65536), 5)
            assert got.startswith(b"HTTP/1.1 200 ")
            assert await idle.rest() == b""
            assert server.counters.made_room == 1
            refused = server.counters.refusals["descriptors"]
            assert refused >= 1
            assert turned(seen) == [("", 0, "descriptors", None)] * refused
            descriptors.give()
        await idle.close()


async def test_what_works_is_not_hurt_by_a_want_of_descriptors(
    loop_factory: Any, descriptors: Descriptors
) -> None:
    release = asyncio.Event()

    async def handler(call: Any) -> Response:
        await release.wait()
        return Response(200, body=b"whole")

    loop = asyncio.get_running_loop()
    async with serving(handler) as server:
        busy = await Raw.to(server.port)
        await busy.send(LAST)
        await asyncio.sleep(0.05)
        with knocking() as knock:
            descriptors.take()
            late = knock(server.port)
            await asyncio.sleep(0.35)
            assert 1 <= server.counters.refusals["descriptors"] <= 5  # it does not spin
            release.set()
            assert (await busy.rest()).endswith(b"whole")
            descriptors.give()
            await loop.sock_sendall(late, LAST)
            got = await asyncio.wait_for(loop.sock_recv(late, 65536), 5)
            assert got.startswith(b"HTTP/1.1 200 ")
        await busy.close()


async def test_a_drain_without_a_descriptor_left_is_over_when_it_is(
    loop_factory: Any, descriptors: Descriptors
) -> None:
    """Whoever waits cannot be taken any more, and nobody listens when there is room again."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    async with serving(echo) as server:
        with knocking() as knock:
            descriptors.take()
            knock(server.port)
            assert await server.drain(0.1)
            descriptors.give()
            assert server.counters.refusals["descriptors"] >= 1
            await asyncio.sleep(2 * REST)
    assert errors == []


async def test_connections_of_a_unix_socket_are_of_no_one_address(
    loop_factory: Any, tmp_path: Path
) -> None:
    """All gateways of a service come by it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    server = Server(echo, ServerSettings(connections=4, connections_per_address=2))
    await server.start(sock)
    pool = Pool(path=str(tmp_path / "s"))
    try:
        asking = [pool(call()) for _ in range(4)]
        answered = await asyncio.gather(*asking, return_exceptions=True)
        assert [getattr(answer, "status", answer) for answer in answered] == 4 * [200]
        assert server.census.total == 4
    finally:
        await pool.close()
        await server.stop()


async def test_an_upgrade_that_is_refused_is_counted(loop_factory: Any) -> None:
    async def handler(call: Any) -> Response:
        return Response(426)

    seen: list[Any] = []
    async with serving(handler, observer=seen.append) as server:
        client = await Raw.to(server.port)
        await client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await client.until(b"\r\n\r\n")
        await client.close()
        assert server.counters.refusals["upgrade-refused"] == 1
        assert turned(seen) == [("127.0.0.1", 426, "upgrade-refused", None)]


@pytest.mark.parametrize("known", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_a_want_of_descriptors_is_ours_and_says_nothing_of_an_upstream(
    loop_factory: Any,
    descriptors: Descriptors,
    monkeypatch: pytest.MonkeyPatch,
    known: list[str],
) -> None:
    """It was a failure of every upstream, and opened the breakers of all."""

    async def addresses(host: str, port: int) -> list[str]:
        return known

    monkeypatch.setattr("switchgear.http.dial.addresses", addresses)
    async with serving(echo) as server:
        pool = Pool("here", server.port, name="upstream")
        descriptors.take()
        with pytest.raises(Fault, match="made here: Too many open files") as caught:
            await pool(call())
        descriptors.give()
        assert (caught.value.effect, caught.value.refusal) == (Effect.NONE, Refusal.FULL)
        assert judge(caught.value).health is Health.NEUTRAL
        assert pool.statistics()["refused"] == {"descriptors": 1}
        assert (await pool(call())).status == 200
        await pool.close()
