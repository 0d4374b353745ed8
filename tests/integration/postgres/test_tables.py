"""Transactions on a real server: committed or not, in time or not, and honest about it."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from math import inf
from pathlib import Path
from time import perf_counter
from typing import TypedDict
from uuid import UUID

import asyncpg
import msgspec
import pytest

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres
from switchgear.engines.postgres.pool import PoolSettings
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import judge
from tests.support.postgres import run

WORD: ContextVar[str] = ContextVar("word", default="")


class Note(msgspec.Struct):
    id: UUID
    words: str
    at: datetime


class NoteDict(TypedDict):
    words: str


@dataclasses.dataclass
class NoteData:
    words: str


@asynccontextmanager
async def opened(dsn: Dsn, **settings: float) -> AsyncIterator[PostgresTables]:
    tables = PostgresTables(dsn, settings=msgspec.convert(settings, PoolSettings))
    try:
        yield tables
    finally:
        await tables.close()


def soon(seconds: float = 10.0) -> float:
    return perf_counter() + seconds


async def test_rows_become_what_is_asked_for(database: Dsn) -> None:
    async with opened(database) as tables, tables.transaction(soon()) as tx:
        select = "SELECT gen_random_uuid() AS id, 'hello' AS words, now() AS at"
        note = await tx.fetch_one(Note, select)
        assert (note.words, note.at.tzinfo) == ("hello", UTC)
        assert await tx.fetch_one(NoteData, "SELECT 'a' AS words") == NoteData("a")
        assert await tx.fetch_one(NoteDict, "SELECT 'a' AS words") == {"words": "a"}
        assert await tx.fetch_one(dict, "SELECT 1 AS a, 2 AS b") == {"a": 1, "b": 2}
        assert await tx.fetch_all(int, "SELECT generate_series(1, 3)") == [1, 2, 3]
        assert await tx.fetch_first(str, "SELECT 'x' WHERE $1", False) is None
        assert await tx.fetch_first(str, "SELECT $1::text", "x") == "x"
        with pytest.raises(Fault) as missing:
            await tx.fetch_one(int, "SELECT 1 WHERE false")
        assert missing.value.code is Code.NOT_FOUND
        with pytest.raises(msgspec.ValidationError):
            await tx.fetch_one(int, "SELECT 'a'")
        assert await tx.execute("CREATE TEMP TABLE t (n int)") == 0
        assert await tx.execute("INSERT INTO t SELECT generate_series(1, $1)", 4) == 4


async def test_leaving_the_block_commits_and_an_error_rolls_back(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    async with opened(database, connections=1) as tables:
        async with tables.transaction(soon()) as tx:
            await tx.execute("INSERT INTO notes VALUES (1)")
        with pytest.raises(ZeroDivisionError):
            async with tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO notes VALUES (2)")
                raise ZeroDivisionError
        async with tables.transaction(soon()) as tx:
            assert await tx.fetch_all(int, "SELECT n FROM notes") == [1]


async def test_a_transaction_broken_by_a_swallowed_error_does_not_commit(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int UNIQUE)")
    async with opened(database) as tables:
        with pytest.raises(Fault, match="cannot commit: a statement in it failed") as refused:
            async with tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO notes VALUES (1)")
                with pytest.raises(Fault):
                    await tx.execute("INSERT INTO notes VALUES (1)")
        assert refused.value.effect is Effect.NONE
        async with tables.transaction(soon()) as tx:
            assert await tx.fetch_all(int, "SELECT n FROM notes") == []
        async with tables.transaction(soon()) as tx:  # a savepoint makes it whole again
            await tx.execute("INSERT INTO notes VALUES (1)")
            await tx.execute("SAVEPOINT before")
            with pytest.raises(Fault):
                await tx.execute("INSERT INTO notes VALUES (1)")
            await tx.execute("ROLLBACK TO before")
        async with tables.transaction(soon()) as tx:
            assert await tx.fetch_all(int, "SELECT n FROM notes") == [1]


@pytest.mark.parametrize(
    ("sql", "code", "again"),
    [
        ("INSERT INTO notes VALUES (1)", Code.ALREADY_EXISTS, False),
        ("INSERT INTO notes VALUES (-1)", Code.FAILED_PRECONDITION, False),
        ("SELECT 1/0", Code.INVALID_ARGUMENT, False),
        ("SELECT pg_sleep(30)", Code.DEADLINE_EXCEEDED, True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Code.UNAVAILABLE, True),
        ("DO $$ BEGIN RAISE disk_full; END $$", Code.UNAVAILABLE, True),
        ("SET TRANSACTION READ ONLY; INSERT INTO notes VALUES (7)", Code.UNAVAILABLE, True),
    ],
)
async def test_an_error_of_the_server_is_a_fault_without_effect(
    database: Dsn, sql: str, code: Code, again: bool
) -> None:
    await run(
        database,
        "CREATE TABLE notes (n int UNIQUE CHECK (n > 0))",
        "INSERT INTO notes VALUES (1)",
    )
    async with opened(database) as tables:
        await tables.probe(soon())  # what is late is the statement, and not the connection
        with pytest.raises(Fault) as failed:
            async with tables.transaction(soon(0.5 if "sleep" in sql else 10.0)) as tx:
                await tx.execute(sql)
        fault = failed.value
        assert (fault.code, fault.effect, fault.origin) == (code, Effect.NONE, "postgres")
        assert judge(fault).again is again
        assert isinstance(fault.__cause__, Exception)
        await tables.probe(soon())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 2**31),
        ("bigint", 2**63),
        ("real", 1e300),
        ("timestamptz", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23)))),
        ("timestamptz", datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=23)))),
    ],
)
async def test_a_value_too_large_for_its_column_is_that_of_who_asked(
    database: Dsn, kind: str, value: object
) -> None:
    async with opened(database) as tables:
        with pytest.raises(Fault) as raised:
            async with tables.transaction(soon()) as tx:
                await tx.fetch_one(str, f"select $1::{kind}::text", value)
    assert (raised.value.code, raised.value.effect) == (Code.OUT_OF_RANGE, Effect.NONE)


async def test_a_wrong_statement_is_a_defect(database: Dsn) -> None:
    async with opened(database) as tables:
        with pytest.raises(asyncpg.UndefinedTableError):
            async with tables.transaction(soon()) as tx:
                await tx.execute("SELECT * FROM nowhere")
        with pytest.raises(asyncpg.DataError):
            async with tables.transaction(soon()) as tx:
                await tx.execute("SELECT $1::int", "one")


async def test_who_loses_a_serialization_race_or_a_deadlock_may_try_again(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)", "INSERT INTO notes VALUES (1), (2)")
    serializable = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    lost: list[Fault] = []

    async def add(first: asyncio.Barrier) -> None:
        try:
            async with tables.transaction(soon()) as tx:
                await tx.execute(serializable)
                total = await tx.fetch_one(int, "SELECT sum(n) FROM notes")
                await first.wait()
                await tx.execute("INSERT INTO notes VALUES ($1)", total)
                await first.wait()
        except Fault as fault:
            lost.append(fault)

    async def cross(first: asyncio.Barrier, one: int, other: int) -> None:
        try:
            async with tables.transaction(soon()) as tx:
                await tx.execute("UPDATE notes SET n = n WHERE n = $1", one)
                await first.wait()
                await tx.execute("UPDATE notes SET n = n WHERE n = $1", other)
        except Fault as fault:
            lost.append(fault)

    async with opened(database) as tables:
        barrier = asyncio.Barrier(2)
        await asyncio.gather(add(barrier), add(barrier))
        await asyncio.gather(cross(barrier, 1, 2), cross(barrier, 2, 1))
    assert [(fault.code, fault.effect) for fault in lost] == [(Code.ABORTED, Effect.NONE)] * 2


async def test_the_deadline_reaches_sql(database: Dsn) -> None:
    async with opened(database) as tables:
        async with tables.transaction(soon(2.0)) as tx:
            limit = await tx.fetch_one(str, "SHOW statement_timeout")
            assert 1500 < int(limit.removesuffix("ms")) < 2000
        async with tables.transaction(inf) as tx:
            await tx.execute("SELECT 1")
        late = pytest.raises(Fault, match="deadline passed before")
        with late as passed:
            async with tables.transaction(soon(0.5)) as tx:
                await asyncio.sleep(0.51)
                await tx.execute("SELECT 1")
        assert passed.value.code is Code.DEADLINE_EXCEEDED


async def test_a_deadline_that_passes_before_the_commit_takes_no_effect(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    async with opened(database) as tables:
        await tables.probe(soon())
        with pytest.raises(Fault) as passed:
            async with tables.transaction(soon(0.5)) as tx:
                await tx.execute("INSERT INTO notes VALUES (1)")
                await asyncio.sleep(0.51)
        assert (passed.value.code, passed.value.effect) == (Code.DEADLINE_EXCEEDED, Effect.NONE)
        async with tables.transaction(soon()) as tx:
            assert await tx.fetch_all(int, "SELECT n FROM notes") == []


@pytest.mark.parametrize("between", ["statements", "parsing and execution"])
async def test_a_transaction_whose_process_stopped_is_ended_by_the_server(
    database: Dsn, between: str
) -> None:
    find = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
    watching = await asyncpg.connect(**database.arguments())
    async with opened(database) as tables:
        await tables.probe(soon())
        with pytest.raises(Fault) as ended:
            async with tables.transaction(soon(0.5)) as tx:
                stuck = await tx.fetch_one(int, "SELECT pg_backend_pid()")
                if between == "parsing and execution":
                    await tx.connection.prepare("SELECT 1")
                while await watching.fetchval(find, stuck):
                    await asyncio.sleep(0.02)
        assert ended.value.effect is Effect.NONE
    await watching.close()


async def test_waiting_for_a_connection_ends_with_the_deadline(database: Dsn) -> None:
    async with opened(database, connections=1) as tables, tables.transaction(soon()) as tx:
        with pytest.raises(Fault, match="all 1 connections were in use") as refused:
            async with tables.transaction(soon(0.05)):
                pass
        assert (refused.value.code, refused.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
        assert refused.value.refusal is Refusal.FULL
        await tx.execute("SELECT 1")


async def test_patience_may_end_long_before_the_deadline(database: Dsn) -> None:
    async with opened(database, connections=1, patience=0.01) as tables:
        async with tables.transaction(soon()) as tx:
            deadline = soon(30.0)
            with pytest.raises(Fault, match="all 1 connections were in use") as refused:
                async with tables.transaction(deadline):
                    pass
            assert perf_counter() < deadline
            assert refused.value.retry_after == 1.0
            await tx.execute("SELECT 1")
        async with tables.transaction(soon()) as tx:
            await tx.execute("SELECT 1")


async def test_a_server_that_never_answers_holds_nobody_past_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with opened(Dsn("127.0.0.1", port, options={"sslmode": "disable"})) as tables:
        with pytest.raises(Fault, match=r"no connection .* could be opened") as refused:
            async with asyncio.timeout(5), tables.transaction(soon(0.1)):
                pass
        assert (refused.value.code, refused.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
    server.close()
    for writer in held:
        writer.close()
    await server.wait_closed()


async def test_a_refused_connection_has_no_effect() -> None:
    async with opened(Dsn("127.0.0.1", 1)) as tables:
        with pytest.raises(Fault) as refused:
            await tables.probe(soon())
        assert (refused.value.code, refused.value.effect) == (Code.UNAVAILABLE, Effect.NONE)


async def test_a_connection_lost_in_the_commit_leaves_the_effect_unknown(database: Dsn) -> None:
    await run(
        database,
        "CREATE TABLE notes (n int)",
        "CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER gone AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION vanish()",
    )
    async with opened(database) as tables:
        with pytest.raises(Fault) as lost:
            async with tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO notes VALUES (1)")
        assert (lost.value.code, lost.value.effect) == (Code.UNAVAILABLE, Effect.UNKNOWN)


async def test_a_constraint_that_fails_in_the_commit_has_no_effect(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    async with opened(database) as tables:
        with pytest.raises(Fault) as failed:
            async with tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO notes VALUES (1), (1)")
        assert (failed.value.code, failed.value.effect) == (Code.ALREADY_EXISTS, Effect.NONE)


async def test_nothing_of_one_transaction_reaches_the_next(database: Dsn) -> None:
    async with opened(database, connections=1) as tables:
        async with tables.transaction(soon()) as tx:
            await tx.execute("SET app.tenant = 'theirs'")
            await tx.execute("SELECT pg_advisory_lock(7)")
            await tx.execute("SET lock_timeout = 7777")
        async with tables.transaction(soon()) as tx:
            assert not await tx.fetch_one(
                str, "SELECT coalesce(current_setting('app.tenant', true), '')"
            )
            assert (
                await tx.fetch_one(int, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                == 0
            )
            assert await tx.fetch_one(str, "SHOW lock_timeout") == "0"
        with pytest.raises(ZeroDivisionError):
            async with tables.transaction(soon()) as tx:
                await tx.execute("SELECT pg_advisory_lock(7)")
                raise ZeroDivisionError
        async with tables.transaction(soon()) as tx:
            assert (
                await tx.fetch_one(int, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                == 0
            )


async def test_a_cancelled_caller_leaves_a_clean_connection(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    async with opened(database, connections=1) as tables:

        async def slow() -> None:
            async with tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO notes VALUES (1)")
                await tx.execute("SELECT pg_sleep(30)")

        for _ in range(3):
            task = asyncio.create_task(slow())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with tables.transaction(soon(2)) as tx:
            assert await tx.fetch_all(int, "SELECT n FROM notes") == []
        assert tables.statistics() == {"size": 1, "idle": 1, "limit": 1, "waiting": 0}


async def test_cancelling_while_connecting_leaves_no_connection(database: Dsn) -> None:
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.database}'"
    async with opened(database, connections=3) as tables:
        for pause in (0.0, 0.001, 0.002, 0.004, 0.006, 0.008):
            task = asyncio.create_task(tables.probe(soon()))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
        async with tables.transaction(soon()) as tx:
            while await tx.fetch_one(int, query) > tables.statistics()["size"]:
                await asyncio.sleep(0.01)


async def test_connections_keep_no_context_of_who_opened_them(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    seen: list[str] = []
    async with opened(database, connections=1) as tables:
        WORD.set("of the first caller")
        async with tables.transaction(soon()) as tx:
            connection = tx.connection
            connection.add_log_listener(lambda *_: seen.append(WORD.get()))
            await tx.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
            await asyncio.sleep(0.01)
            connection._con._log_listeners.clear()
    assert seen == [""]


async def test_service_returns_at_once_when_the_server_does(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    where = await server.start()
    async with opened(where, connections=4) as tables:
        await asyncio.gather(*(tables.probe(soon()) for _ in range(8)))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        with pytest.raises(Fault) as down:
            await tables.probe(soon())
        assert (down.value.code, down.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
        assert await server.start() == where
        await asyncio.gather(*(tables.probe(soon(1.0)) for _ in range(8)))
        await server.stop()


async def test_a_closed_pool_refuses_and_closing_waits_for_its_users(database: Dsn) -> None:
    async with opened(database) as tables:
        await tables.probe(soon())
        async with tables.transaction(soon()) as tx:
            closing = asyncio.create_task(tables.close())
            await asyncio.sleep(0.01)
            with pytest.raises(Fault) as refused:
                await tables.probe(soon())
            assert refused.value.code is Code.UNAVAILABLE
            await tx.execute("SELECT 1")
        await closing


@pytest.mark.parametrize("sql", ["", " \n", " ; ", "-- nothing", "/* nothing * at all */ ;\n--"])
@pytest.mark.parametrize("how", ["execute", "fetch_all", "fetch_first", "fetch_one"])
async def test_no_statement_is_a_defect_and_no_row_that_is_missing(
    database: Dsn, sql: str, how: str
) -> None:
    tables = PostgresTables(database)
    async with tables.transaction(soon()) as tx:
        call = tx.execute if how == "execute" else partial(getattr(tx, how), int)
        with pytest.raises(ValueError, match="there is no statement in "):
            await call(sql)
        assert await tx.fetch_one(int, "/* a */ -- b\n; select 1") == 1
        assert await tx.fetch_one(int, "(select 2)") == 2
    await tables.close()
