"""Trap 13: adaptive concurrency compares long and short averages, and starves nobody to measure.

A limit set against the quickest answer ever seen collapses after one lucky answer; one that holds
traffic back now and then, to see how quick an idle dependency is, does harm on purpose.
"""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from switchgear import AdaptiveSettings, Policy, Refusal
from switchgear.testing import advance, clock
from tests.traps.world import ended, make

pytestmark = pytest.mark.virtual


def adaptive(**settings: Any) -> Policy:
    return make(
        deadline=60.0, attempts=1, adaptive=AdaptiveSettings(**settings),
        bulkhead=None, breaker=None, hurry=None,
    )  # fmt: skip


def limit(policy: Policy) -> float:
    return float(policy.statistics()["adaptive"]["limit"])


async def crowd(
    policy: Policy, size: int, seconds: float, takes: Callable[[], float]
) -> tuple[list[float], int]:
    """Keep `size` callers asking; return the limit at each tenth of a second, and the refusals."""
    until, refused = clock() + seconds, 0

    async def caller() -> None:
        nonlocal refused
        while clock() < until:
            if getattr(await ended(policy, asyncio.sleep, takes()), "refusal", None):
                refused += 1
                await asyncio.sleep(0.01)

    callers = [asyncio.ensure_future(caller()) for _ in range(size)]
    limits = []
    while clock() < until:
        await advance(0.1)
        limits.append(limit(policy))
    await asyncio.wait(callers)
    return limits, refused


async def test_trap_13_what_goes_as_usual_is_never_held_back_for_a_measurement() -> None:
    policy = adaptive(initial=20.0)
    limits, refused = await crowd(policy, 15, 600.0, lambda: 0.1)
    assert refused == 0
    assert min(limits) >= 20.0
    assert all(later >= sooner for sooner, later in pairwise(limits))


async def test_trap_13_when_calls_take_much_longer_than_they_used_to_it_lets_fewer_in() -> None:
    policy = adaptive(initial=50.0, most=60.0)
    usual, _ = await crowd(policy, 50, 30.0, lambda: 0.1)
    crowded, refused = await crowd(policy, 50, 30.0, lambda: 1.0)
    assert min(crowded) < usual[-1] / 2
    assert refused > 0


async def test_trap_13_it_comes_back_when_they_are_quick_again() -> None:
    policy = adaptive(initial=50.0, most=60.0)
    await crowd(policy, 50, 30.0, lambda: 0.1)
    await crowd(policy, 50, 30.0, lambda: 1.0)
    low = limit(policy)
    back, _ = await crowd(policy, 50, 60.0, lambda: 0.1)
    assert low < 30.0
    assert back[-1] >= 50.0


async def test_trap_13_one_lucky_answer_is_no_measure() -> None:
    policy = adaptive(initial=20.0)
    await crowd(policy, 20, 30.0, lambda: 0.1)
    before = limit(policy)
    await ended(policy, asyncio.sleep, 0.001)  # from some cache
    after, _ = await crowd(policy, 20, 10.0, lambda: 0.1)
    assert min(after) >= before


async def test_trap_13_beyond_the_limit_it_refuses_at_once() -> None:
    policy = adaptive(initial=4.0, least=4.0)
    inside = [asyncio.ensure_future(ended(policy, asyncio.sleep, 1.0)) for _ in range(4)]
    await advance(0.1)
    began = clock()
    assert (await ended(policy, asyncio.sleep, 0.0)).refusal is Refusal.FULL
    assert clock() == began
    await asyncio.wait(inside)
