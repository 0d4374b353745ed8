"""Trap 5: half open admits its probes and no more.

Else the whole waiting crowd falls upon what has just stood up, and it lies down again.
"""

import asyncio

import pytest

from switchgear import BreakerSettings, Refusal
from switchgear.policy.breaker import State
from switchgear.testing import advance
from tests.traps.world import ended, opened

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("probes", [1, 3, 7])
async def test_trap_05_one_probe_at_a_time_and_no_more_than_are_needed(probes: int) -> None:
    settings = BreakerSettings(jitter=0.0, probes=probes, ramp=0.0, probe_lease=60.0)
    mail = await opened(breaker=settings, deadline=60.0)
    assert mail.breaker is not None
    await advance(5.0)
    inside = most = tried = 0

    async def work() -> str:
        nonlocal inside, most, tried
        tried += 1
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.5)
        inside -= 1
        return "well"

    for number in range(probes):
        crowd = [asyncio.ensure_future(ended(mail, work)) for _ in range(100)]
        assert mail.breaker.state is (State.HALF_OPEN if number else State.OPEN)
        done, _ = await asyncio.wait(crowd)
        refused = [task.result() for task in done if task.result() != "well"]
        assert {fault.refusal for fault in refused} == {Refusal.OPEN}
        assert len(refused) == 99
    assert (most, tried) == (1, probes)
    assert mail.breaker.state is State.CLOSED


async def test_trap_05_what_has_just_closed_lets_the_crowd_in_by_and_by() -> None:
    mail = await opened()
    await advance(5.0)
    for _ in range(3):
        await ended(mail, asyncio.sleep, 0.0)
    assert mail.breaker is not None
    assert mail.breaker.state is State.CLOSED
    shares = []
    for _ in range(10):
        await advance(1.0)
        through = [await ended(mail, asyncio.sleep, 0.0) for _ in range(100)]
        shares.append(through.count(None))
    assert shares == sorted(shares)
    assert shares[0] <= 15
    assert shares[4] == pytest.approx(50, abs=5)
    assert shares[9] == 100
