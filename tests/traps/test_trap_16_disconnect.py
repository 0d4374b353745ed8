"""Trap 16: disconnect of the client cancels the work below, and is ignored by breakers.

Else a crowd that reloads the page keeps the services busy for nobody, or opens their breakers.
"""

import asyncio
from typing import Any

import pytest

from switchgear import Call, Request, Response
from switchgear.core.drivers import step
from switchgear.policy.breaker import State
from switchgear.testing import advance
from tests.integration.http.harness import Raw, serving
from tests.support.gateway import House, hang, public
from tests.traps.world import make


@pytest.mark.virtual
@pytest.mark.parametrize("driver", ["task", "stepper"])
async def test_trap_16_the_work_below_the_gateway_is_called_off_and_no_breaker_learns(
    driver: str,
) -> None:
    off = 0

    async def serve(call: Call[Request]) -> Response:
        nonlocal off
        try:
            return await hang(call)
        except asyncio.CancelledError:
            off += 1
            raise

    doors = House([public()], {"service-1": serve, "service-2": serve})

    async def visit() -> None:
        await doors.ask("GET", "/a")

    for number in range(1, 31):
        visitor = asyncio.ensure_future(visit()) if driver == "task" else step(_quiet(visit()))
        await advance(0.05)
        visitor.cancel()
        await advance()
        assert off == number
    told = doors.upstream.statistics()["routes"]["GET /a"]
    for gate in (told["breaker"], *told["endpoints"].values()):
        assert gate["state"] == "closed"
        assert gate["consecutive"] == gate["out"] == 0
    assert doors.out() == 0
    assert len(doors.sent) == 30  # nothing was tried again for somebody who has left


async def _quiet(work: object) -> None:
    try:
        await work  # type: ignore[misc]  # a coroutine
    except asyncio.CancelledError:
        pass


@pytest.mark.virtual
async def test_trap_16_through_three_policies_the_innermost_work_is_called_off() -> None:
    layers = [make(name, repeatable=True) for name in ("web", "orders", "stock")]
    off = 0

    async def work() -> None:
        nonlocal off
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            off += 1
            raise

    web, orders, stock = layers
    below: Any = orders.call
    for _ in range(20):
        call: asyncio.Future[Any] = asyncio.ensure_future(web.call(below, stock.call, work))
        await advance(0.05)
        call.cancel()
        await asyncio.wait([call])
    assert off == 20
    for policy in layers:
        assert policy.breaker is not None
        assert policy.breaker.state is State.CLOSED
        figures = policy.statistics()
        assert (figures["calls"]["neutral"], figures["calls"]["failed"]) == (20, 0)
        assert figures["bulkhead"]["out"] == 0


@pytest.mark.timeout(30)
async def test_trap_16_who_closes_the_connection_ends_the_handler() -> None:
    begun, off = asyncio.Event(), asyncio.Event()

    async def serve(call: Call[Request]) -> Response:
        begun.set()
        try:
            return await hang(call)
        except asyncio.CancelledError:
            off.set()
            raise

    async with serving(serve) as server:
        client = await Raw.to(server.port)
        await client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await begun.wait()
        assert not off.is_set()
        await client.close()
        await off.wait()
