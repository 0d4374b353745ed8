"""Migrations: numbered SQL files, applied in order, each once and whole.

A folder holds `0001_users.sql`, `0002_index.sql` and so on. Each file runs in a transaction of its
own, together with the row that records it. A file that was applied must never change: write
another one. A database that is ahead of the folder is no error, so that an old process can
restart while a new one rolls out.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.faults import translate
from switchgear.engines.postgres.statements import statements
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Migration", "migrate", "read_migrations"]

NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

LEDGER: Final = """
CREATE TABLE IF NOT EXISTS {ledger} (
    component text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, number)
)
"""


# What a file sets (as a dump does with search_path, at its head) is no affair of the next one's.
RESET: Final = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"

# What stands before each file, on its first line, and changes nothing: one that is empty, or all
# comments, is a query of nothing, whose answer asyncpg cannot read. No SELECT, behind which a file
# could not set its isolation level.
FIRST: Final = "RESET ROLE;"


class Migration(NamedTuple):
    """One file: its number and name, its text, and the SHA-256 of that."""

    number: int
    name: str
    sql: str
    checksum: str


def read_migrations(folder: Path) -> list[Migration]:
    """Read the files of a folder in order.

    Raises a Fault (failed_precondition) for a name that is none, a number that is missing or
    given twice, or a file that is not UTF-8.
    """
    found: dict[int, Migration] = {}
    # Whatever the case of its ending: a file that is passed over is a table that is missing.
    for path in sorted(one for one in folder.iterdir() if one.suffix.lower() == ".sql"):
        match = NAME.fullmatch(path.name)
        if match is None:
            raise _wrong(f"{path}: a migration is named like 0001_users.sql")
        number = int(match[1])
        if number in found:
            raise _wrong(f"{path}: there is another migration of the number {match[1]}")
        try:
            sql = path.read_text("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise _wrong(f"{path}: not UTF-8: {error}") from error
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        found[number] = Migration(number, path.name, sql, checksum)
    for expected, number in enumerate(found, 1):
        if number != expected:
            raise _wrong(f"{folder}: migration {expected:04} is missing, {number:04} is there")
    return list(found.values())


async def migrate(
    dsn: Dsn, folder: Path, component: str, *, ledger: str = "migrations.applied"
) -> list[str]:
    """Apply what is missing of a folder, as its owner; return the names of what was applied.

    One process does it at a time; others wait, and find it done. `ledger` is the table that records
    it, made where it is missing. Raises a Fault that names the file and, for an error in its
    SQL, the line.
    """
    wanted = read_migrations(folder)
    try:
        async with _locked(dsn, f"{ledger}/{component}") as connection:
            await _make_ledger(connection, ledger)
            known = await _applied(connection, ledger, component)
            _compare(wanted, known, folder)
            missing = [one for one in wanted if one.number not in known]
            for migration in missing:
                await _apply(connection, migration, component, ledger, folder)
            return [migration.name for migration in missing]
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        fault = translate(error)
        if fault is None:
            raise
        raise fault from error


@asynccontextmanager
async def _locked(dsn: Dsn, what: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(**dsn.arguments(), timeout=10)
    try:
        try:
            await connection.execute("SET lock_timeout = '60s'")
            await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", what)
            await connection.execute("RESET lock_timeout")
        except asyncpg.LockNotAvailableError as error:
            detail = "another process has been migrating this database for over 60 s"
            raise Fault(Code.UNAVAILABLE, detail, effect=Effect.NONE) from error
        yield connection
    finally:
        await connection.close(timeout=5)


async def _make_ledger(connection: Any, ledger: str) -> None:
    schema = ledger.partition(".")[0]
    # Asked first: IF NOT EXISTS needs the right to create it even where it exists.
    if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", schema):
        await connection.execute(f"CREATE SCHEMA {schema}")
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", ledger):
        await connection.execute(LEDGER.format(ledger=ledger))


async def _applied(connection: Any, ledger: str, component: str) -> dict[int, tuple[str, str]]:
    query = f"SELECT number, name, checksum FROM {ledger} WHERE component = $1"  # noqa: S608 - ours
    rows = await connection.fetch(query, component)
    return {row["number"]: (row["name"], row["checksum"]) for row in rows}


def _compare(wanted: list[Migration], known: Mapping[int, tuple[str, str]], folder: Path) -> None:
    for migration in wanted:
        name, checksum = known.get(migration.number, ("", ""))
        if name and checksum != migration.checksum:
            raise _wrong(
                f"{folder / migration.name}: changed after it was applied (as {name}): restore it, "
                "and write another migration for what is new"
            )


async def _apply(
    connection: Any, migration: Migration, component: str, ledger: str, folder: Path
) -> None:
    place, sql = folder / migration.name, FIRST + migration.sql
    try:
        async with connection.transaction():
            await connection.execute(sql)
            if not connection.is_in_transaction():
                raise _wrong(f"{place}: it ends the transaction that it runs in")
            await connection.execute(RESET)
            await connection.execute(
                f"INSERT INTO {ledger} (component, number, name, checksum)"  # noqa: S608 - ours
                " VALUES ($1, $2, $3, $4)",
                component,
                migration.number,
                migration.name,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        fault = translate(error)
        if fault is not None and fault.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            raise fault from error
        line = await _line(connection, sql, error)
        # Not str(error): to that the client has added detail and hint, in lines of their own.
        said = [str(error.args[0]), *filter(None, (error.detail, error.hint))]
        raise _wrong(f"{place}:{line}: {' | '.join(said)}") from error


async def _line(connection: Any, sql: str, error: asyncpg.PostgresError) -> int:
    """Find the line that failed: where the server points to, else the statement that fails again.

    Many errors ("already exists") come without a position. Nothing of the search stays.
    """
    position = str(error.position or "")
    if position.isdigit():
        return sql.count("\n", 0, int(position) - 1) + 1
    search = connection.transaction()
    await search.start()
    try:
        for line, statement in statements(sql):
            try:
                await connection.execute(statement)
            except asyncpg.PostgresError:
                return line
        return 1
    finally:
        await search.rollback()


def _wrong(why: str) -> Fault:
    return Fault(Code.FAILED_PRECONDITION, why, effect=Effect.NONE, origin="migrations")
