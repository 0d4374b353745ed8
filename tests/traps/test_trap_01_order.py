"""Trap 1: timeout inside breaker inside retry, and each attempt is recorded.

Wrapped the other way round, a hung action is called off from outside its breaker, which takes that
for a caller who left: it never opens.
"""

import pytest

from switchgear import BreakerSettings, Code, Refusal
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.policy.breaker import State
from switchgear.policy.verdict import BAD_AGAIN
from switchgear.testing import EventRecorder, clock
from tests.traps.world import away, ended, hang, make

pytestmark = pytest.mark.virtual


async def test_trap_01_a_hung_action_opens_its_breaker() -> None:
    mail = make(deadline=1.0, attempts=1)
    assert mail.breaker is not None
    for _ in range(5):
        assert mail.breaker.state is State.CLOSED
        assert (await ended(mail, hang)).code is Code.DEADLINE_EXCEEDED
    assert mail.breaker.state is State.OPEN
    began = clock()
    assert (await ended(mail, hang)).refusal is Refusal.OPEN
    assert clock() == began


async def test_trap_01_the_other_way_round_it_would_never_open() -> None:
    # What others do, built of two policies: the timeout outside, the breaker inside.
    outside = make("timeout", deadline=1.0, attempts=1, breaker=None)
    inside = make("breaker", deadline=None, timeout=None, attempts=1)
    assert inside.breaker is not None
    for _ in range(20):
        assert (await ended(outside, inside.call, hang)).code is Code.DEADLINE_EXCEEDED
    assert inside.breaker.state is State.CLOSED


async def test_trap_01_each_attempt_is_recorded_not_each_call() -> None:
    seen = EventRecorder()
    tried = 0

    async def fail() -> None:
        nonlocal tried
        tried += 1
        await away()

    mail = make(attempts=3, observe=seen)
    assert mail.breaker is not None
    await ended(mail, fail)
    assert (tried, mail.statistics()["breaker"]["settled"]) == (3, 3)
    await ended(mail, fail)
    assert tried == 5  # five in a row: the third attempt of the second call was refused
    assert mail.breaker.state is State.OPEN
    assert seen.count(AttemptEnded, verdict=BAD_AGAIN) == 5
    assert seen.count(CallEnded) == 2


async def test_trap_01_each_attempt_that_hangs_is_recorded() -> None:
    mail = make(deadline=10.0, timeout=0.5, repeatable=True, breaker=BreakerSettings(consecutive=3))
    assert mail.breaker is not None
    await ended(mail, hang)
    assert mail.breaker.state is State.OPEN


def test_trap_01_the_order_is_what_is_described() -> None:
    places = [line.split()[0] for line in make().describe().splitlines()[1:] if line[2] != " "]
    kept = [place for place in places if place in ("retry", "breaker", "timeout")]
    assert kept == ["retry", "breaker", "timeout"]
