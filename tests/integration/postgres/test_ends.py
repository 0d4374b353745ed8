"""How transactions end on a real server: what looks committed is, and nothing comes behind it."""

import asyncio
from datetime import date, timedelta
from math import inf, nan
from time import perf_counter
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from pydantic import BaseModel, Field

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.pool import PoolSettings
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import Message
from tests.support.postgres import run

ONE = PoolSettings(connections=1)


def soon(seconds: float = 10.0) -> float:
    return perf_counter() + seconds


async def depths(queue: PostgresQueue) -> dict[str, dict[str, int]]:
    return await queue.depths(soon())


@pytest.mark.parametrize("publishes", [False, True])
async def test_a_statement_that_was_called_off_breaks_the_transaction(
    roles: Roles, publishes: bool
) -> None:
    """The server rolls back such a transaction at its COMMIT, and calls that no error."""
    await install(roles.owner)
    await run(roles.owner, "CREATE TABLE notes (n int)")
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, settings=ONE, outbox=queue)
    with pytest.raises(Fault, match="cannot commit: a statement in it failed") as refused:
        async with tables.transaction(soon()) as tx:
            await tx.execute("INSERT INTO notes VALUES (1)")
            if publishes:
                await tx.publish("notes.made", 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await tx.execute("SELECT pg_sleep(30)")
    assert (refused.value.code, refused.value.effect) == (Code.FAILED_PRECONDITION, Effect.NONE)
    async with tables.transaction(soon()) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes") == []
        await tx.execute("SAVEPOINT before")
        await tx.execute("INSERT INTO notes VALUES (2)")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await tx.execute("SELECT pg_sleep(30)")
        await tx.execute("ROLLBACK TO before")  # and now it is whole again
        await tx.execute("INSERT INTO notes VALUES (3)")
    async with tables.transaction(soon()) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes") == [3]
    assert await depths(queue) == {}
    await tables.close()
    await queue.close()


class Note(BaseModel):
    at: date = Field(alias="madeAt")


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "select 1; end"])
async def test_a_statement_must_not_end_the_transaction(database: Dsn, ending: str) -> None:
    """What came behind it would be committed statement by statement, whatever is raised then."""
    await run(database, "CREATE TABLE notes (n int)")
    tables = PostgresTables(database, settings=ONE)
    with pytest.raises(RuntimeError, match="ended the transaction that it ran in"):
        async with tables.transaction(soon()) as tx:
            await tx.execute("INSERT INTO notes VALUES (1)")
            with pytest.raises(RuntimeError, match="ended the transaction that it ran in"):
                await tx.execute(ending)
    with pytest.raises(RuntimeError):
        async with tables.transaction(soon()) as tx:
            await tx.execute(ending)
            await tx.execute("INSERT INTO notes VALUES (2)")
    async with tables.transaction(soon()) as tx:
        assert 2 not in await tx.fetch_all(int, "SELECT n FROM notes")
    await tables.close()


async def test_nothing_is_done_in_a_transaction_behind_its_end(roles: Roles) -> None:
    """A message published there would go nowhere, and its id would say that all was well."""
    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    async with tables.transaction(soon()) as kept:
        await kept.publish("notes.made", 1)
    with pytest.raises(ZeroDivisionError):
        async with tables.transaction(soon()) as failed:
            raise ZeroDivisionError
    for tx in (kept, failed):
        with pytest.raises(RuntimeError, match="after the transaction's end"):
            await tx.publish("notes.made", 2)
        with pytest.raises(RuntimeError, match="after the transaction's end"):
            await tx.execute("SELECT 1")
    assert await depths(queue) == {"notes.made": {"ready": 1}}
    await tables.close()
    await queue.close()


async def test_a_message_goes_out_whatever_its_delay_or_is_refused_at_its_line(
    roles: Roles,
) -> None:
    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    async with tables.transaction(soon()) as tx:
        for wrong in (nan, inf, -inf, 1e300):
            with pytest.raises(ValueError, match=r"delay=.* is no span of seconds"):
                await tx.publish("notes.made", 1, delay=wrong)
            with pytest.raises(ValueError, match=r"expires=.* is no span of seconds"):
                await tx.publish("notes.made", 1, expires=wrong)
        for name, odd, why in (
            ("delay", "5s", "no number of seconds"),
            ("expires", timedelta(seconds=5), "no number of seconds"),
            ("key", UUID(int=7), "no text"),
        ):
            options: dict[str, Any] = {name: odd}
            with pytest.raises(TypeError, match=f"'notes.made': {name}=.* is {why}"):
                await tx.publish("notes.made", 1, **options)
        await tx.publish("notes.made", 1, delay=-1.0)
        await tx.publish("notes.made", 1, delay=1e9, expires=1e9)
    with pytest.raises(Fault, match="out of range"):
        await queue.publish(Message("1" * 32, "notes.made", b"1", delay=nan), soon())
    assert await depths(queue) == {"notes.made": {"ready": 1, "delayed": 1}}
    await tables.close()
    await queue.close()


async def test_a_model_is_published_as_it_would_be_answered(roles: Roles) -> None:
    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    async with tables.transaction(soon()) as tx:
        with pytest.raises(TypeError, match="no JSON is known for object"):
            await tx.publish("notes.made", object())
        await tx.publish("notes.made", Note(madeAt=date(2026, 5, 4)))
    async with tables.transaction(soon()) as tx:
        (body,) = await tx.fetch_all(bytes, "SELECT body FROM switchgear.ready")
    assert body == b'{"madeAt":"2026-05-04"}'
    await tables.close()
    await queue.close()


@pytest.mark.parametrize("topic", ["", "Notes.made", "notes made", "notes..made", "notes.made\n"])
async def test_what_no_consumer_can_be_named_for_is_refused_at_its_line(
    roles: Roles, topic: str
) -> None:
    """It stayed for ever: an unroutable message is an error (rule 39)."""
    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    async with tables.transaction(soon()) as tx:
        with pytest.raises(ValueError, match="no consumer can be of this topic"):
            await tx.publish(topic, 1)
    with pytest.raises(Fault, match="no consumer can be of this topic") as raised:
        await queue.publish(Message("1" * 32, topic, b"1"), soon())
    assert (raised.value.code, raised.value.effect) == (Code.INVALID_ARGUMENT, Effect.NONE)
    assert await depths(queue) == {}
    await tables.close()
    await queue.close()


async def test_the_next_transaction_is_nobody_elses(database: Dsn) -> None:
    await run(database, "CREATE SEQUENCE numbers", "CREATE TABLE notes (n int)")
    tables = PostgresTables(database, settings=ONE)
    whoami = "SELECT current_user || ' ' || session_user"
    for fails in (False, True):
        async with tables.transaction(soon()) as tx:
            before = await tx.fetch_one(str, whoami)
        try:
            async with tables.transaction(soon()) as tx:
                await tx.execute("CREATE TEMP TABLE seen AS SELECT 1")
                await tx.execute("SELECT nextval('numbers')")
                await tx.execute("SET SESSION AUTHORIZATION pg_monitor")
                await tx.execute("SET ROLE pg_read_all_stats")
                assert await tx.fetch_one(str, whoami) == "pg_read_all_stats pg_monitor"
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        async with tables.transaction(soon()) as tx:
            assert await tx.fetch_one(str, whoami) == before
            assert await tx.fetch_one(bool, "SELECT to_regclass('seen') IS NULL")
            await tx.execute("SAVEPOINT asking")
            with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
                await tx.execute("SELECT lastval()")
            await tx.execute("ROLLBACK TO asking")
    await tables.close()


async def test_options_of_the_url_stand_beside_ours(database: Dsn) -> None:
    url = msgspec.structs.replace(database, options={"options": "-c jit=off"}).url()
    tables = PostgresTables(Dsn.parse(url), name="shop")
    async with tables.transaction(soon()) as tx:
        assert await tx.fetch_one(str, "SHOW jit") == "off"
        assert await tx.fetch_one(str, "SHOW application_name") == "shop"
    await tables.close()


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_connection_that_is_lost_between_two_statements_is_no_defect(
    roles: Roles, goes_on: bool
) -> None:
    """The pool lets go of it at once: who still has it is told so, in words of the pool's own."""
    tables = PostgresTables(roles.app, settings=ONE)
    with pytest.raises(Fault) as lost:
        async with tables.transaction(soon()) as tx:
            pid = await tx.fetch_one(int, "SELECT pg_backend_pid()")
            await run(roles.app, f"SELECT pg_terminate_backend({pid})")
            async with asyncio.timeout(5):
                while tables.statistics()["size"]:
                    await asyncio.sleep(0.01)
            if goes_on:
                await tx.execute("SELECT 1")
    effect = Effect.NONE if goes_on else Effect.UNKNOWN
    assert (lost.value.code, lost.value.effect) == (Code.UNAVAILABLE, effect)
    async with tables.transaction(soon()) as tx:
        assert await tx.fetch_one(int, "SELECT 1") == 1
    await tables.close()
