"""Sessions whose rows are gone: a deleted account is nobody's any more, within seconds."""

import asyncpg

from switchgear.engines.postgres.bootstrap import Roles
from tests.integration.accounts.house import house


async def test_gateways_are_told_of_the_sessions_of_an_account_that_was_deleted(
    roles: Roles,
) -> None:
    async with house(roles) as told:
        for name in ("ada", "eve"):
            await told.register(f"{name}@example.org")
        held = [await told.sign_in("eve@example.org") for _ in range(3)]
        await told.sign_in("ada@example.org")
        names = [(await told.verified(session)).session for session in held]
        await told.write(f"update family set revoked = true where id = '{names[0]}'")
        # By whoever runs the database, whose search path knows no accounts.
        admin = await asyncpg.connect(**roles.accounts.arguments())
        await admin.execute("set search_path = public")
        await admin.execute("delete from accounts.account where email = 'eve@example.org'")
        await admin.close()
        found = await told.desk.ended(0.0, "", told.soon)
        assert {name for name, _ in found.sessions} == set(names)
        assert all(told.wall() < until <= told.wall() + 620 for _, until in found.sessions)
        last = await told.desk.ended(found.since, found.after, told.soon)
        assert last.sessions == []
        await told.write("update gone set ended = ended - 731")
        await told.sign_in("ada@example.org")
        assert await told.count("select count(*) from gone") == 0, (
            "there are no tokens of them left"
        )


async def test_what_is_swept_is_not_told(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        await told.sign_in("ada@example.org")
        await told.write("update family set ends = 7")
        await told.sign_in("ada@example.org")
        assert await told.count("select count(*) from family") == 1
        assert await told.count("select count(*) from gone") == 0


async def test_a_session_that_was_refreshed_long_ago_is_told_all_the_same(roles: Roles) -> None:
    """There is no token of it any more, but a WebSocket that was opened with one."""
    async with house(roles) as told:
        for name in ("ada", "eve"):
            await told.register(f"{name}@example.org")
        held = [await told.sign_in(f"{name}@example.org") for name in ("ada", "eve")]
        names = [(await told.verified(session)).session for session in held]
        await told.write("update family set rotated = rotated - 200000")
        await told.write(f"update family set revoked = true where id = '{names[0]}'")
        await told.write("delete from account where email = 'eve@example.org'")
        found = await told.desk.ended(0.0, "", told.soon)
        assert {name for name, _ in found.sessions} == set(names)
