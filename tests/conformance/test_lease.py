"""What every lease does, whatever stands behind the port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter

import pytest

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.lease import PostgresLease
from switchgear.engines.postgres.queue import QueueSettings, install
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.lease import Lease
from tests.support.postgres import run

Opened = Callable[[], AbstractAsyncContextManager[Lease]]
QUICK = QueueSettings(lease=0.6, heartbeat=0.1, poll=0.05)


@pytest.fixture
def postgres_leases(roles: Roles) -> Opened:
    asyncio.run(install(roles.owner))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Lease]:
        lease = PostgresLease(roles.app, settings=QUICK)
        try:
            yield lease
        finally:
            await lease.close()

    return opened


@pytest.fixture(params=["postgres"])
def leases(request: pytest.FixtureRequest) -> Opened:
    opened: Opened = request.getfixturevalue(f"{request.param}_leases")
    return opened


def soon(seconds: float = 10.0) -> float:
    return perf_counter() + seconds


async def test_one_holds_a_name_at_a_time_and_the_fence_grows(
    leases: Opened, loop_factory: object
) -> None:
    holding = 0
    fences: list[int] = []

    async def work(lease: Lease) -> None:
        nonlocal holding
        async with lease.hold("cron", soon()) as held:
            holding += 1
            assert holding == 1
            fences.append(held.fence)
            await asyncio.sleep(0.02)
            holding -= 1

    async with leases() as one, leases() as other:
        await asyncio.gather(*(work(lease) for lease in (one, other) * 3))
    assert len(set(fences)) == 6
    assert fences == sorted(fences)


async def test_names_do_not_wait_for_each_other(leases: Opened) -> None:
    async with leases() as lease, lease.hold("a", soon()), lease.hold("b", soon()):
        pass


async def test_who_waits_too_long_is_refused(leases: Opened) -> None:
    async with leases() as one, leases() as other, one.hold("cron", soon()):
        with pytest.raises(Fault, match="'cron' is held by another") as refused:
            async with other.hold("cron", soon(0.2)):
                pass
        assert (refused.value.code, refused.value.effect) == (Code.UNAVAILABLE, Effect.NONE)


async def test_it_is_renewed_for_as_long_as_the_block_runs(leases: Opened) -> None:
    async with leases() as one, leases() as other, one.hold("cron", soon()) as held:
        with pytest.raises(Fault):
            async with other.hold("cron", soon(1.5)):
                pass
        assert not held.lost


async def test_who_loses_it_is_called_off(leases: Opened, roles: Roles) -> None:
    async def work(lease: Lease) -> None:
        async with lease.hold("cron", soon()) as held:
            task = asyncio.current_task()
            assert task is not None
            held.begin(task)
            began.set()
            await asyncio.sleep(3600)

    began = asyncio.Event()
    async with leases() as one, leases() as other:
        task = asyncio.create_task(work(one))
        await began.wait()
        await run(roles.owner, "UPDATE switchgear.lease SET until = '-infinity'")
        async with other.hold("cron", soon()) as held:
            await asyncio.wait([task])
            assert task.cancelled()
            await asyncio.sleep(0.3)
            assert not held.lost, "who lost it must not let go of another's"


async def test_who_cannot_renew_it_has_lost_it_whatever_the_reason(
    postgres_leases: Opened, roles: Roles
) -> None:
    """Also by a defect: when it runs out others take it, and the work would go on beside theirs."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    async with postgres_leases() as lease, lease.hold("cron", soon()) as held:
        await run(roles.owner, "ALTER TABLE switchgear.lease RENAME TO elsewhere")
        async with asyncio.timeout(5):
            while not held.lost:
                await asyncio.sleep(0.02)
        await run(roles.owner, "ALTER TABLE switchgear.elsewhere RENAME TO lease")
    assert set(told) == {"a lease could not be renewed"}
