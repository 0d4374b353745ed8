"""The desk on a real database: one answer for all strangers, and sessions that cannot be copied."""

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import asyncpg
import msgspec
import pytest

from switchgear.accounts.desk import Session
from switchgear.accounts.guesses import GuessSettings
from switchgear.accounts.surface import Ended
from switchgear.accounts.vault import open_vault
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.message import Response
from switchgear.policy.fault import Code, Fault
from tests.integration.accounts.house import (
    CHEAP,
    PASSWORD,
    SETTINGS,
    fault_code,
    house,
    refused,
)


async def test_an_account_signs_in_with_the_scopes_of_the_configuration(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        session = await told.sign_in("ada@example.org")
        who = await told.verified(session)
        assert who.principal.scopes == {"user:write"}
        assert who.principal.subject == who.principal.tenant
        assert (session.scope, session.token_type, session.expires_in) == (
            "user:write",
            "Bearer",
            600,
        )
        assert who.session


async def test_an_email_is_the_same_in_any_case(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("Ada@Example.org")
        await told.register("ADA@example.ORG", "another password")
        assert await told.count("select count(*) from account") == 1
        await told.sign_in("ada@example.org")
        await refused(told.sign_in("ada@example.org", "another password"))


async def test_nobody_learns_who_has_an_account(roles: Roles) -> None:
    async with house(roles) as told:
        body = {"email": "ada@example.org", "password": PASSWORD}
        first, second = [await told.ask("POST", "/accounts", body) for _ in range(2)]
        assert (first.status, first.body, first.headers) == (202, second.body, second.headers)
        wrong = await refused(told.sign_in("ada@example.org", "wrong password"))
        unknown = await refused(told.sign_in("bob@example.org", "wrong password"))
        assert (wrong.public, wrong.extra) == (unknown.public, unknown.extra)


async def test_the_time_does_not_tell_either(roles: Roles) -> None:
    """Hashing costs the same, and so does what the database has to do."""
    settings = msgspec.structs.replace(SETTINGS, guesses=GuessSettings(free=100))
    async with house(roles, settings) as told:
        await told.register("ada@example.org")

        async def lasts(work: Callable[[str], Any], email: str) -> float:
            began = time.perf_counter()
            try:
                await work(email)
            except Fault:
                pass
            return time.perf_counter() - began

        async def wrong(email: str) -> None:
            await told.sign_in(email, "wrong password")

        for work in (wrong, told.register):
            known, unknown = [], []
            for number in range(60):  # by turns, so that both meet the same weather
                known.append(await lasts(work, "ada@example.org"))
                unknown.append(await lasts(work, f"nobody-{work.__name__}-{number}@example.org"))
            assert 0.5 < median(known) / median(unknown) < 2.0


async def test_registering_an_account_again_writes_as_much_as_the_first_time(roles: Roles) -> None:
    """A commit that wrote nothing need not wait for the disk: that would tell."""
    async with house(roles) as told:
        versions = "select xmin::text::bigint from account"
        await told.register("ada@example.org")
        first = await told.count(versions)
        await told.register("ada@example.org", "another password")
        assert await told.count(versions) > first
        await told.sign_in("ada@example.org")


@pytest.mark.parametrize("password", ["short", "123456789", ""])
async def test_a_password_has_a_least_length(roles: Roles, password: str) -> None:
    async with house(roles) as told:
        fault = await refused(told.register("ada@example.org", password), Code.INVALID_ARGUMENT)
        assert fault.extra["errors"] == [
            {"pointer": "/password", "detail": "expected at least 10 characters"}
        ]


@pytest.mark.parametrize("password", ["x" * 256, "пароль пароль", "e\u0301" * 10, "pass\x00word-x"])
async def test_any_text_is_a_password(roles: Roles, password: str) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org", password)
        await told.sign_in("ada@example.org", password)
        await refused(told.sign_in("ada@example.org", password + "x"))


async def test_the_same_word_typed_on_two_machines(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org", "caf\u00e9 caf\u00e9 caf\u00e9")
        await told.sign_in("ada@example.org", "cafe\u0301 cafe\u0301 cafe\u0301")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no email", "password": PASSWORD},
        {"email": "ada@example.org", "password": "x" * 257},
        {"email": "ada\x00@example.org", "password": PASSWORD},
        {"email": f"{'x' * 250}@example.org", "password": PASSWORD},
        {"email": "ada@example.org", "password": PASSWORD, "scopes": ["admin"]},
        {"email": "ada@example.org"},
    ],
)
async def test_what_is_no_registration(roles: Roles, body: dict[str, Any]) -> None:
    async with house(roles) as told:
        fault = await refused(told.ask("POST", "/accounts", body), Code.INVALID_ARGUMENT)
        assert "errors" in fault.extra
        assert await told.count("select count(*) from account") == 0


# Sessions


async def test_a_refresh_token_rotates(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        first = await told.sign_in("ada@example.org")
        second = await told.refresh(first.refresh_token)
        third = await told.refresh(second.refresh_token)
        assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
        who = [await told.verified(one) for one in (first, second, third)]
        assert len({one.session for one in who}) == 1
        assert len({one.principal for one in who}) == 1


async def test_a_lost_answer_may_be_asked_for_once_more(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        first = await told.sign_in("ada@example.org")
        second = await told.refresh(first.refresh_token)
        again = await told.refresh(first.refresh_token)
        assert again.refresh_token == second.refresh_token
        await refused(told.refresh(first.refresh_token))
        await refused(told.refresh(second.refresh_token))  # the whole family has ended


async def test_who_signs_out_ends_his_session_and_no_other(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        spent = await told.sign_in("ada@example.org")
        mine, other = await told.refresh(spent.refresh_token), await told.sign_in("ada@example.org")
        name = (await told.verified(mine)).session
        nothing = spent.refresh_token[:-1] + ("0" if spent.refresh_token[-1] != "0" else "1")
        for token in ("", "x", nothing, mine.access_token):  # none of ours: nothing ends
            found = await told.ask("POST", "/tokens/revoke", {"refresh_token": token})
            assert (found.status, found.body) == (204, b"")
        assert (await told.desk.ended(0.0, "", told.soon)).sessions == []
        for token in (spent.refresh_token, mine.refresh_token):  # any of the session, and again
            found = await told.ask("POST", "/tokens/revoke", {"refresh_token": token})
            assert (found.status, found.body) == (204, b"")
            assert [one for one, _ in (await told.desk.ended(0.0, "", told.soon)).sessions] == [
                name
            ]
        await refused(told.refresh(mine.refresh_token))
        await told.refresh(other.refresh_token)


async def test_a_stolen_token_ends_the_family_for_everybody(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        stolen = (await told.sign_in("ada@example.org")).refresh_token
        mine = await told.refresh(stolen)
        told.late = 11.0  # the grace is over
        fault = await refused(told.refresh(stolen))
        assert fault.public == "The session has ended; sign in again."
        await refused(told.refresh(mine.refresh_token))
        await told.sign_in("ada@example.org")  # the account is not locked out


async def test_two_at_once_have_one_winner_and_the_same_successor(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        for _ in range(5):
            token = (await told.sign_in("ada@example.org")).refresh_token
            found = await asyncio.gather(told.refresh(token), told.refresh(token))
            assert found[0].refresh_token == found[1].refresh_token
            await told.refresh(found[0].refresh_token)


async def test_many_at_once_are_a_theft(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        token = (await told.sign_in("ada@example.org")).refresh_token
        asked = [told.refresh(token) for _ in range(5)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        won = {one.refresh_token for one in found if isinstance(one, Session)}
        lost = [one for one in found if isinstance(one, Fault)]
        assert len(won) == 1
        assert len(lost) >= 3
        await refused(told.refresh(won.pop()))


async def test_sessions_end_unused_and_in_the_end(roles: Roles) -> None:
    settings = msgspec.structs.replace(SETTINGS, refresh_idle=100.0, refresh_whole=250.0)
    async with house(roles, settings) as told:
        await told.register("ada@example.org")
        idle = await told.sign_in("ada@example.org")
        told.late = 101.0
        await refused(told.refresh(idle.refresh_token))
        session = await told.sign_in("ada@example.org")
        for told.late in (190.0, 280.0):
            session = await told.refresh(session.refresh_token)
        told.late = 352.0
        await refused(told.refresh(session.refresh_token))
        # What has ended is swept at the next sign-in: one row per session that lives.
        await told.sign_in("ada@example.org")
        assert await told.count("select count(*) from family") == 1


async def test_an_account_has_so_many_sessions_and_the_one_unused_longest_ends(
    roles: Roles,
) -> None:
    """Else whoever knows one password, its thief too, can fill the table."""
    async with house(roles) as told:
        await told.register("ada@example.org")
        await told.register("bob@example.org")
        other = await told.sign_in("bob@example.org")
        held = []
        for told.late in range(64):
            held.append(await told.sign_in("ada@example.org"))
        held[0] = await told.refresh(held[0].refresh_token)  # now the second is
        lost = (await told.verified(held[1])).session
        held.append(await told.sign_in("ada@example.org"))
        assert await told.count("select count(*) from family where not revoked") == 64 + 1
        assert [name for name, _ in (await told.desk.ended(0.0, "", told.soon)).sessions] == [lost]
        await refused(told.refresh(held[1].refresh_token))
        for session in (held[0], held[2], held[-1], other):
            await told.refresh(session.refresh_token)


async def test_sign_ins_at_once_come_to_no_more_sessions(roles: Roles) -> None:
    many = msgspec.structs.replace(CHEAP, per_account=40)
    settings = msgspec.structs.replace(SETTINGS, passwords=many, guesses=GuessSettings(free=40))
    async with house(roles, settings) as told:
        await told.register("ada@example.org")
        for _ in range(3):
            await asyncio.gather(*(told.sign_in("ada@example.org") for _ in range(40)))
        assert await told.count("select count(*) from family where not revoked") == 64


async def test_a_session_that_was_ended_stays_for_as_long_as_there_are_tokens_of_it(
    roles: Roles,
) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        for _ in range(3):
            await told.sign_in("ada@example.org")
        await told.write("update family set revoked = true")
        await told.sign_in("ada@example.org")
        assert await told.count("select count(*) from family where revoked") == 3
        # As if that had been when the last tokens of it have expired, and their clocks were late.
        await told.write("update family set ended = ended - 731 where revoked")
        await told.sign_in("ada@example.org")
        assert await told.count("select count(*) from family where revoked") == 0


@pytest.mark.parametrize(
    "token", ["", "x", "sgr1.a.b.1.c", "sgr1....", "\xe9", "sgr1.0.0.99999999999999999999.00"]
)
async def test_what_is_no_refresh_token(roles: Roles, token: str) -> None:
    async with house(roles) as told:
        await refused(told.refresh(token))


async def test_a_forged_generation_is_refused_and_harms_nobody(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        session = await told.sign_in("ada@example.org")
        mark, key, family, generation, seal = session.refresh_token.split(".")
        forged = ".".join([mark, key, family, str(int(generation) + 1), seal])
        await refused(told.refresh(forged))
        await told.refresh(session.refresh_token)


async def test_a_hash_that_is_too_cheap_is_renewed_when_its_owner_comes(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
    dearer = msgspec.structs.replace(CHEAP, rounds=2)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=dearer)) as told:
        await refused(told.sign_in("ada@example.org", "wrong password"))
        renewed = "select count(*) from account where password_hash like '%t=2,%'"
        assert await told.count(renewed) == 0
        await told.sign_in("ada@example.org")
        assert await told.count(renewed) == 1
        await told.sign_in("ada@example.org")


async def test_password_work_that_is_too_much_is_refused_at_once(roles: Roles) -> None:
    few = msgspec.structs.replace(CHEAP, workers=1, queue=1, rounds=3, memory_kib=65_536)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=few)) as told:
        asked = [told.register(f"{number}@example.org") for number in range(6)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        shed = [one for one in found if isinstance(one, Fault)]
        assert len(shed) == 4
        assert {one.code for one in shed} == {Code.UNAVAILABLE}
        assert all(one.retry_after for one in shed)


@pytest.mark.parametrize("path", ["/tokens", "/accounts"])
async def test_one_address_does_not_have_all_the_password_work(roles: Roles, path: str) -> None:
    """Else whoever sends eighty at once has everybody wait for seconds (rules 33 and 34)."""
    few = msgspec.structs.replace(CHEAP, queue=6, rounds=3, memory_kib=65_536, patience=60.0)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=few)) as told:

        def ask(number: int, peer: str) -> asyncio.Task[Response]:
            body = {"email": f"{number}@example.org", "password": PASSWORD}
            return asyncio.create_task(told.ask("POST", path, body, peer))

        flood = [ask(number, f"2001:db8:0:1::{number}") for number in range(20)]
        while float(told.passwords.statistics()["out"]) < 4:
            await asyncio.sleep(0.001)
        other = ask(99, "2001:db8:0:2::1")
        codes = [fault_code(one) for one in await asyncio.gather(*flood, return_exceptions=True)]
        assert codes.count(Code.RESOURCE_EXHAUSTED) == 16, codes
        (found,) = await asyncio.gather(other, return_exceptions=True)
        assert fault_code(found) in (None, Code.UNAUTHENTICATED), "the other had his turn"
        (again,) = await asyncio.gather(ask(1, "2001:db8:0:1::1"), return_exceptions=True)
        assert fault_code(again) in (None, Code.UNAUTHENTICATED), "nobody is locked out"


async def test_guesses_at_one_account_leave_the_others_their_turn(roles: Roles) -> None:
    few = msgspec.structs.replace(CHEAP, queue=6, rounds=3, memory_kib=65_536, patience=60.0)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=few)) as told:

        def ask(email: str, peer: int) -> asyncio.Task[Response]:
            body = {"email": email, "password": PASSWORD}
            return asyncio.create_task(told.ask("POST", "/tokens", body, f"10.0.0.{peer}"))

        names = ("Ada@example.org", "ada@example.org")
        flood = [ask(names[peer % 2], peer) for peer in range(20)]
        while float(told.passwords.statistics()["out"]) < 6:
            await asyncio.sleep(0.001)
        other = ask("bob@example.org", 99)
        codes = [fault_code(one) for one in await asyncio.gather(*flood, return_exceptions=True)]
        assert codes.count(Code.RESOURCE_EXHAUSTED) == 14, codes
        (found,) = await asyncio.gather(other, return_exceptions=True)
        assert fault_code(found) is Code.UNAUTHENTICATED


async def test_a_hash_is_renewed_in_the_turn_of_its_sign_in(roles: Roles) -> None:
    """A second ask would be behind all who have not asked yet, or find no room."""
    async with house(roles) as told:
        await told.register("ada@example.org")
    dearer = msgspec.structs.replace(CHEAP, rounds=2, workers=1, queue=0, per_address=1)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=dearer)) as told:
        await told.sign_in("ada@example.org", PASSWORD, "192.0.2.1")
        renewed = "select count(*) from account where password_hash like '%t=2,%'"
        assert await told.count(renewed) == 1


# Keys


async def test_the_first_keys_are_made_once_by_however_many(roles: Roles) -> None:
    async with house(roles) as told:
        for table in ("signing_key", "shared_key"):
            await told.count(
                f"with gone as (delete from {table} returning 1) select count(*) from gone"
            )
        # With a connection each at hand, or the first would be done before the others begin.
        await asyncio.gather(*(told.count("select 1 from pg_sleep(0.1)") for _ in range(8)))
        vaults = await asyncio.gather(*(open_vault(told.tables, told.soon) for _ in range(8)))
        assert len({vault.newest.kid for vault in vaults}) == 1
        assert len({vault.shared.current for vault in vaults}) == 1
        assert await told.count("select count(*) from signing_key") == 1
        assert await told.count("select count(*) from shared_key") == 1


async def test_sessions_outlive_the_process(roles: Roles) -> None:
    async with house(roles) as told:
        await told.register("ada@example.org")
        session = await told.sign_in("ada@example.org")
    async with house(roles) as told:
        await told.verified(session)
        await told.refresh(session.refresh_token)


async def test_the_keys_may_be_kept_and_tokens_may_not(roles: Roles) -> None:
    async with house(roles) as told:
        keys = await told.ask("GET", "/.well-known/jwks.json")
        assert keys.headers["cache-control"] == "public, max-age=60"
        (key,) = msgspec.json.decode(keys.body)["keys"]
        assert "d" not in key
        body = {"email": "ada@example.org", "password": PASSWORD}
        await told.ask("POST", "/accounts", body)
        session = await told.ask("POST", "/tokens", body)
        assert (session.status, session.headers["cache-control"]) == (201, "no-store")
        held = {"refresh_token": msgspec.json.decode(session.body)["refresh_token"]}
        again = await told.ask("POST", "/tokens/refresh", held)
        assert (again.status, again.headers["cache-control"]) == (201, "no-store")


async def test_nobody_else_can_read_accounts(roles: Roles) -> None:
    async with house(roles):
        tables = PostgresTables(roles.app)
        try:
            for table in ("account", "signing_key", "shared_key", "family"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with tables.transaction(time.perf_counter() + 5) as tx:
                        await tx.fetch_all(dict, f"select * from accounts.{table}")
        finally:
            await tables.close()


async def test_gateways_are_told_what_has_ended_whoever_ended_it(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.accounts.desk._PAGE", 2)
    settings = msgspec.structs.replace(SETTINGS, refresh_grace=0.0)
    async with house(roles, settings) as told:
        await told.register("ada@example.org")
        held = [await told.sign_in("ada@example.org") for _ in range(4)]
        names = [(await told.verified(session)).session for session in held]
        nothing = await told.desk.ended(0.0, "", told.soon)
        assert (nothing.sessions, nothing.full) == ([], False)
        await told.refresh(held[0].refresh_token)
        await refused(told.refresh(held[0].refresh_token))
        await told.write(f"update family set revoked = true where id in {tuple(names[1:3])}")
        asked = f"/sessions/ended?since=0.0&after={nothing.after}"
        first = msgspec.json.decode((await told.ask("GET", asked)).body, type=Ended)
        assert first.full
        last = await told.desk.ended(first.since, first.after, told.soon)
        assert not last.full
        over = dict(first.sessions + last.sessions)
        assert next(iter(over)) == names[0]
        assert set(over) == set(names[:3])
        assert all(told.wall() < until <= told.wall() + 600 for until in over.values())
        again = await told.desk.ended(last.since, last.after, told.soon)
        assert (again.sessions, again.since, again.after) == ([], last.since, last.after)
        told.late = 600 + 121  # no token of them is left, but what was opened with one may go on
        assert len((await told.desk.ended(last.since - 1, "", told.soon)).sessions) == 2
        await told.write("update family set ended = ended - 731 where revoked")
        assert (await told.desk.ended(0.0, "", told.soon)).sessions == []
