"""Who may do what: three roles, each with as little as it needs."""

import asyncpg
import msgspec
import pytest

from switchgear.engines.postgres.bootstrap import Roles, bootstrap, role_names
from switchgear.engines.postgres.dsn import Dsn
from switchgear.policy.fault import Code, Fault
from tests.support.postgres import run

KEYS = "CREATE TABLE accounts.keys (secret text)"
NOTES = "CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, tenant text)"


async def test_the_app_reads_and_writes_rows_and_changes_no_table(roles: Roles) -> None:
    await run(roles.owner, NOTES)
    await run(roles.app, "INSERT INTO notes (tenant) VALUES ('a')", "SELECT * FROM notes")
    for refused in (
        "DROP TABLE notes",
        "ALTER TABLE notes ADD COLUMN more int",
        "TRUNCATE notes",
        "CREATE TABLE mine (n int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine SUPERUSER",
        "SELECT * FROM pg_authid",
        "COPY notes TO PROGRAM 'true'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(roles.app, refused)


async def test_the_app_cannot_read_what_accounts_keeps(roles: Roles) -> None:
    await run(roles.accounts, KEYS, "INSERT INTO accounts.keys VALUES ('k')")
    for role in (roles.app, roles.owner):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="accounts"):
            await run(role, "SELECT * FROM accounts.keys")


async def test_accounts_cannot_read_the_apps_tables(roles: Roles) -> None:
    await run(roles.owner, NOTES)
    for query in ("SELECT * FROM notes", "SELECT * FROM public.notes"):
        with pytest.raises(asyncpg.PostgresError):
            await run(roles.accounts, query)


async def test_row_level_security_holds_for_the_app(roles: Roles) -> None:
    await run(
        roles.owner,
        NOTES,
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true))",
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await run(roles.app, "SET app.tenant = 'a'", "INSERT INTO notes (tenant) VALUES ('b')")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(roles.app, "ALTER ROLE CURRENT_USER BYPASSRLS")


async def test_other_roles_of_the_server_cannot_connect(roles: Roles, postgres: Dsn) -> None:
    await run(postgres, "CREATE ROLE stranger LOGIN PASSWORD 'x'")
    try:
        stranger = msgspec.structs.replace(roles.app, user="stranger", password="x")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="CONNECT"):
            await run(stranger, "SELECT 1")
    finally:
        await run(postgres, "DROP ROLE stranger")


async def test_a_second_time_changes_nothing_but_the_passwords(roles: Roles, postgres: Dsn) -> None:
    await run(roles.owner, NOTES, "INSERT INTO notes (tenant) VALUES ('a')")
    await run(postgres, f"ALTER ROLE {roles.app.user} SUPERUSER BYPASSRLS")
    names = role_names(roles.app.database)
    again = await bootstrap(postgres, dict.fromkeys(names, "an'other"), roles.app.database)
    await run(again.app, "SELECT tenant FROM notes")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(again.app, "DROP TABLE notes")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await run(roles.app, "SELECT 1")


async def test_an_admin_who_is_no_superuser_can_do_it(postgres: Dsn) -> None:
    await run(postgres, "CREATE ROLE dba LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
    admin = msgspec.structs.replace(postgres, user="dba", password="x")
    names = role_names("managed")
    try:
        for _ in range(2):
            made = await bootstrap(admin, dict.fromkeys(names, "y"), "managed")
            await run(made.owner, "CREATE TABLE IF NOT EXISTS notes (n int)")
            await run(made.app, "INSERT INTO notes VALUES (1)")
            await run(made.accounts, "CREATE TABLE IF NOT EXISTS accounts.keys (n int)")
    finally:
        await run(postgres, "DROP DATABASE IF EXISTS managed WITH (FORCE)")
        await run(postgres, *(f"DROP ROLE IF EXISTS {name}" for name in (*names, "dba")))


async def test_a_server_that_is_not_there_is_a_fault() -> None:
    nowhere = Dsn(host="127.0.0.1", port=1)
    with pytest.raises(Fault) as refused:
        await bootstrap(nowhere, dict.fromkeys(role_names(), "x"))
    assert refused.value.code is Code.UNAVAILABLE


async def test_a_name_that_would_need_quotes_is_refused(postgres: Dsn) -> None:
    with pytest.raises(Fault, match="lower-case letters"):
        await bootstrap(postgres, {}, 'x"; DROP TABLE y')
