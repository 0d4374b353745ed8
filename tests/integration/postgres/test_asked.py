"""What cannot be asked of a transaction, on a real server, is refused in words."""

import asyncio
from time import perf_counter
from typing import cast

import pytest

from switchgear.core.policy import Policy
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.engines.postgres.tables import PostgresTables
from tests.support.postgres import asking, run


@pytest.mark.parametrize("how", ["fetch_one", "fetch_first", "fetch_all"])
async def test_a_statement_in_the_place_of_the_type_is_told(database: Dsn, how: str) -> None:
    async with asking(database) as tx:
        fetch = getattr(tx, how)
        for rest in ((7,), ("ada",), (int,)):
            with pytest.raises(TypeError, match=r"the type of a row comes first, .* where 'SEL"):
                await fetch("SELECT $1", *rest)
        with pytest.raises(TypeError, match="a statement is a text, behind the type of a row, and"):
            await fetch(int, 7)
        with pytest.raises(TypeError, match=r"a statement is a text, and <class 'int'> is none"):
            await tx.execute(cast("str", int), "SELECT 1")
        assert await fetch(int, "SELECT 1") in (1, [1])


@pytest.mark.parametrize("first", ["INSERT INTO notes VALUES (1)", "SELECT 1 / 0"])
@pytest.mark.parametrize("swallowed", [False, True])
async def test_statements_at_once_are_refused_in_words_and_commit_nothing(
    database: Dsn, swallowed: bool, first: str
) -> None:
    """It is a defect of the handler's, whatever the first of them says after that."""
    await run(database, "CREATE TABLE notes (n int)")
    with pytest.raises(RuntimeError, match="came while another statement"):
        async with asking(database) as tx:
            both = [tx.execute(sql) for sql in (first, "INSERT INTO notes VALUES (2)")]
            await asyncio.gather(*both, return_exceptions=swallowed)
            if "INSERT" in first:
                await tx.execute("INSERT INTO notes VALUES (3)")
    async with asking(database) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes") == []


@pytest.mark.parametrize("how", ["execute", "fetch_one", "publish"])
async def test_what_is_never_awaited_commits_nothing(roles: Roles, how: str) -> None:
    await install(roles.owner)
    await run(
        roles.owner, "CREATE TABLE notes (n int)", f'GRANT ALL ON notes TO "{roles.app.user}"'
    )
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    sql = "INSERT INTO notes VALUES (2) RETURNING n"
    asked, told = {"execute": ((sql,), sql), "fetch_one": ((int, sql), sql)}.get(
        how, (("notes.made", 2), "notes.made")
    )
    with pytest.raises(RuntimeError) as raised:
        async with tables.transaction(perf_counter() + 10.0) as tx:
            await tx.execute("INSERT INTO notes VALUES (1)")
            forgotten = getattr(tx, how)(*asked)
            for _ in range(50):
                await tx.execute("SELECT 1")
    words = f"nothing was done of {told!r}, which was never awaited: write `await tx.{how}(...)`"
    assert str(raised.value) == words
    forgotten.close()
    async with tables.transaction(perf_counter() + 10.0) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes") == []
    assert await queue.depths(perf_counter() + 10.0) == {}
    await tables.close()
    await queue.close()


async def test_what_is_awaited_later_or_by_a_policy_is_done(database: Dsn) -> None:
    await run(database, "CREATE TABLE notes (n int)")
    async with asking(database) as tx:
        late = [tx.execute("INSERT INTO notes VALUES ($1)", n) for n in range(50)]
        assert await Policy("notes").call(tx.execute, "INSERT INTO notes VALUES (50)") == 1
        for one in late:
            await one
        await asyncio.create_task(tx.execute("INSERT INTO notes VALUES (51)"))
    async with asking(database) as tx:
        assert await tx.fetch_all(int, "SELECT n FROM notes ORDER BY n") == [*range(52)]
