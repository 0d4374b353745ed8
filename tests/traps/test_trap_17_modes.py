"""Trap 17: any policy has three modes: off, observe (count what it would do), enforce.

A protection that can only be switched on in earnest is not switched on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from switchgear import (
    AdaptiveSettings,
    BucketSettings,
    BulkheadSettings,
    Fault,
    HedgeSettings,
    Policy,
    static,
    within,
)
from switchgear.core.observe import Coalesced, FellBack, Hedging, Overran, Refusing, Retrying
from switchgear.core.options import PARTS
from switchgear.testing import EventRecorder, advance, clock
from tests.traps.world import answer, away, ended, make, slow

pytestmark = pytest.mark.virtual


class Scene(NamedTuple):
    """What a part is given, what it would stop, and the event by which it tells."""

    options: dict[str, Any]
    provoke: Callable[[Policy], Awaitable[Any]]
    event: type


async def after_failures(mail: Policy) -> Any:
    for _ in range(5):
        await ended(mail, away)
    return await ended(mail, answer)


async def in_a_hurry(mail: Policy) -> Any:
    for _ in range(30):
        await mail.call(slow, 0.3)
    with within(0.2, clock=clock):
        return await ended(mail, answer)


async def twice(mail: Policy) -> Any:
    await ended(mail, answer)
    return await ended(mail, answer)


async def beside_another(mail: Policy) -> Any:
    others = [asyncio.ensure_future(ended(mail, slow, 0.5)) for _ in range(4)]
    await advance(0.1)
    outcome = await ended(mail, answer)
    await asyncio.wait(others)
    return outcome


async def for_too_long(mail: Policy) -> Any:
    return await ended(mail, slow, 5.0)


BARE = {"attempts": 1, "breaker": None, "bulkhead": None, "hurry": None}
GATES = {
    "breaker": Scene({"attempts": 1}, after_failures, Refusing),
    "hurry": Scene({"attempts": 1}, in_a_hurry, Refusing),
    "rate": Scene({"rate": BucketSettings(0.1, 1)}, twice, Refusing),
    "bulkhead": Scene({"bulkhead": BulkheadSettings(permits=4, queue=0)}, beside_another, Refusing),
    "adaptive": Scene(
        {**BARE, "adaptive": AdaptiveSettings(initial=4.0)}, beside_another, Refusing
    ),
    "timeout": Scene({**BARE, "deadline": 1.0}, for_too_long, Overran),
}


async def provoked(part: str, mode: Any) -> tuple[Any, Policy, EventRecorder]:
    scene, seen = GATES[part], EventRecorder()
    mail = make(**scene.options, mode=mode, observe=seen)
    return await scene.provoke(mail), mail, seen


@pytest.mark.parametrize("part", GATES)
@pytest.mark.parametrize("whole", [False, True])
async def test_trap_17_enforced_it_stops_observed_it_only_tells_off_it_is_not_there(
    part: str, whole: bool
) -> None:
    event = GATES[part].event

    def mode(of: str) -> Any:
        return of if whole else {part: of}

    outcome, _, seen = await provoked(part, mode("enforce"))
    assert isinstance(outcome, Fault)
    assert not seen.count(event, enforced=False)

    outcome, mail, seen = await provoked(part, mode("observe"))
    assert outcome == "well"
    assert seen.count(event, enforced=False) >= 1
    assert not seen.count(event, enforced=True)
    if event is Refusing:
        assert mail.statistics()[part]["would_refuse"] == seen.count(Refusing, enforced=False)
        assert mail.statistics()[part]["unheld"] == 0

    outcome, mail, seen = await provoked(part, mode("off"))
    assert outcome == "well"
    assert not seen.count(event)
    assert part not in mail.statistics()


@pytest.mark.parametrize(
    ("mode", "tries", "told"), [("enforce", 3, 2), ("observe", 1, 1), ("off", 1, 0)]
)
async def test_trap_17_a_retry_too(mode: Any, tries: int, told: int) -> None:
    seen = EventRecorder()
    tried = 0

    async def fail() -> None:
        nonlocal tried
        tried += 1
        await away()

    await ended(make(mode={"retry": mode}, observe=seen), fail)
    assert (tried, seen.count(Retrying)) == (tries, told)
    assert seen.count(Retrying, enforced=mode == "enforce") == told


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
async def test_trap_17_what_answers_in_the_dependencys_place_is_left_out_unless_enforced(
    mode: Any,
) -> None:
    seen = EventRecorder()
    enforced = mode == "enforce"

    mail = make(fallback=static("stale"), mode={"fallback": mode}, observe=seen)
    assert (await ended(mail, away) == "stale") is enforced
    assert seen.count(FellBack) == enforced

    mail = make(coalesce=lambda seconds: seconds, mode={"coalesce": mode}, observe=seen)
    await asyncio.gather(*(mail.call(slow, 0.1) for _ in range(4)))
    assert seen.count(Coalesced) == (3 if enforced else 0)

    mail = make(
        hedge=HedgeSettings(), mode={"hedge": mode}, repeatable=True, breaker=None, hurry=None,
        deadline=60.0, timeout=30.0, observe=seen,
    )  # fmt: skip
    for _ in range(40):
        await mail.call(slow, 0.1)
    await mail.call(slow, 5.0)
    assert bool(seen.count(Hedging)) is enforced


async def test_trap_17_a_breaker_that_is_observed_moves_as_if_it_were_enforced() -> None:
    mail = make(attempts=1, mode={"breaker": "observe"})
    for _ in range(5):
        await ended(mail, away)
    assert mail.statistics()["breaker"]["state"] == "open"
    for _ in range(10):
        assert await ended(mail, answer) == "well"
    assert mail.statistics()["breaker"]["would_refuse"] == 10
    await advance(7.0)
    for _ in range(3):
        await ended(mail, answer)
    assert mail.statistics()["breaker"]["state"] == "closed"


async def test_trap_17_every_part_has_a_mode_and_nothing_else_has() -> None:
    told = {*GATES, "retry", "fallback", "coalesce", "hedge"}
    assert told == set(PARTS)  # a new part needs a scene here
    with pytest.raises(ValueError, match="the parts are"):
        make(mode={"braeker": "off"})
    with pytest.raises(ValueError, match="'enforce', 'observe' or 'off'"):
        make(mode="dry-run")


async def test_trap_17_all_off_is_the_bare_function() -> None:
    mail = make(mode="off", deadline=0.1)
    assert await ended(mail, slow, 30.0) == "well"
    for _ in range(20):
        await ended(mail, away)
    assert await ended(mail, answer) == "well"
