"""Trap 3: cancellation has two meanings, and neither may leak a permit or a probe's place.

Whoever takes the caller's leaving for a failure opens breakers by impatience; whoever takes the
timeout for the caller's leaving never opens one; whoever forgets the permit is full one day.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from switchgear import (
    BreakerSettings,
    BulkheadSettings,
    Code,
    Effect,
    Fault,
    Health,
    Refusal,
    within,
)
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.policy.breaker import Breaker, State
from switchgear.policy.gate import ANYONE, Permit, Refused
from switchgear.policy.verdict import BAD, GOOD
from switchgear.testing import EventRecorder, advance, clock
from tests.traps.world import SEED, answer, ended, hang, make, opened, slow, state

pytestmark = pytest.mark.virtual


async def test_trap_03_a_caller_who_leaves_is_neutral_and_leaves_no_permit() -> None:
    seen = EventRecorder()
    mail = make(attempts=1, observe=seen)
    for _ in range(20):
        call = asyncio.ensure_future(mail.call(hang))
        await advance(0.1)
        call.cancel()
        await advance()
        assert call.cancelled()
    assert state(mail) is State.CLOSED
    assert {event.verdict.health for event in seen.of(CallEnded)} == {Health.NEUTRAL}
    figures = mail.statistics()
    assert figures["breaker"]["out"] == figures["bulkhead"]["out"] == 0


async def test_trap_03_our_own_timeout_is_bad_and_leaves_no_permit() -> None:
    seen = EventRecorder()
    mail = make(attempts=1, observe=seen)
    for _ in range(5):
        assert (await ended(mail, hang)).code is Code.DEADLINE_EXCEEDED
    assert {event.verdict.health for event in seen.of(CallEnded)} == {Health.BAD}
    assert state(mail) is State.OPEN
    figures = mail.statistics()
    assert figures["breaker"]["out"] == figures["bulkhead"]["out"] == 0


async def test_trap_03_a_caller_with_a_tiny_deadline_opens_nobodys_breaker() -> None:
    mail = make(attempts=1, deadline=3.0)
    hurried = make("caller", attempts=1, deadline=0.05, breaker=None)
    for _ in range(50):
        assert (await ended(hurried, mail.call, hang)).code is Code.DEADLINE_EXCEEDED
    assert state(mail) is State.CLOSED
    assert await ended(mail, answer) == "well"


async def test_trap_03_whenever_the_caller_leaves_no_permit_is_lost() -> None:
    mail = make(deadline=2.0, timeout=0.5, repeatable=True, bulkhead=BulkheadSettings(permits=1))
    holding = asyncio.ensure_future(mail.call(slow, 0.2))
    for after in range(120):  # in the queue, inside, in the pause before a retry, at the timeout
        call = asyncio.ensure_future(ended(mail, flaky()))
        await asyncio.sleep(0.01 * after)
        call.cancel()
        await asyncio.wait([call])
        await advance()
        if holding.done():
            figures = mail.statistics()
            assert figures["breaker"]["out"] == figures["bulkhead"]["out"] == 0
            assert figures["bulkhead"]["waiting"] == 0
            mail.reset()
            holding = asyncio.ensure_future(mail.call(slow, 0.2))
    await holding
    assert mail.statistics()["calls"]["zombies"] == 0


def flaky() -> Callable[[], Awaitable[None]]:
    """Make what is reset at first, and then hangs."""
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.1)
        if tries > 1:
            await hang()
        raise ConnectionResetError("reset")

    return work


async def test_trap_03_a_cancelled_probe_leaves_its_place_at_once() -> None:
    mail = await opened()
    await advance(5.0)
    probe = asyncio.ensure_future(mail.call(hang))
    await advance(0.1)
    assert state(mail) is State.HALF_OPEN
    assert (await ended(mail, answer)).refusal is Refusal.OPEN
    probe.cancel()
    await advance()
    for _ in range(3):
        assert await ended(mail, answer) == "well"
    assert state(mail) is State.CLOSED


async def test_trap_03_a_hurried_probe_leaves_its_place_at_once() -> None:
    mail = await opened()
    await advance(5.0)
    with pytest.raises(Exception, match="no answer within"), within(0.1, clock=clock):
        await mail.call(slow, 1.0)
    assert state(mail) is State.HALF_OPEN
    assert await ended(mail, answer) == "well"


def half_open() -> tuple[Breaker, Permit]:
    """Make a breaker that is half open at the instant 5.0, and its probe."""
    breaker = Breaker("mail", BreakerSettings(jitter=0.0), jitter=Random(SEED).random)
    for _ in range(5):
        permit = breaker.admit(ANYONE, 0.0)
        assert isinstance(permit, Permit)
        breaker.settle(permit, BAD, 0.0)
    probe = breaker.admit(ANYONE, 5.0)
    assert isinstance(probe, Permit)
    assert breaker.state is State.HALF_OPEN
    return breaker, probe


def test_trap_03_an_ignored_probe_keeps_its_place_for_its_lease_only() -> None:
    breaker, _ = half_open()
    assert isinstance(breaker.admit(ANYONE, 14.9), Refused)
    for _ in range(3):
        permit = breaker.admit(ANYONE, 15.0)
        assert isinstance(permit, Permit)
        breaker.settle(permit, GOOD, 15.0)
    assert breaker.statistics()["state"] == "closed"
    assert breaker.statistics()["lapsed"] == 1


def test_trap_03_a_stale_probe_frees_no_place_and_holds_none() -> None:
    breaker, stale = half_open()
    failed = breaker.admit(ANYONE, 15.0)  # the stale one's lease is over
    assert isinstance(failed, Permit)
    breaker.settle(failed, BAD, 15.0)  # open again, for ten seconds
    probe = breaker.admit(ANYONE, 25.0)
    assert isinstance(probe, Permit)
    breaker.settle(stale, GOOD, 25.0)
    assert isinstance(breaker.admit(ANYONE, 25.0), Refused)  # the place is the new probe's
    breaker.settle(probe, GOOD, 25.0)
    assert isinstance(breaker.admit(ANYONE, 25.0), Permit)


async def test_trap_03_an_attempt_cut_short_by_a_retry_after_is_not_the_dependencys_fault() -> None:
    """Rule 3: BAD only if the attempt had the route's configured time."""
    seen, tries = EventRecorder(), 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Fault(Code.UNAVAILABLE, "come back", effect=Effect.NONE, retry_after=2.8)
        await asyncio.sleep(0.2)  # healthy: a fifth of the attempt timeout
        return "well"

    await ended(make(repeatable=True, observe=seen), work)
    assert seen.of(AttemptEnded)[-1].verdict.health.value != "bad"
