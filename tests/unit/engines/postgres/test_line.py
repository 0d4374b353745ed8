"""The line before a pool's connections: who waits, for how long, and what more load does to it."""

import asyncio

import pytest

from switchgear import Fault
from switchgear.assembly.bodies.database import FOR_REQUESTS
from switchgear.core.ambient import ambient
from switchgear.engines.postgres.line import Line
from switchgear.engines.postgres.pool import PoolSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Refusal
from switchgear.policy.gate import Permit
from switchgear.policy.trail import Trail
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual

TAKES = 0.1  # seconds that each keeps its connection
WITHIN = 0.95  # seconds that each has


def line(settings: PoolSettings) -> Line:
    return Line("service", settings.line, settings.kept, clock)


async def served(waited: Line, load: float, seconds: float = 8.0) -> float:
    """Return how many a second were served whole, of `load` a second that come evenly."""
    done = 0

    async def one() -> None:
        nonlocal done
        deadline = clock() + WITHIN
        try:
            permit = await waited.enter(deadline)
        except Fault:
            return
        left = deadline - clock()
        await asyncio.sleep(min(TAKES, left))  # else it is called off, half-way
        waited.leave(permit)
        done += left >= TAKES

    asked = []
    for _ in range(int(load * seconds)):
        asked.append(asyncio.ensure_future(one()))
        await asyncio.sleep(1 / load)
    await asyncio.gather(*asked)
    return done / seconds


@pytest.mark.parametrize("times", [2, 5])
async def test_more_load_than_there_are_connections_for_costs_nothing_of_what_is_served(
    times: int,
) -> None:
    alone = FOR_REQUESTS.connections - 1  # of one route
    bears = alone / TAKES
    assert await served(line(FOR_REQUESTS), bears * times) >= 0.95 * bears
    # Beside one in which each waits for as long as it can, and has no time for its work then:
    assert await served(line(PoolSettings()), bears * times) < 0.5 * bears


async def test_a_burst_is_served_whole() -> None:
    waited = line(FOR_REQUESTS)
    burst = 4 * FOR_REQUESTS.connections

    async def one() -> None:
        permit = await waited.enter(clock() + WITHIN)
        await asyncio.sleep(TAKES)
        waited.leave(permit)

    await asyncio.gather(*(one() for _ in range(burst)))
    assert waited.waiting == 0


async def test_who_is_refused_is_told_so_as_of_a_full_server_that_did_nothing() -> None:
    waited = line(PoolSettings(connections=1, patience=0.5))
    held = await waited.enter(clock() + 10.0)
    begun = clock()
    with pytest.raises(Fault, match="all 1 connections were in use for 1 s") as refused:
        await waited.enter(begun + 2.0)
    assert clock() == pytest.approx(begun + 1.0)
    fault = refused.value
    assert (fault.code, fault.effect, fault.refusal) == (
        Code.UNAVAILABLE,
        Effect.NONE,
        Refusal.FULL,
    )
    assert fault.retry_after == 1.0
    with pytest.raises(Fault, match="deadline is past"):
        await waited.enter(clock())
    waited.leave(held)
    waited.leave(await waited.enter(clock() + 1.0))


async def entered(waited: Line, route: str, within: float) -> Permit:
    """Enter as a call of a route does."""
    ambient.set(Call(None, clock() + within, trail=Trail(route)))
    return await waited.enter(clock() + within)


async def test_a_route_that_holds_all_it_can_get_leaves_a_connection_to_others() -> None:
    waited = line(FOR_REQUESTS)
    stuck = [
        asyncio.create_task(entered(waited, "POST /hot", 1000.0))
        for _ in range(2 * FOR_REQUESTS.connections)
    ]
    await asyncio.sleep(1.0)
    held = [one.result() for one in stuck if one.done()]
    assert len(held) == FOR_REQUESTS.connections - 1
    for _ in range(3):
        begun = clock()
        other = await asyncio.create_task(entered(waited, "GET /cold", 1.0))
        assert clock() == begun
        waited.leave(other)
    for one in held:
        waited.leave(one)
    for one in await asyncio.gather(*stuck[len(held) : 2 * len(held)]):
        waited.leave(one)
    for one in await asyncio.gather(*stuck[2 * len(held) :]):
        waited.leave(one)
    assert waited.waiting == 0


async def test_without_a_deadline_one_waits_for_as_long_as_it_takes() -> None:
    waited = line(PoolSettings(connections=1))
    held = await waited.enter(clock() + 10.0)
    second = asyncio.ensure_future(waited.enter(float("inf")))
    await asyncio.sleep(1e6)
    assert waited.waiting == 1
    waited.leave(held)
    waited.leave(await second)


@pytest.mark.parametrize("let_in", [False, True])
async def test_who_is_called_off_leaves_the_line_and_keeps_no_place(let_in: bool) -> None:
    waited = line(PoolSettings(connections=1))
    held = await waited.enter(clock() + 10.0)
    second = asyncio.ensure_future(waited.enter(clock() + 10.0))
    await asyncio.sleep(0.1)
    if let_in:
        waited.leave(held)  # and in the same turn:
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert waited.waiting == 0
    if not let_in:
        waited.leave(held)
    waited.leave(await waited.enter(clock() + 0.1))
