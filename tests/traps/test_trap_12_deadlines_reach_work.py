"""Trap 12: a deadline reaches SQL, outgoing headers and queue messages.

Else the database goes on with what nobody waits for, and a consumer does this morning's work at
night.
"""

import asyncio
from time import perf_counter

import pytest

from switchgear import Code, Fault, remaining
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.pool import deadline_line
from switchgear.policy.remaining import HEADER
from switchgear.testing import clock
from tests.conformance.conftest import Opened
from tests.conformance.test_broker import Shop, consuming, depths, order, soon
from tests.integration.http.harness import call
from tests.traps.world import make

pytestmark = pytest.mark.timeout(60)


async def test_trap_12_the_deadline_is_the_statement_timeout(database: Dsn) -> None:
    tables = PostgresTables(database)
    try:
        for left in (0.5, 3.0):
            async with tables.transaction(perf_counter() + left) as tx:
                told = await tx.fetch_one(str, "SHOW statement_timeout")
            assert told.endswith("ms"), told
            assert 0.5 * left < float(told.removesuffix("ms")) / 1000 < left
    finally:
        await tables.close()


async def test_trap_12_the_server_itself_ends_what_runs_past_the_deadline(database: Dsn) -> None:
    tables = PostgresTables(database)
    try:
        with pytest.raises(Fault) as caught:
            async with tables.transaction(perf_counter() + 0.3) as tx:
                await tx.execute("SELECT pg_sleep(60)")
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        async with tables.transaction(perf_counter() + 5.0) as tx:
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'"
            others = " AND pid <> pg_backend_pid() AND state = 'active'"
            assert await tx.fetch_one(int, asleep + others) == 0
    finally:
        await tables.close()


def test_trap_12_the_deadline_is_in_the_outgoing_headers() -> None:
    made = call(within=2.0)
    name, _, told = (
        deadline_line(made.deadline, made.deadline - 1.5).decode().strip().partition(": ")
    )
    assert (name, told) == (HEADER, "1500")


@pytest.mark.virtual
async def test_trap_12_what_a_policy_calls_knows_how_much_is_left() -> None:
    mail = make(deadline=2.0, timeout=0.5, repeatable=True)

    async def left() -> float:
        await asyncio.sleep(0.1)
        return remaining(clock)

    assert await mail.call(left) == pytest.approx(0.4)  # of the attempt, not of the call
    assert await make(deadline=2.0).call(left) == pytest.approx(1.9)


async def test_trap_12_expired_work_ends_as_expired_and_is_not_executed(
    postgres_bench: Opened,
) -> None:
    shop = Shop()
    async with postgres_bench() as on:
        await on.broker.publish(order(1, expires=0.05), soon())
        await on.broker.publish(order(2, expires=60.0), soon())
        await asyncio.sleep(0.1)
        async with consuming(on.broker, shop):
            await shop.had(1)
            while await depths(on.broker) != {"expired": 1}:
                await asyncio.sleep(0.01)
            (letter,) = await on.broker.dead("orders", soon())
    assert (letter.outcome, letter.attempts) == ("expired", 0)
    assert shop.numbers() == [2]
