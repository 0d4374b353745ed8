"""Trap 19: after a fault heals, the system returns to at least 95 % goodput within 30 s, unaided.

Under the same load, that is: where each timeout makes two further attempts, and the queue is full
of work that nobody waits for any more, what the fault began goes on without it. A control without
protection stands beside it in the same run: it must not come back, or the test would prove nothing.

Source: Bronson, Aghayev, Charapko and Zhu, Metastable Failures in Distributed Systems (HotOS 2021).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from switchgear import Fault
from switchgear.testing import clock
from tests.traps.world import SEED, make

pytestmark = pytest.mark.virtual

WORKERS = 10
TAKES = 0.1  # seconds: together a hundred requests a second
LOAD = 80.0  # requests a second, whatever comes of them
BEFORE = 15.0
WITHIN = 30.0
AFTER = 30.0  # seconds over which is measured then
PATIENCE = 3.0

Client = Callable[[], Awaitable[object]]


class Server:
    """A dependency with a queue. It does not know that a caller has left, and works on."""

    def __init__(self) -> None:
        self.slowdown = 1.0
        self.done = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._busy = 0

    async def __call__(self) -> None:
        answered = asyncio.get_running_loop().create_future()
        self._queue.append(answered)
        self._begin()
        await answered

    @property
    def queued(self) -> int:
        return len(self._queue)

    def _begin(self) -> None:
        while self._queue and self._busy < WORKERS:
            self._busy += 1
            loop = asyncio.get_running_loop()
            loop.call_later(TAKES * self.slowdown, self._end, self._queue.popleft())

    def _end(self, answered: "asyncio.Future[None]") -> None:
        self._busy -= 1
        self.done += 1
        if not answered.done():
            answered.set_result(None)
        self._begin()


def unprotected(server: Server) -> Client:
    """Ask as code does that was told to be patient, and to try again."""

    async def ask() -> None:
        for _ in range(2):
            try:
                async with asyncio.timeout(1.0):
                    return await server()
            except TimeoutError:
                pass
        async with asyncio.timeout(1.0):
            return await server()

    return ask


def protected(server: Server, processes: int, **options: Any) -> Client:
    """Ask by policies (by default with all defaults), one in each of so many processes, in turn."""
    policies = deque(
        make("stock", repeatable=True, random=Random(SEED + number).random, **options)
        for number in range(processes)
    )

    async def ask() -> None:
        policies.rotate()
        await policies[0].call(server)

    return ask


class Load:
    """An open loop of requests: who is answered in time counts as good, by when he came."""

    def __init__(self, client: Client) -> None:
        self.good: dict[float, bool] = {}
        self._client = client
        self._asked: list[asyncio.Task[None]] = []

    async def run(self, seconds: float) -> None:
        random = Random(SEED)
        until = clock() + seconds
        while clock() < until:
            self._asked.append(asyncio.ensure_future(self._once(clock())))
            await asyncio.sleep(random.expovariate(LOAD))
        await asyncio.wait(self._asked)

    async def _once(self, came: float) -> None:
        try:
            await self._client()
        except (Fault, TimeoutError):
            self.good[came] = False
        else:
            self.good[came] = clock() - came <= PATIENCE

    def share(self, since: float, until: float) -> float:
        found = [good for came, good in self.good.items() if since <= came < until]
        return sum(found) / len(found)


async def shares(
    fault: float, slowdown: float, processes: int = 3, **options: Any
) -> dict[str, dict[str, float]]:
    """Run protected and unprotected clients through the same fault, each against its own server."""
    servers = Server(), Server()
    loads = {"protected": Load(protected(servers[0], processes, **options)),
             "unprotected": Load(unprotected(servers[1]))}  # fmt: skip
    begun = clock()
    struck, healed = begun + BEFORE, begun + BEFORE + fault
    runs = [
        asyncio.ensure_future(one.run(healed + WITHIN + AFTER - begun)) for one in loads.values()
    ]
    await asyncio.sleep(BEFORE)
    for server in servers:
        server.slowdown = slowdown
    await asyncio.sleep(fault)
    for server in servers:
        server.slowdown = 1.0
    await asyncio.wait(runs)
    return {
        name: {
            "before": load.share(begun, struck),
            "during": load.share(struck + 5.0, healed),
            "after": load.share(healed + WITHIN, healed + WITHIN + AFTER),
        }
        for name, load in loads.items()
    }


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize(("fault", "slowdown"), [(10.0, 20.0), (10.0, 5.0)])
async def test_trap_19_goodput_is_back_within_30_s_of_the_end_of_a_fault(
    fault: float, slowdown: float, processes: int
) -> None:
    found = await shares(fault, slowdown, processes)
    ours, control = found["protected"], found["unprotected"]
    assert ours["before"] >= 0.99, found
    assert control["before"] >= 0.99, found
    assert control["during"] < 0.3, found  # the fault took
    assert control["after"] < 0.3, found  # and stays, without it: this is the trap
    assert ours["after"] >= 0.95, found


@pytest.mark.parametrize("fault", [60.0, pytest.param(300.0, marks=pytest.mark.slow)])
async def test_trap_19_so_it_is_after_a_longer_one_because_probes_go_out_often(
    fault: float,
) -> None:
    found = await shares(fault, 20.0, 3)
    assert found["unprotected"]["after"] < 0.3, found
    assert found["protected"]["after"] >= 0.95, found


async def test_trap_19_nothing_is_left_in_the_dependencys_queue_by_then() -> None:
    server = Server()
    stock = make("stock", repeatable=True)
    load = Load(lambda: stock.call(server))
    run = asyncio.ensure_future(load.run(60.0))
    await asyncio.sleep(10.0)
    server.slowdown = 50.0
    await asyncio.sleep(15.0)
    most = server.queued
    server.slowdown = 1.0
    await asyncio.sleep(30.0)
    assert server.queued < WORKERS
    await run
    assert most <= 64  # permits: no more was ever let into it
    assert stock.breaker is not None
    assert stock.breaker.state.value == "closed"
