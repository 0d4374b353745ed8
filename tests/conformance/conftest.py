"""The engines that the suites run on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, QueueSettings, install
from switchgear.engines.postgres.tables import PostgresTables
from tests.support.postgres import *  # noqa: F403 - fixtures
from tests.support.postgres import run

Lose = Callable[[], Awaitable[None]]


class Bench(msgspec.Struct):
    """One engine, opened: `lose` takes every lease away, as if all holders had died."""

    broker: PostgresQueue
    tables: PostgresTables
    lose: Lose


Opened = Callable[[], AbstractAsyncContextManager[Bench]]

QUICK = QueueSettings(
    lease=1.0, heartbeat=0.2, poll=0.2, backoff=0.02, backoff_cap=0.05, inbox=3600.0
)


@pytest.fixture
def postgres_bench(roles: Roles) -> Opened:
    asyncio.run(install(roles.owner))
    table = "CREATE TABLE effects (message text, at timestamptz DEFAULT clock_timestamp())"
    asyncio.run(run(roles.owner, table))

    async def lose() -> None:
        # One transaction: a holder that has heard of its loss may still finish what names it. What
        # is locked is passed over, as by those who take from the dead.
        await run(
            roles.owner,
            "WITH dead AS (UPDATE switchgear.holder SET dead_at = now()) "
            "UPDATE switchgear.ready SET holder = NULL WHERE id IN (SELECT id "
            "FROM switchgear.ready WHERE holder IS NOT NULL FOR UPDATE SKIP LOCKED)",
        )

    @asynccontextmanager
    async def opened() -> AsyncIterator[Bench]:
        queue = PostgresQueue(roles.app, settings=QUICK)
        tables = PostgresTables(roles.app, outbox=queue)
        try:
            yield Bench(queue, tables, lose)
        finally:
            await queue.close()
            await tables.close()

    return opened


@pytest.fixture(params=["postgres"])
def bench(request: pytest.FixtureRequest) -> Opened:
    opened: Opened = request.getfixturevalue(f"{request.param}_bench")
    return opened
