"""Rows that are taken one by one, on a real server: a few are held, the rest is the server's."""

import asyncio
from time import perf_counter

import pytest

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault
from tests.support.postgres import asking, run

LAZY = "SELECT n FROM generate_series(1, $1::int) n"


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 300])
async def test_all_of_them_come_in_their_order(database: Dsn, count: int) -> None:
    async with asking(database) as tx:
        assert [n async for n in tx.rows(int, LAZY, count)] == [*range(1, count + 1)]


async def test_a_statement_may_stand_between_two_rows_and_rows_within_rows(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    pairs = []
    async with asking(database) as tx:
        async for n in tx.rows(int, LAZY, 5, batch=2):
            await tx.execute("INSERT INTO notes VALUES ($1)", n)
            pairs += [(n, m) async for m in tx.rows(int, LAZY, n, batch=1)]
    assert pairs == [(n, m) for n in range(1, 6) for m in range(1, n + 1)]
    async with asking(database) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes ORDER BY n") == [1, 2, 3, 4, 5]


async def test_few_are_fetched_where_few_are_taken(database: Dsn) -> None:
    await run(
        database,
        "CREATE SEQUENCE asked",
        "CREATE TABLE notes AS SELECT n FROM generate_series(1, 10000) n",
    )
    async with asking(database) as tx:
        rows = tx.rows(int, "SELECT nextval('asked')::int FROM notes", batch=10)
        assert [await anext(rows) for _ in range(11)] == [*range(1, 12)]
        assert await tx.fetch_one(int, "SELECT last_value::int FROM asked") == 20


async def test_what_fails_amid_them_is_told_there_and_breaks_the_transaction(database: Dsn) -> None:
    sql = "SELECT 10 / (3 - n) FROM generate_series(1, 4) n"
    with pytest.raises(Fault, match="cannot commit: a statement in it failed"):
        async with asking(database) as tx:
            rows = tx.rows(int, sql, batch=1)
            assert [await anext(rows), await anext(rows)] == [5, 10]
            with pytest.raises(Fault, match="division by zero") as raised:
                await anext(rows)
            assert raised.value.code is Code.INVALID_ARGUMENT


async def test_the_deadline_reaches_each_of_them(database: Dsn) -> None:
    tables = PostgresTables(database)
    with pytest.raises(Fault) as raised:
        async with tables.transaction(perf_counter() + 0.5) as tx:
            rows = tx.rows(int, "SELECT n FROM (VALUES (0), (60)) AS t (n), pg_sleep(n)", batch=1)
            assert await anext(rows) == 0
            await anext(rows)
    assert (raised.value.code, raised.value.effect) == (Code.DEADLINE_EXCEEDED, Effect.NONE)
    await tables.close()


async def test_what_cannot_be_asked_is_refused_in_words(database: Dsn) -> None:
    async with asking(database) as tx:
        with pytest.raises(TypeError, match="the type of a row comes first"):
            tx.rows("SELECT 1", int)  # type: ignore[arg-type]  # the wrong way round
        with pytest.raises(ValueError, match="at least one row"):
            tx.rows(int, "SELECT 1", batch=0)
        with pytest.raises(ValueError, match="there is no statement"):
            await anext(tx.rows(int, " "))
        kept = tx.rows(int, LAZY, 3)
    with pytest.raises(RuntimeError, match="after the transaction's end"):
        await anext(kept)


async def test_two_at_once_are_refused(database: Dsn) -> None:
    with pytest.raises(RuntimeError, match="came while another statement was under way"):
        async with asking(database) as tx:
            both = [anext(tx.rows(int, "SELECT 1 FROM pg_sleep(0.1)")) for _ in range(2)]
            await asyncio.gather(*both)
