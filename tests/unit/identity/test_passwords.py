"""Passwords: off the loop, bounded, and the same for accounts that do not exist."""

import asyncio
import threading
from collections.abc import Iterator

import argon2
import msgspec
import pytest

from switchgear.identity.passwords import Checked, Passwords, PasswordSettings
from switchgear.identity.turns import NOBODY, Asker
from switchgear.policy.fault import Code, Effect, Fault, Refusal

CHEAP = PasswordSettings(rounds=1, memory_kib=8, workers=1, queue=2)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    made.close()


class Held:
    """Holds the pool's workers until it is let go."""

    def __init__(self, passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.checked: list[str] = []
        matches = passwords._matches

        def slow(prepared: bytes, stored: str) -> bool:
            self.go.wait(10)
            self.checked.append(stored)
            return matches(prepared, stored)

        monkeypatch.setattr(passwords, "_matches", slow)


async def test_the_right_password_is_right_and_a_wrong_one_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert await passwords.check("correct horse", stored) == Checked(right=True, rehash=False)
    assert await passwords.check("Correct horse", stored) == Checked(right=False)
    assert await passwords.check("", stored) == Checked(right=False)
    assert stored != await passwords.hash("correct horse")


async def test_one_word_typed_on_two_machines_is_one_word(passwords: Passwords) -> None:
    assert (await passwords.check("cafe\u0301", await passwords.hash("café"))).right


async def test_an_unknown_account_is_checked_against_a_hash_of_the_same_cost(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    held.go.set()
    assert await passwords.check("anything", None) == Checked(right=False)
    known = await passwords.hash("x")
    await passwords.check("anything", known)
    nobody, somebody = (argon2.extract_parameters(stored) for stored in held.checked)
    assert nobody == somebody


async def test_a_cheaper_hash_is_to_be_renewed_once_the_password_is_known(
    passwords: Passwords,
) -> None:
    stored = await passwords.hash("x")
    dearer = Passwords(PasswordSettings(rounds=2, memory_kib=16))
    assert await dearer.check("x", stored) == Checked(right=True, rehash=True)
    assert await dearer.check("y", stored) == Checked(right=False, rehash=False)
    dearer.close()


async def test_more_than_the_queue_holds_is_refused_at_once(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    waiting = [asyncio.create_task(passwords.check("x", None)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(Fault) as caught:
            await passwords.check("x", None)
        assert caught.value.refusal is Refusal.FULL
        assert caught.value.effect is Effect.NONE
        assert caught.value.retry_after is not None
    assert passwords.statistics() == {"out": 3, "refused": 2, "done": 0}
    held.go.set()
    await asyncio.gather(*waiting)
    assert passwords.statistics() == {"out": 0, "refused": 2, "done": 3}


async def test_a_caller_who_leaves_frees_no_place_before_the_work_has_ended(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    running = asyncio.create_task(passwords.check("x", None))
    await asyncio.sleep(0.05)  # it runs in the worker now
    waiting = asyncio.create_task(passwords.check("x", None))
    await asyncio.sleep(0)
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert passwords.statistics()["out"] == 1  # what waited is gone, what runs is not
    held.go.set()
    while passwords.statistics()["out"]:
        await asyncio.sleep(0.01)
    assert passwords.statistics()["done"] == 1


async def asked_often(passwords: Passwords) -> list[asyncio.Task[Checked]]:
    """Have one address take all the room there is."""
    tasks = [asyncio.create_task(passwords.check("x", None, Asker("a", str(n)))) for n in range(3)]
    await asyncio.sleep(0)
    return tasks


async def test_what_waits_is_refused_when_who_asked_less_has_no_room(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    often = await asked_often(passwords)
    seldom = asyncio.create_task(passwords.check("x", None, Asker("b")))
    with pytest.raises(Fault) as caught:
        await often[2]
    assert (caught.value.code, caught.value.refusal) == (Code.UNAVAILABLE, Refusal.FULL)
    assert (caught.value.effect, caught.value.retry_after) == (Effect.NONE, 1.0)
    assert passwords.statistics() == {"out": 3, "refused": 1, "done": 0}
    held.go.set()
    await asyncio.gather(*often[:2], seldom)
    assert passwords.statistics() == {"out": 0, "refused": 1, "done": 3}


async def test_who_gives_way_and_leaves_at_once_has_left(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    often = await asked_often(passwords)
    often[2].cancel()
    seldom = [asyncio.create_task(passwords.check("x", None, Asker(one))) for one in "bc"]
    await asyncio.sleep(0)
    assert passwords.statistics()["out"] == 3
    held.go.set()
    found = await asyncio.gather(*often, *seldom, return_exceptions=True)
    assert [type(one) for one in found].count(Checked) == 3
    assert passwords.statistics()["out"] == 0


async def test_what_others_go_before_is_refused_while_there_is_time_to_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(msgspec.structs.replace(CHEAP, patience=0.05))
    held = Held(passwords, monkeypatch)
    running, waiting = [asyncio.create_task(passwords.check("x", None)) for _ in range(2)]
    with pytest.raises(Fault) as caught:
        await waiting
    assert (caught.value.refusal, caught.value.effect) == (Refusal.FULL, Effect.NONE)
    assert passwords.statistics() == {"out": 1, "refused": 1, "done": 0}
    held.go.set()
    assert await running == Checked(right=False)  # though it took longer than that
    passwords.close()


async def test_what_waits_is_refused_when_it_closes(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(passwords, monkeypatch)
    running, *waiting = [asyncio.create_task(passwords.check("x", None)) for _ in range(3)]
    await asyncio.sleep(0)
    passwords.close()
    for one in waiting:
        with pytest.raises(Fault) as caught:
            await one
        assert caught.value.refusal is Refusal.DRAINING
    held.go.set()
    assert await running == Checked(right=False)
    assert passwords.statistics()["out"] == 0


@pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "\ud800"])
async def test_what_cannot_be_a_password_costs_no_hash(passwords: Passwords, password: str) -> None:
    for work in (passwords.hash(password), passwords.check(password, None)):
        with pytest.raises(Fault) as caught:
            await work
        assert caught.value.code is Code.INVALID_ARGUMENT
    assert passwords.statistics()["done"] == 0


@pytest.mark.parametrize("stored", ["nonsense", "$argon2id$v=19$m=8,t=1,p=1$AA$AA", "$2b$12$abc"])
async def test_an_unreadable_stored_hash_is_no_wrong_password(
    passwords: Passwords, stored: str
) -> None:
    with pytest.raises(Fault) as caught:
        await passwords.check("x", stored)
    assert caught.value.code is Code.DATA_LOSS


async def test_after_closing_work_is_refused(passwords: Passwords) -> None:
    passwords.close()
    with pytest.raises(Fault) as caught:
        await passwords.hash("x")
    assert caught.value.refusal is Refusal.DRAINING
    assert passwords.statistics()["out"] == 0


def test_the_default_cost_is_64_mib_and_three_rounds() -> None:
    made = Passwords()
    parameters = argon2.extract_parameters(made._nobody)
    made.close()
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (65536, 3, 1)
    assert parameters.type is argon2.Type.ID


@pytest.mark.parametrize("which", ["address", "account"])
async def test_each_asker_has_a_part_of_the_places_and_the_others_have_the_rest(
    monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    settings = PasswordSettings(
        rounds=1, memory_kib=8, workers=1, queue=9, per_address=3, per_account=3
    )
    passwords = Passwords(settings)
    held = Held(passwords, monkeypatch)
    askers = [Asker("a", str(n)) if which == "address" else Asker(str(n), "a") for n in range(5)]
    tasks = [asyncio.create_task(passwords.check("x", None, asker)) for asker in askers]
    await asyncio.sleep(0.01)
    refused = [task.exception() for task in tasks if task.done()]
    assert len(refused) == 2
    for fault in refused:
        assert isinstance(fault, Fault)
        assert (fault.code, fault.refusal) == (Code.RESOURCE_EXHAUSTED, Refusal.LIMITED)
        assert (fault.effect, fault.retry_after) == (Effect.NONE, 1.0)
    others = [asyncio.create_task(passwords.hash("x", one)) for one in (Asker("b", "b"), NOBODY)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in others)
    held.go.set()
    await asyncio.gather(*tasks, *others, return_exceptions=True)
    assert not (await passwords.check("x", None, askers[0])).right  # nobody is locked out
    assert passwords._turns._parts == {}
    passwords.close()
