"""Program 2, over real sockets: the deadline bounds the head, the listener the stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from time import perf_counter

import pytest

from switchgear.http.message import Request, Response
from switchgear.policy.call import Call
from switchgear.policy.verdict import Health
from tests.entrances.events import Ticker, serve_events
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
    until,
)

pytestmark = pytest.mark.usefixtures("loop_factory")

DEADLINE = 0.2
AMPLE = 30.0  # where it is not what is tested: a busy machine may stand still for 0.2 s
GET = b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"0\r\n\r\n"

listener: ContextVar[str] = ContextVar("listener", default="nobody")


class Named(Ticker):
    """Ticks with the listener's name, kept where user code keeps such things."""

    async def handler(self, call: Call[Request]) -> Response:
        self.seen = getattr(self, "seen", [])
        self.seen.append(listener.get())
        listener.set(call.payload.query)
        await asyncio.sleep(0)
        return await super().handler(call)

    async def ticks(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(super().ticks()) as ticks:
            async for tick in ticks:
                yield tick + f"data: {listener.get()}\n\n".encode()


class Ending(Ticker):
    """Ticks three times, and ends as it is told to."""

    def __init__(self, every: float, error: Exception | None = None) -> None:
        super().__init__(every)
        self.error = error

    async def ticks(self) -> AsyncGenerator[bytes, None]:
        left = 3
        async with aclosing(super().ticks()) as ticks:
            async for tick in ticks:
                yield tick
                left -= 1
                if not left:
                    break
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def ticking(ticker: Ticker, gate: Overheard, deadline: float = AMPLE) -> AsyncIterator[int]:
    async with nothing_left(gate), serving(serve_events(ticker, gate, deadline)) as port:
        yield port
    assert ticker.listeners == 0


async def listen_to(port: int, wire: bytes = GET) -> Raw:
    client = await Raw.to(port)
    await client.send(wire)
    return client


async def test_a_stream_outlives_its_routes_deadline_and_its_listener_ends_it() -> None:
    ticker, gate = Ticker(0.1), bulkhead(permits=1)
    async with ticking(ticker, gate, DEADLINE) as port:
        client = await listen_to(port)
        started = perf_counter()
        await client.until(b"id: 11\ndata: tick\n\n")
        assert perf_counter() - started > 1.0 > 4 * DEADLINE
        assert (ticker.listeners, gate.out, gate.verdicts) == (1, 1, [])
        await client.close()
        await until(lambda: not ticker.listeners)
        await until(lambda: gate.verdicts)
        assert (gate.out, gate.heard) == (0, [Health.NEUTRAL])


async def test_a_head_that_does_not_come_is_bounded_by_the_deadline() -> None:
    class Late(Ticker):
        async def handler(self, call: Call[Request]) -> Response:
            await asyncio.sleep(60)
            raise AssertionError("called off long before")

    gate = bulkhead()
    async with ticking(Late(0.1), gate, DEADLINE) as port:
        started = perf_counter()
        client = await listen_to(port)
        await client.until(b"HTTP/1.1 504 ")
        assert DEADLINE <= perf_counter() - started < 2.0
        assert gate.out == 0
        await client.close()


async def test_a_stream_that_ends_by_itself_is_good_and_one_that_fails_is_bad_and_cut() -> None:
    gate = breaker()
    async with ticking(Ending(0.01), gate) as port:
        client = await listen_to(port, GET.replace(b"Host", b"Connection: close\r\nHost"))
        (answer,) = answers(await client.rest())
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.body.count(b"data: tick") == 3
        await client.close()
        assert gate.heard == [Health.GOOD]
    gate = breaker()
    async with ticking(Ending(0.01, ZeroDivisionError()), gate) as port:
        client = await listen_to(port)
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 200 OK")
        assert not got.endswith(LAST)
        await client.close()
        assert gate.heard == [Health.BAD]


async def test_a_listener_keeps_its_permit_for_as_long_as_it_listens() -> None:
    ticker, gate = Ticker(0.02), bulkhead(permits=1, queue=0)
    async with ticking(ticker, gate) as port:
        first = await listen_to(port)
        await first.until(b"tick\n\n")
        second = await listen_to(port)
        await second.until(b"HTTP/1.1 503 ")
        await first.close()
        await until(lambda: gate.out == 0)
        third = await listen_to(port)
        await third.until(b"tick\n\n")
        await second.close()
        await third.close()


async def test_stopping_ends_every_stream() -> None:
    ticker, gate = Ticker(0.02), bulkhead()
    server = serve_events(ticker, gate, AMPLE)
    async with nothing_left(gate), serving(server) as port:
        clients = [await listen_to(port) for _ in range(5)]
        for client in clients:
            await client.until(b"tick\n\n")
        assert await server.drain(0.1) is False
        await until(lambda: not ticker.listeners)
        for client in clients:
            assert not (await client.rest()).endswith(LAST)
            await client.close()
    assert gate.heard == [Health.NEUTRAL] * 5


async def test_no_context_of_200_interleaved_listeners_is_seen_by_another() -> None:
    ticker, gate = Named(0.2), bulkhead(permits=200)
    async with ticking(ticker, gate) as port:
        clients = [await listen_to(port, GET.replace(b"events", b"?l%d" % n)) for n in range(200)]
        for number, client in enumerate(clients):
            for _ in range(3):
                assert (await client.until(b"data: l%d\n\n" % number)).count(b"data: l") == 1
        for client in clients:
            await client.close()
        await until(lambda: not ticker.listeners)
    assert ticker.seen == ["nobody"] * 200


async def test_no_context_is_seen_by_the_next_request_of_the_same_connection() -> None:
    class Brief(Named, Ending):
        pass

    ticker, gate = Brief(0.0), bulkhead(permits=200)
    async with ticking(ticker, gate) as port:
        clients = [await Raw.to(port) for _ in range(200)]
        for turn in range(3):
            for number, client in enumerate(clients):
                await client.send(GET.replace(b"events", b"?l%d_%d" % (number, turn)))
            for number, client in enumerate(clients):
                got = await client.until(LAST)
                assert got.count(b"data: l") == got.count(b"data: l%d_%d\n" % (number, turn)) == 3
        for client in clients:
            await client.close()
    assert ticker.seen == ["nobody"] * 600
    assert gate.heard == [Health.GOOD] * 600


async def test_every_wait_can_be_the_last(watch: Watch) -> None:
    async def scene() -> None:
        ticker, gate = Ending(0.001), breaker()
        async with ticking(ticker, gate) as port:
            client = await Raw.to(port)
            watch.leave = client.writer.transport.abort
            await client.send(GET.replace(b"Host", b"Connection: close\r\nHost"))
            await client.rest()
            await client.close()
            await until(lambda: gate.verdicts)
            (health,) = gate.heard
            assert health is Health.GOOD or (watch.struck and health is Health.NEUTRAL)

    await at_every_wait(watch, scene, *Strike, least=2)
