"""Migrations: applied in order, once and whole, or refused with the file and the line."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.migrations import migrate
from switchgear.policy.fault import Code, Fault
from tests.support.postgres import run

USERS = "CREATE TABLE users (id int);\nINSERT INTO users VALUES (1);\n"


def write(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(sql)
    return folder


async def count(roles: Roles, table: str) -> int:
    connection = await asyncpg.connect(**roles.owner.arguments())
    try:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
        return found
    finally:
        await connection.close()


async def test_files_are_applied_in_order_and_once(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=USERS, m0002_more="INSERT INTO users VALUES (2)")
    assert await migrate(roles.owner, folder, "app") == ["0001_users.sql", "0002_more.sql"]
    assert await migrate(roles.owner, folder, "app") == []
    write(folder, m0003_last="INSERT INTO users VALUES (3)")
    assert await migrate(roles.owner, folder, "app") == ["0003_last.sql"]
    assert await count(roles, "users") == 3
    await run(roles.app, "SELECT * FROM users")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(roles.app, "DELETE FROM migrations.applied")


async def test_processes_at_the_same_time_apply_them_once(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=USERS, m0002_slow="SELECT pg_sleep(0.2)")
    done = await asyncio.gather(*(migrate(roles.owner, folder, "app") for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 2]
    assert await count(roles, "users") == 1


async def test_components_do_not_mix(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=USERS)
    await migrate(roles.owner, folder, "app")
    other = tmp_path / "other"
    other.mkdir()
    write(other, m0001_keys="CREATE TABLE accounts.keys (n int)")
    ledger = "accounts.migration"
    assert await migrate(roles.accounts, other, "accounts", ledger=ledger) == ["0001_keys.sql"]
    assert await migrate(roles.accounts, other, "accounts", ledger=ledger) == []


@pytest.mark.parametrize(
    ("sql", "line", "words"),
    [
        ("SELECT 1;\n\nSELEC 2;", 3, "syntax error"),
        ("SELECT 1;\nSELECT nothing FROM users;", 2, 'column "nothing" does not exist'),
        ("-- a ; comment\n\nCREATE TABLE users (n int);", 3, "already exists"),
        ("SELECT ';';\nINSERT INTO users\n  VALUES (0);\nSELECT 1/0;", 4, "division by zero"),
    ],
)
async def test_an_error_names_the_file_and_the_line_and_leaves_nothing(
    roles: Roles, tmp_path: Path, sql: str, line: int, words: str
) -> None:
    folder = write(tmp_path, m0001_users=USERS, m0002_bad=sql)
    with pytest.raises(Fault, match=f"0002_bad.sql:{line}: .*{words}") as refused:
        await migrate(roles.owner, folder, "app")
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert await count(roles, "users") == 1
    write(folder, m0002_bad="INSERT INTO users VALUES (2)")
    assert await migrate(roles.owner, folder, "app") == ["0002_bad.sql"]


async def test_what_the_server_adds_to_an_error_is_told_once(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_role="CREATE ROLE other;", m0002_more="")
    with pytest.raises(
        Fault, match=r"0001_role\.sql:1: permission denied.* \| Only roles "
    ) as told:
        await migrate(roles.owner, folder, "app")
    assert str(told.value).count("Only roles") == 1
    assert "\n" not in str(told.value), "one sentence, one line"


async def test_a_changed_file_is_refused(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=USERS)
    await migrate(roles.owner, folder, "app")
    write(folder, m0001_users=USERS.replace("\n", "\r\n"))
    assert await migrate(roles.owner, folder, "app") == [], "line ends are no change"
    write(folder, m0001_users=f"{USERS} ")
    with pytest.raises(Fault, match=r"0001_users\.sql: changed after it was applied"):
        await migrate(roles.owner, folder, "app")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m0001_a": "", "m0003_c": ""}, "0002 is missing, 0003 is there"),
        ({"m0002_b": ""}, "0001 is missing"),
        ({"m0001_a": "", "m0001_b": ""}, "another migration of the number 0001"),
        ({"m1_a": ""}, "named like 0001_users.sql"),
    ],
)
async def test_a_folder_that_makes_no_sense_is_refused(
    roles: Roles, tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(Fault, match=words):
        await migrate(roles.owner, write(tmp_path, **files), "app")


async def test_a_file_cannot_end_its_transaction(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=f"{USERS} COMMIT;")
    with pytest.raises(Fault, match=r"0001_users\.sql: it ends the transaction"):
        await migrate(roles.owner, folder, "app")


@pytest.mark.parametrize("sql", ["", "\n", "-- later\n", "/* later */", ";", "-- a\n;;/* b */;"])
async def test_a_file_without_a_statement_is_applied(
    roles: Roles, tmp_path: Path, sql: str
) -> None:
    folder = write(tmp_path, m0001_later=sql, m0002_users=USERS)
    assert await migrate(roles.owner, folder, "app") == ["0001_later.sql", "0002_users.sql"]
    assert await count(roles, "users") == 1


async def test_a_byte_order_mark_is_no_part_of_a_file(roles: Roles, tmp_path: Path) -> None:
    await migrate(roles.owner, write(tmp_path, m0001_users=f"\ufeff{USERS}"), "app")
    assert await count(roles, "users") == 1


async def test_a_file_sets_how_it_is_isolated(roles: Roles, tmp_path: Path) -> None:
    alone = f"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\n{USERS}"
    await migrate(roles.owner, write(tmp_path, m0001_users=alone), "app")
    assert await count(roles, "users") == 1


async def test_a_database_that_is_ahead_is_no_error(roles: Roles, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_users=USERS, m0002_more="INSERT INTO users VALUES (2)")
    await migrate(roles.owner, folder, "app")
    (folder / "0002_more.sql").unlink()
    assert await migrate(roles.owner, folder, "app") == []


async def test_what_a_file_sets_is_no_affair_of_the_next_one(roles: Roles, tmp_path: Path) -> None:
    """Dumps begin so. Applied one by one, the files went well; all at once, they did not."""
    dumped = "SELECT pg_catalog.set_config('search_path', '', false);\n"
    folder = write(
        tmp_path,
        m0001_dump=dumped + "CREATE TABLE public.users (id int);",
        m0002_more="INSERT INTO users VALUES (1);",
    )
    assert len(await migrate(roles.owner, folder, "app")) == 2
    assert await count(roles, "users") == 1


async def test_who_a_file_acts_as_is_no_affair_of_what_records_it(
    postgres: Dsn, roles: Roles, tmp_path: Path
) -> None:
    await run(postgres, f"GRANT {roles.app.user} TO {roles.owner.user}")
    acting = f"CREATE TABLE users (id int);\nSET ROLE {roles.app.user};\nSELECT * FROM users;"
    folder = write(tmp_path, m0001_as_app=acting, m0002_more="CREATE TABLE others (id int)")
    assert len(await migrate(roles.owner, folder, "app")) == 2
