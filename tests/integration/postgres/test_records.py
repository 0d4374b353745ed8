"""Recorded outcomes: who has a scope, for how long, and what is found there."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from switchgear import Code, Fault
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import install
from switchgear.engines.postgres.records import PostgresRecords
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.ports.records import Record
from tests.support.postgres import run

ONE, OTHER = b"\xff" * 32, b"\x01" * 32
MADE = Record(b"asked", 201, (("a", "1"), ("a", "\xfc\0")), b"\0\xff")


@asynccontextmanager
async def opened(roles: Roles) -> AsyncIterator[PostgresTables]:
    await install(roles.owner)
    tables = PostgresTables(roles.app)
    try:
        yield tables
    finally:
        await tables.close()


def soon() -> float:
    return time.perf_counter() + 10


async def test_what_was_kept_is_found_as_it_was(roles: Roles) -> None:
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        for made in (MADE, Record(b"", 599, (), None)):
            scope = bytes(31) + bytes([made.status % 256])
            async with tables.transaction(soon()) as tx:
                assert await records.find(tx, scope) is None
                await records.keep(tx, scope, made)
            async with tables.transaction(soon()) as tx:
                assert await records.find(tx, scope) == made


async def test_one_has_a_scope_until_its_transaction_ends_however_it_does(roles: Roles) -> None:
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        for end in ("commit", "rollback", "death"):
            with pytest.raises((Fault, ZeroDivisionError)) as ended:
                async with tables.transaction(soon()) as tx:
                    await records.find(tx, ONE)
                    async with tables.transaction(soon()) as second:
                        await records.find(second, OTHER)
                        with pytest.raises(Fault) as taken:
                            await records.find(second, ONE)
                    assert (taken.value.code, taken.value.retry_after) == (Code.ABORTED, 0.25)
                    if end == "death":
                        pid = await tx.fetch_one(int, "select pg_backend_pid()")
                        await run(roles.app, f"select pg_terminate_backend({pid})")
                        await tx.execute("select 1")
                    if end == "rollback":
                        raise ZeroDivisionError
                raise ZeroDivisionError  # it committed
            async with asyncio.timeout(5):
                while not await free(records, tables):
                    await asyncio.sleep(0.01)
            assert isinstance(ended.value, Fault) == (end == "death")


async def free(records: PostgresRecords, tables: PostgresTables) -> bool:
    try:
        async with tables.transaction(soon()) as tx:
            return await records.find(tx, ONE) is None
    except Fault:
        return False


async def test_what_is_recorded_is_found_by_many_at_once(roles: Roles) -> None:
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        async with tables.transaction(soon()) as tx:
            await records.find(tx, ONE)
            await records.keep(tx, ONE, MADE)
        async with tables.transaction(soon()) as first, tables.transaction(soon()) as second:
            for tx in (first, second):
                assert await records.find(tx, ONE) == MADE


async def test_who_waits_finds_what_was_kept_meanwhile(roles: Roles) -> None:
    """It looks when it has the scope, and not as of when it began to wait."""
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        async with tables.transaction(soon()) as tx:
            await records.find(tx, ONE)

            async def wait() -> Record | None:
                async with tables.transaction(soon()) as second:
                    return await records.find(second, ONE, wait=True)

            waiting = asyncio.ensure_future(wait())
            async with asyncio.timeout(5):
                while not await tx.fetch_one(
                    bool, "select exists (select from pg_locks where not granted)"
                ):
                    await asyncio.sleep(0.01)
            await records.keep(tx, ONE, MADE)
        assert await waiting == MADE


async def test_what_has_expired_is_not_found_is_replaced_and_goes(roles: Roles) -> None:
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        for scope in (ONE, OTHER):
            async with tables.transaction(soon()) as tx:
                await records.find(tx, scope)
                await records.keep(tx, scope, Record(b"old", 200, (), b""))
        old = "update switchgear.idempotency set kept_at = now() - interval '61 s'"
        await run(roles.owner, old)
        async with tables.transaction(soon()) as tx:
            assert await records.find(tx, ONE) is None
            await records.keep(tx, ONE, MADE)
        async with tables.transaction(soon()) as tx:
            assert await records.forget(tx, 10) == 1
            assert await records.find(tx, ONE) == MADE
        await run(roles.owner, old)
        async with tables.transaction(soon()) as tx:
            assert await records.forget(tx, 0) == 0
            assert await records.forget(tx, 10) == 1


async def test_those_who_forget_let_each_other_pass(roles: Roles) -> None:
    records = PostgresRecords(60.0)
    async with opened(roles) as tables:
        await run(
            roles.owner,
            "insert into switchgear.idempotency (scope, fingerprint, status, headers, kept_at)"
            " select int4send(n), '', 200, '[]', now() - interval '1 day'"
            " from generate_series(1, 5) as n",
        )
        async with tables.transaction(soon()) as first, tables.transaction(soon()) as second:
            assert await records.forget(first, 3) == 3
            assert await records.forget(second, 3) == 2
