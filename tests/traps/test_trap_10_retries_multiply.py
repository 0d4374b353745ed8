"""Trap 10: retries do not multiply through layers.

Three layers of three attempts are 27 calls of whoever is down, and a budget of calls in flight
grows with the very slowness that it should contain.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from switchgear import Call, Code, Fault, Policy, Request, Response
from switchgear.http.message import json_response
from switchgear.http.problem import fault_of, judging, problem_within
from switchgear.policy.budget import RetryBudget
from switchgear.testing import advance
from tests.integration.http.harness import call, pooled, serving
from tests.traps.world import ended, make

MOST = 1.25
Serve = Callable[[], Awaitable[Any]]


class Down:
    """A dependency that fails, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        raise Fault(Code.UNAVAILABLE, "down", origin="down")


def service(name: str, policy: Policy, below: Serve) -> Serve:
    """Make a service: what it says crosses a boundary, as between processes."""

    async def serve() -> Any:
        try:
            return await policy.call(below)
        except Fault as fault:
            written = fault_of(problem_within(fault, name), trusted=True)
            assert written is not None
            raise written from None

    return serve


def layers(depth: int, below: Serve, **options: Any) -> Serve:
    for number in range(depth):
        name = f"layer-{number}"
        below = service(name, make(name, repeatable=True, **options), below)
    return below


async def load(serve: Serve, requests: int, rate: float) -> None:
    """Ask so many times, evenly, whatever comes of it."""

    async def once() -> None:
        with pytest.raises(Fault):
            await serve()

    asked = []
    for _ in range(requests):
        asked.append(asyncio.ensure_future(once()))
        await asyncio.sleep(1 / rate)
    for one in asked:
        await one


def naive(below: Serve) -> Serve:
    async def serve() -> Any:
        for _ in range(2):
            try:
                return await below()
            except Fault:
                pass
        return await below()

    return serve


@pytest.mark.virtual
async def test_trap_10_without_a_budget_three_layers_ask_27_times() -> None:
    down = Down()
    await load(naive(naive(naive(down))), 10, rate=100.0)
    assert down.asked == 270


@pytest.mark.virtual
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
async def test_trap_10_whatever_the_depth_the_budget_alone_bounds_it(depth: int) -> None:
    down = Down()
    await load(layers(depth, down, breaker=None, hurry=None), 4000, rate=200.0)
    assert 1.1 < down.asked / 4000 <= MOST  # there were retries, or it would prove nothing


@pytest.mark.virtual
@pytest.mark.parametrize("depth", [1, 3])
async def test_trap_10_with_all_protections_it_is_far_less(depth: int) -> None:
    down = Down()
    await load(layers(depth, down), 4000, rate=200.0)
    assert 0 < down.asked / 4000 <= 0.25


@pytest.mark.virtual
async def test_trap_10_policies_around_each_other_in_one_process() -> None:
    down = Down()
    serve: Serve = down
    for number in range(3):
        serve = make(f"layer-{number}", repeatable=True, breaker=None)(serve)
    await load(serve, 4000, rate=200.0)
    assert 1.1 < down.asked / 4000 <= MOST


@pytest.mark.timeout(60)
async def test_trap_10_through_three_real_http_hops() -> None:
    asked = 0

    async def down(_: Call[Request]) -> Response:
        nonlocal asked
        asked += 1
        return json_response({}, 503)

    def hop(name: str, pool: Any) -> Any:
        policy = Policy(
            name, deadline=20.0, repeatable=True, breaker=None, judge=judging(trusted=True)
        )

        async def serve(_: Call[Request]) -> Response:
            answer: Response = await policy.call(lambda: pool(call(within=20.0)))
            fault = fault_of(answer, "down", trusted=True)
            assert fault is not None
            return problem_within(fault, name)

        return serve

    requests = 1500
    async with AsyncExitStack() as hops:
        port = (await hops.enter_async_context(serving(down))).port
        for number in range(3):
            pool = await hops.enter_async_context(pooled(port))
            server = await hops.enter_async_context(serving(hop(f"hop-{number}", pool)))
            port = server.port
        client = await hops.enter_async_context(pooled(port))
        room = asyncio.Semaphore(32)

        async def once() -> int:
            async with room:
                answer: Response = await client(call(within=20.0))
                return answer.status

        statuses = await asyncio.gather(*(once() for _ in range(requests)))
    assert set(statuses) == {503}
    assert 1.1 < asked / requests <= MOST


def test_trap_10_the_budget_is_a_ratio_of_requests_not_of_calls_in_flight() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.deposit(0.0)
    granted = [budget.withdraw(0.0) for _ in range(1000)]
    assert sum(granted) == 230  # a fifth of the requests, and three a second over ten seconds
    # However many of them hang, and however long: nothing is added but by requests.
    assert not budget.withdraw(5.0)


@pytest.mark.virtual
async def test_trap_10_the_floor_lets_a_quiet_route_retry() -> None:
    tried = 0

    async def flaky() -> str:
        nonlocal tried
        tried += 1
        if tried % 2:
            raise ConnectionResetError("reset")
        return "well"

    quiet = make(repeatable=True)
    for _ in range(5):
        assert await ended(quiet, flaky) == "well"
        await advance(30.0)
    assert tried == 10
