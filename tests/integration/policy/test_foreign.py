"""What httpx and aiohttp raise when a real server fails them, in a policy that was told nothing."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest

from switchgear import BackoffSettings, Policy
from switchgear.policy.crossing import as_fault
from switchgear.policy.fault import Code, Effect
from switchgear.policy.status import by_status
from switchgear.policy.verdict import effect_of, judge

Ask = Callable[[str], Awaitable[int]]

SOON = BackoffSettings(attempts=3, base=0.001, cap=0.002)
SHORT = 0.15  # seconds that the clients wait for an answer

STATUSES = {
    "/good": "200 OK",
    "/missing": "404 Not Found",
    "/conflict": "409 Conflict",
    "/limited": "429 Too Many Requests\r\nretry-after: 0",
    "/patience": "429 Too Many Requests\r\nretry-after: 60",
    "/defect": "500 Internal Server Error",
    "/away": "503 Service Unavailable\r\nRetry-After: 0",
}


class Fickle:
    """A server that fails as the path says, and counts how often each was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._late = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.asked.append(path)
            await self._end(path, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has given up
        finally:
            writer.close()

    async def _end(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/slow":
            await self._late.wait()
        elif path == "/reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif path == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")
            await writer.drain()
        elif path == "/garbage":
            writer.write(b"what do you want\r\n\r\n")
            await writer.drain()
        elif path in STATUSES:
            head = f"HTTP/1.1 {STATUSES[path]}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            writer.write(head.encode())
            await writer.drain()
        # "/silent" and any other: closed without a word

    def release(self) -> None:
        self._late.set()


@asynccontextmanager
async def fickle() -> AsyncIterator[Fickle]:
    served = Fickle()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        served.release()
        server.close()
        await server.wait_closed()


def nobody() -> str:
    """Return the address of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@asynccontextmanager
async def with_httpx(base: str, **settings: Any) -> AsyncIterator[Ask]:
    settings.setdefault("timeout", SHORT)
    async with httpx.AsyncClient(base_url=base, trust_env=False, **settings) as client:

        async def ask(path: str) -> int:
            response = await client.get(path)
            response.raise_for_status()
            return response.status_code

        yield ask


@asynccontextmanager
async def with_aiohttp(base: str) -> AsyncIterator[Ask]:
    timeout = aiohttp.ClientTimeout(sock_read=SHORT)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def ask(path: str) -> int:
            # A POST, because aiohttp itself tries others again where a connection ends.
            async with session.post(base + path) as response:
                response.raise_for_status()
                await response.read()
                return response.status

        yield ask


CLIENTS = pytest.mark.parametrize("client", [with_httpx, with_aiohttp])


async def failure(policy: Policy, ask: Ask, path: str) -> Exception:
    try:
        await policy.call(ask, path)
    except Exception as error:
        return error
    raise AssertionError(f"{path} did not fail")


@CLIENTS
@pytest.mark.parametrize(
    ("path", "of_httpx", "of_aiohttp", "code", "effect"),
    [
        ("/reset", httpx.ReadError, aiohttp.ClientOSError, Code.UNAVAILABLE, Effect.UNKNOWN),
        ("/silent", httpx.RemoteProtocolError, aiohttp.ServerDisconnectedError, Code.UNAVAILABLE,
         Effect.UNKNOWN),
        ("/cut", httpx.RemoteProtocolError, aiohttp.ClientPayloadError, Code.UNAVAILABLE,
         Effect.UNKNOWN),
        ("/slow", httpx.ReadTimeout, aiohttp.SocketTimeoutError, Code.DEADLINE_EXCEEDED,
         Effect.UNKNOWN),
        ("/away", httpx.HTTPStatusError, aiohttp.ClientResponseError, Code.UNAVAILABLE,
         Effect.UNKNOWN),
        ("/limited", httpx.HTTPStatusError, aiohttp.ClientResponseError, Code.RESOURCE_EXHAUSTED,
         Effect.UNKNOWN),
    ],
)  # fmt: skip
async def test_what_may_pass_is_tried_again_where_that_is_safe(
    client: Any, path: str, of_httpx: type, of_aiohttp: type, code: Code, effect: Effect
) -> None:
    async with fickle() as server, client(server.url) as ask:
        repeatable = Policy("news", repeatable=True, retry=SOON)
        error = await failure(repeatable, ask, path)
        assert type(error) is (of_httpx if client is with_httpx else of_aiohttp)
        assert (as_fault(error).code, effect_of(error)) == (code, effect)
        assert server.asked == [path] * 3
        assert repeatable.statistics()["breaker"]["consecutive"] == 3
        await failure(Policy("orders", retry=SOON), ask, path)
        assert server.asked == [path] * 4


@CLIENTS
async def test_a_refused_connection_is_tried_again_even_if_the_call_is_not_repeatable(
    client: Any,
) -> None:
    async with client(nobody()) as ask:
        orders = Policy("orders", retry=SOON)
        error = await failure(orders, ask, "/")
        assert type(error) in (httpx.ConnectError, aiohttp.ClientConnectorError)
        assert effect_of(error) is Effect.NONE
        statistics = orders.statistics()
        assert statistics["budget"]["granted"] == 2
        assert statistics["breaker"]["consecutive"] == 3


@CLIENTS
@pytest.mark.parametrize("path", ["/missing", "/conflict"])
async def test_an_answer_that_says_no_opens_no_breaker_and_is_not_tried_again(
    client: Any, path: str
) -> None:
    async with fickle() as server, client(server.url) as ask:
        news = Policy("news", repeatable=True, retry=SOON)
        for _ in range(20):
            error = await failure(news, ask, path)
            assert type(error) in (httpx.HTTPStatusError, aiohttp.ClientResponseError)
        assert server.asked == [path] * 20
        statistics = news.statistics()
        assert (statistics["breaker"]["state"], statistics["budget"]["granted"]) == ("closed", 0)
        assert await news.call(ask, "/good") == 200


@CLIENTS
async def test_a_defect_of_theirs_opens_the_breaker_and_is_not_tried_again(client: Any) -> None:
    async with fickle() as server, client(server.url) as ask:
        news = Policy("news", repeatable=True, retry=SOON)
        for _ in range(5):
            await failure(news, ask, "/defect")
        assert server.asked == ["/defect"] * 5
        assert news.statistics()["breaker"]["state"] == "open"


@CLIENTS
async def test_who_asks_for_more_patience_than_there_is_time_is_left_alone(client: Any) -> None:
    async with fickle() as server, client(server.url) as ask:
        error = await failure(Policy("news", repeatable=True, retry=SOON), ask, "/patience")
        assert judge(error).after == 60.0
        assert server.asked == ["/patience"]


async def test_a_full_pool_of_ones_own_is_no_failure_of_the_dependency() -> None:
    settings = {
        "limits": httpx.Limits(max_connections=1),
        "timeout": httpx.Timeout(5.0, pool=0.02),
    }
    async with fickle() as server, with_httpx(server.url, **settings) as ask:
        news = Policy("news", retry=SOON, timeout=None)
        holding = asyncio.ensure_future(ask("/slow"))
        while not server.asked:
            await asyncio.sleep(0.001)
        error = await failure(news, ask, "/good")
        assert type(error) is httpx.PoolTimeout
        statistics = news.statistics()
        assert (statistics["breaker"]["consecutive"], statistics["calls"]["neutral"]) == (0, 1)
        assert statistics["budget"]["granted"] == 2  # nobody was asked
        server.release()
        with pytest.raises(httpx.RemoteProtocolError):
            await holding
        assert await news.call(ask, "/good") == 200


async def test_a_connection_that_takes_too_long_was_never_made() -> None:
    """A listener whose queue is full answers no further connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        host, port = listening.getsockname()
        filling = [socket.socket() for _ in range(4)]
        try:
            for each in filling:
                each.setblocking(False)
                each.connect_ex((host, port))
            async with with_httpx(f"http://{host}:{port}", timeout=0.05) as ask:
                error = await failure(Policy("orders", attempts=1), ask, "/")
            assert type(error) is httpx.ConnectTimeout
            assert effect_of(error) is Effect.NONE
            timeout = aiohttp.ClientTimeout(sock_connect=0.05)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                with pytest.raises(aiohttp.ConnectionTimeoutError) as caught:
                    await session.get(f"http://{host}:{port}/")
            assert effect_of(caught.value) is Effect.NONE
        finally:
            for each in filling:
                each.close()


async def test_what_is_no_http_is_a_failure() -> None:
    async with fickle() as server, with_httpx(server.url) as ask:
        error = await failure(Policy("news", attempts=1), ask, "/garbage")
        assert type(error) is httpx.RemoteProtocolError
        assert judge(error).again


# Returned, not raised


@pytest.mark.parametrize("told", [by_status, None])
async def test_an_answer_that_is_returned_is_judged_only_where_that_was_said(told: Any) -> None:
    news = Policy("news", repeatable=True, retry=SOON, judge=told)
    async with fickle() as server, httpx.AsyncClient(trust_env=False) as client:
        response = await news.call(client.get, f"{server.url}/away")
        assert response.status_code == 503
        assert server.asked == ["/away"] * (3 if told else 1)
        assert news.statistics()["breaker"]["consecutive"] == (3 if told else 0)


async def test_an_answer_of_aiohttp_is_judged_by_its_status_too() -> None:
    orders = Policy("orders", judge=by_status)
    async with fickle() as server, aiohttp.ClientSession() as session:
        for path, consecutive in (("/missing", 0), ("/limited", 1), ("/good", 0), ("/defect", 1)):
            response = await orders.call(session.post, server.url + path)
            await response.read()
            assert orders.statistics()["breaker"]["consecutive"] == consecutive
        assert server.asked == ["/missing", "/limited", "/good", "/defect"]
