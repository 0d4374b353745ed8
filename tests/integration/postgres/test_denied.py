"""What the server denies: to our role, which is a defect, or to whoever asks, who is told so."""

from time import perf_counter

import asyncpg
import pytest

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.pool import PostgresPool
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault
from tests.support.postgres import run

NOTES = """
CREATE TABLE notes (n int, tenant text);
CREATE TABLE hidden (n int);
REVOKE ALL ON hidden FROM PUBLIC, "{app}";
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true));
CREATE FUNCTION deny() RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE 'not yours' USING ERRCODE = 'insufficient_privilege'; END $$;
"""


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE notes ADD COLUMN more int",
        "CREATE TABLE mine (n int)",
        "SELECT n FROM hidden",
        "SELECT 1 FROM accounts.account",
    ],
)
async def test_what_our_role_may_not_do_is_a_defect(roles: Roles, sql: str) -> None:
    """No client has done anything wrong: a 403 would tell it so, and nobody would tell us."""
    await run(roles.owner, NOTES.format(app=roles.app.user))
    await run(roles.accounts, "CREATE TABLE IF NOT EXISTS accounts.account (n int)")
    tables = PostgresTables(roles.app)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tables.transaction(perf_counter() + 10.0) as tx:
            await tx.execute(sql)
    await tables.close()


@pytest.mark.parametrize("sql", ["INSERT INTO notes VALUES (1, 'b')", "SELECT deny()"])
async def test_what_a_policy_or_the_apps_own_function_denies_is_told(
    roles: Roles, sql: str
) -> None:
    await run(roles.owner, NOTES.format(app=roles.app.user))
    tables = PostgresTables(roles.app)
    with pytest.raises(Fault) as raised:
        async with tables.transaction(perf_counter() + 10.0) as tx:
            await tx.execute("SELECT set_config('app.tenant', 'a', true)")
            await tx.execute(sql)
    assert (raised.value.code, raised.value.effect) == (Code.PERMISSION_DENIED, Effect.NONE)
    await tables.close()


async def test_the_platforms_own_statements_go_on_to_be_tried(roles: Roles) -> None:
    """A worker whose queue was taken away from it for a moment was to end with a traceback."""
    await run(roles.owner, NOTES.format(app=roles.app.user))
    pool = PostgresPool(roles.app, "worker-1")
    with pytest.raises(Fault, match="permission denied for table hidden") as raised:
        await pool.fetch("SELECT n FROM hidden", deadline=perf_counter() + 10.0)
    assert (raised.value.code, raised.value.effect) == (Code.INTERNAL, Effect.NONE)
    await run(roles.owner, f'GRANT SELECT ON hidden TO "{roles.app.user}"')
    assert await pool.fetch("SELECT n FROM hidden", deadline=perf_counter() + 10.0) == []
    await pool.close()
