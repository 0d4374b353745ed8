"""Trap 4: permits carry a generation, and have an age limit.

Else what was sent before the outage comes home during the recovery, and decides on it.
"""

import asyncio

import pytest

from switchgear import BreakerSettings, BulkheadSettings, Code, Fault, Policy
from switchgear.policy.breaker import State
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.gate import ANYONE, Permit
from switchgear.testing import advance
from tests.traps.world import answer, away, ended, make, state

pytestmark = pytest.mark.virtual


async def late(policy: Policy, go: asyncio.Event, error: Fault | None) -> None:
    """Call what answers only when it is told to."""

    async def work() -> None:
        await go.wait()
        if error is not None:
            raise error

    try:
        await policy.call(work)
    except Fault:
        pass


async def half_open(
    *errors: Fault | None,
) -> tuple[Policy, list[asyncio.Task[None]], asyncio.Event]:
    """Make a policy that is half open, with calls out that were begun before it opened."""
    mail = make(
        deadline=60.0, attempts=1, breaker=BreakerSettings(jitter=0.0, slow_after=100.0, probes=5)
    )
    go = asyncio.Event()
    calls = [asyncio.ensure_future(late(mail, go, error)) for error in errors]
    await advance(0.1)
    for _ in range(5):
        await ended(mail, away)
    await advance(5.0)
    assert await ended(mail, answer) == "well"  # the first probe
    assert state(mail) is State.HALF_OPEN
    return mail, calls, go


async def test_trap_04_a_late_success_closes_nothing() -> None:
    mail, calls, go = await half_open(*[None] * 10)
    go.set()
    await asyncio.wait(calls)
    assert state(mail) is State.HALF_OPEN
    assert mail.statistics()["breaker"]["late"] == 10


async def test_trap_04_a_late_failure_opens_nothing() -> None:
    fault = Fault(Code.UNAVAILABLE, "from before")
    mail, calls, go = await half_open(*[fault] * 10)
    go.set()
    await asyncio.wait(calls)
    assert state(mail) is State.HALF_OPEN
    for _ in range(4):
        assert await ended(mail, answer) == "well"
    assert state(mail) is State.CLOSED
    assert mail.statistics()["breaker"]["late"] == 10


async def test_trap_04_a_late_failure_does_not_count_after_recovery_either() -> None:
    fault = Fault(Code.UNAVAILABLE, "from before")
    mail, calls, go = await half_open(*[fault] * 10)
    for _ in range(4):
        await ended(mail, answer)
    assert state(mail) is State.CLOSED
    go.set()
    await asyncio.wait(calls)
    assert state(mail) is State.CLOSED
    assert mail.statistics()["breaker"]["consecutive"] == 0


async def test_trap_04_a_permit_has_an_age_limit() -> None:
    mail = make(deadline=None, timeout=None, bulkhead=BulkheadSettings(permits=2, permit_age=30.0))
    work = asyncio.Event()
    call = asyncio.ensure_future(late(mail, work, None))
    await advance(1.0)
    bulkhead = mail._made["bulkhead"]
    assert (bulkhead.out, bulkhead.overdue(mail._clock())) == (1, 0)
    work.set()
    await call


def test_trap_04_work_beyond_the_age_limit_counts_as_overdue_and_gives_no_place_away() -> None:
    room = Bulkhead("mail", BulkheadSettings(permits=1, queue=0, permit_age=30.0))
    permit = room.admit(ANYONE, 0.0)
    assert isinstance(permit, Permit)
    assert room.overdue(30.0) == 0
    assert room.overdue(30.1) == 1
    assert not isinstance(room.admit(ANYONE, 30.1), Permit)
