"""Guesses at one account, as somebody makes them who has many addresses and much time."""

import asyncio
from itertools import count

import msgspec
import pytest

from switchgear.accounts.desk import Session
from switchgear.accounts.guesses import CELLS, GuessSettings
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.http.events import Turned
from switchgear.http.message import Response
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from tests.integration.accounts.house import (
    CHEAP,
    PASSWORD,
    SETTINGS,
    House,
    house,
    refused,
)

ADA = "ada@example.org"
FEW = msgspec.structs.replace(SETTINGS, guesses=GuessSettings(free=3, first=60.0, longest=900.0))
HOME = "192.0.2.1"

_addresses = count(1)


def stranger() -> str:
    """Return an address that nobody has come from before."""
    number = next(_addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


async def guess(told: House, email: str = ADA, address: str = "") -> Fault:
    """Guess wrong, from another address each time."""
    with pytest.raises(Fault) as raised:
        await told.sign_in(email, "wrong password", address or stranger())
    return raised.value


async def spend(told: House, email: str = ADA, address: str = "") -> Fault:
    """Guess until that is refused, and return the refusal."""
    for _ in range(20):
        fault = await guess(told, email, address)
        if fault.code is not Code.UNAUTHENTICATED:
            return fault
    raise AssertionError("twenty guesses, and none was held off")


def checks(told: House) -> float:
    return float(told.passwords.statistics()["done"])


async def test_guesses_slow_down_from_however_many_addresses(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        fault = await spend(told)
        assert (fault.code, fault.refusal) == (Code.RESOURCE_EXHAUSTED, Refusal.LIMITED)
        assert (fault.effect, fault.public) == (
            Effect.NONE,
            "Too many requests; try again later.",
        )
        made = checks(told)
        assert made == 1 + 3  # its registration, and the free ones
        # A day long, as often as the answers allow.
        for _ in range(1000):
            assert fault.retry_after is not None
            told.late += fault.retry_after + 0.01
            if told.late > 86_400.0:
                break
            assert (await guess(told)).code is Code.UNAUTHENTICATED
            fault = await guess(told)
            assert fault.code is Code.RESOURCE_EXHAUSTED
            assert 0 < (fault.retry_after or 0) <= 900.0
        assert 90 <= checks(told) - made <= 110
        # And in the end its owner comes in from anywhere.
        told.late += 900.0
        await told.sign_in(ADA, PASSWORD, stranger())


async def test_a_right_guess_is_held_off_like_a_wrong_one(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        await spend(told)
        made = checks(told)
        fault = await refused(told.sign_in(ADA, PASSWORD, stranger()), Code.RESOURCE_EXHAUSTED)
        assert "wrong passwords for one account" in fault.detail
        assert checks(told) == made, "who is held off costs no hash, and learns nothing"


async def test_who_is_there_and_who_is_not_are_held_off_alike(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        seen = []
        for email in (ADA, "nobody@example.org"):
            found = [await guess(told, email) for _ in range(6)]
            seen.append([(one.code, one.public, one.extra, one.refusal) for one in found])
            assert {one.code for one in found[3:]} == {Code.RESOURCE_EXHAUSTED}
        assert seen[0] == seen[1]


async def test_an_account_has_one_count_in_any_case(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        for email in (ADA, "Ada@example.org", "ADA@EXAMPLE.ORG"):
            assert (await guess(told, email)).code is Code.UNAUTHENTICATED
        assert (await guess(told, "aDa@example.org")).code is Code.RESOURCE_EXHAUSTED
        assert (await guess(told, "bob@example.org")).code is Code.UNAUTHENTICATED


async def test_guesses_at_once_are_counted_each(roles: Roles) -> None:
    many = msgspec.structs.replace(FEW, passwords=msgspec.structs.replace(CHEAP, per_account=60))
    async with house(roles, many) as told:
        await told.register(ADA)
        found = await asyncio.gather(*(guess(told) for _ in range(40)))
        codes = [one.code for one in found]
        assert codes.count(Code.UNAUTHENTICATED) == 3, codes
        assert codes.count(Code.RESOURCE_EXHAUSTED) == 37, codes


async def test_who_loses_every_race_is_told_to_come_again(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.accounts.guesses._RACES", 0)
    async with house(roles, FEW) as told:
        fault = await guess(told)
        assert (fault.refusal, fault.retry_after) == (Refusal.LIMITED, 60.0)


async def test_the_owner_keeps_a_way_of_his_own(roles: Roles) -> None:
    """Else a stranger who never tires could keep him out for ever."""
    async with house(roles, FEW) as told:
        await told.register(ADA)
        first = await told.sign_in(ADA, PASSWORD, HOME)
        for _ in range(3):
            await spend(told)
            await told.sign_in(ADA, PASSWORD, HOME)
            told.late += 900.0
        await spend(told)
        await told.refresh(first.refresh_token)  # and his sessions go on
        # His own way has a wait of its own: whoever shares his address can guess no faster.
        await spend(told, address=HOME)
        await refused(told.sign_in(ADA, PASSWORD, HOME), Code.RESOURCE_EXHAUSTED)
        told.late += 60.0
        await told.sign_in(ADA, PASSWORD, HOME)
        # What he had mistyped is forgotten then.
        for _ in range(3):
            assert (await guess(told, address=HOME)).code is Code.UNAUTHENTICATED


async def test_guesses_that_strangers_have_in_work_are_not_held_against_the_owner(
    roles: Roles,
) -> None:
    one = msgspec.structs.replace(CHEAP, rounds=3, memory_kib=65_536, per_account=1)
    async with house(roles, msgspec.structs.replace(SETTINGS, passwords=one)) as told:
        await told.register(ADA)
        await told.sign_in(ADA, PASSWORD, HOME)
        waiting = asyncio.create_task(guess(told))
        while not told.passwords.statistics()["out"]:
            await asyncio.sleep(0.001)
        found = await asyncio.gather(
            told.sign_in(ADA, PASSWORD, HOME), guess(told), return_exceptions=True
        )
        assert isinstance(found[0], Session)
        assert isinstance(found[1], Fault)
        assert found[1].code is Code.RESOURCE_EXHAUSTED
        assert (await waiting).code is Code.UNAUTHENTICATED


async def test_a_session_that_has_ended_makes_nobody_familiar(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        await told.sign_in(ADA, PASSWORD, HOME)
        await told.write("update family set revoked = true")
        await spend(told)
        await refused(told.sign_in(ADA, PASSWORD, HOME), Code.RESOURCE_EXHAUSTED)


async def test_a_client_without_an_address_is_nobody_familiar(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        await told.sign_in(ADA)
        await spend(told)
        await refused(told.sign_in(ADA), Code.RESOURCE_EXHAUSTED)


async def test_being_familiar_with_one_account_helps_with_no_other(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        for email in (ADA, "eve@example.org"):
            await told.register(email)
        await told.sign_in("eve@example.org", PASSWORD, HOME)
        await spend(told)
        assert (await guess(told, address=HOME)).code is Code.RESOURCE_EXHAUSTED
        await told.sign_in("eve@example.org", PASSWORD, HOME)


async def test_guesses_are_counted_over_processes_and_restarts(roles: Roles) -> None:
    async with house(roles, FEW) as told, house(roles, FEW) as other:
        await told.register(ADA)
        assert (await guess(told)).code is Code.UNAUTHENTICATED
        assert (await guess(other)).code is Code.UNAUTHENTICATED
        assert (await guess(told)).code is Code.UNAUTHENTICATED
        assert (await guess(other)).code is Code.RESOURCE_EXHAUSTED
    async with house(roles, FEW) as told:
        assert (await guess(told)).code is Code.RESOURCE_EXHAUSTED


async def test_naming_many_accounts_makes_no_more_rows_than_there_are_cells(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CELLS <= 1 << 20
    monkeypatch.setattr("switchgear.accounts.guesses.CELLS", 16)
    async with house(roles, SETTINGS) as told:
        for number in range(60):
            await guess(told, f"{number}@example.org")
        assert await told.count("select count(*) from guess") <= 16


async def test_a_guess_that_password_work_refused_was_none(roles: Roles) -> None:
    one = msgspec.structs.replace(CHEAP, rounds=3, memory_kib=65_536, workers=1, queue=0)
    async with house(roles, msgspec.structs.replace(FEW, passwords=one)) as told:
        made = asyncio.create_task(told.register(ADA))
        while not told.passwords.statistics()["out"]:
            await asyncio.sleep(0.001)
        for _ in range(5):
            assert (await guess(told)).code is Code.UNAVAILABLE
        await made
        assert await told.count("select count(*) from guess") == 0, "the database had no work"
        assert (await guess(told)).code is Code.UNAUTHENTICATED


async def test_right_passwords_cost_nothing_from_wherever_they_come(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        for _ in range(2):
            await guess(told)
        for _ in range(8):
            await told.sign_in(ADA, PASSWORD, stranger())
        assert (await guess(told)).code is Code.UNAUTHENTICATED
        assert (await guess(told)).code is Code.RESOURCE_EXHAUSTED


async def test_each_refusal_is_counted_and_told(roles: Roles) -> None:
    async with house(roles, FEW) as told:
        await told.register(ADA)
        await spend(told)
        await spend(told)
        assert told.desk.refusals == {"guesses": 2, "passwords-full": 0, "passwords-share": 0}
        assert [(one.status, one.reason) for one in told.turned] == [(429, "guesses")] * 2
        assert isinstance(told.turned[0], Turned)
        assert told.turned[0].peer.startswith("10.")
        assert "wrong passwords for one account" in told.turned[0].detail


async def test_a_client_is_told_when_to_come_again(roles: Roles) -> None:
    """Through the endpoint: whoever is in one network of IPv6 is one client."""
    async with house(roles, FEW) as told:
        await told.register(ADA)

        async def ask(password: str, peer: str) -> Response | Fault:
            try:
                return await told.ask("POST", "/tokens", {"email": ADA, "password": password}, peer)
            except Fault as fault:
                return fault

        await ask(PASSWORD, "2001:db8:0:1::1")
        found = [await ask("wrong password", f"2001:db8:1:{n}::1") for n in range(4)]
        last = found[-1]
        assert isinstance(last, Fault)
        assert last.retry_after == pytest.approx(60.0, rel=0.2)
        familiar = await ask(PASSWORD, "2001:db8:0:1:ffff::2")
        assert isinstance(familiar, Response)
