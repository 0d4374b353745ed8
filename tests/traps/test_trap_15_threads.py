"""Trap 15: a sync function cannot be killed. Say so.

A library that promises a timeout for it leaves a thread behind, unseen, for each one; and one day
there is no thread left. These tests run in real time: a virtual loop waits for its threads.
"""

import asyncio
import threading
from time import perf_counter

import pytest

from switchgear import BulkheadSettings, Code, Fault, Policy
from switchgear.core import threads
from switchgear.core.observe import Overran
from switchgear.testing import EventRecorder

pytestmark = pytest.mark.timeout(30)


def files(**options: object) -> Policy:
    return Policy("files", attempts=1, **options)  # type: ignore[arg-type]  # passed on


async def until_none_lingers(policy: Policy) -> None:
    while policy.statistics()["calls"]["zombies"]:
        await asyncio.sleep(0.005)


async def test_trap_15_the_caller_is_answered_in_time_and_told_that_it_goes_on() -> None:
    go, seen = threading.Event(), EventRecorder()
    policy = files(deadline=0.05, observe=seen)
    effects = []

    def work() -> None:
        go.wait()
        effects.append("done all the same")

    try:
        with pytest.raises(Fault) as caught:
            await policy.call_in_thread(work)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert not effects
        figures = policy.statistics()
        assert figures["threads"]["lingering"] == figures["calls"]["zombies"] == 1
        assert seen.count(Overran) == 1
    finally:
        go.set()
    await until_none_lingers(policy)
    assert effects == ["done all the same"]
    assert policy.statistics()["threads"]["lingering"] == 0


async def test_trap_15_no_more_threads_than_permits_however_many_hang() -> None:
    go = threading.Event()
    policy = files(deadline=0.05, bulkhead=BulkheadSettings(permits=3, queue=0), breaker=None)
    try:
        outcomes = await asyncio.gather(
            *(policy.call_in_thread(go.wait) for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(one, Fault) for one in outcomes)
        assert policy.statistics()["threads"]["threads"] == 3
        assert policy.statistics()["calls"]["zombies"] == 3
    finally:
        go.set()
    await until_none_lingers(policy)


async def test_trap_15_what_no_thread_has_begun_is_never_begun() -> None:
    go, begun = threading.Event(), []
    pool = threads.Threads("files", 1)
    first = asyncio.ensure_future(pool.run(go.wait))
    try:
        while pool.statistics()["queued"] or not pool.statistics()["threads"]:
            await asyncio.sleep(0.001)
        second = asyncio.ensure_future(pool.run(lambda: begun.append(1)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
    finally:
        go.set()
    await first
    assert not begun
    pool.close()


async def test_trap_15_a_function_that_hangs_opens_its_breaker_at_once_not_at_its_end() -> None:
    go = threading.Event()
    policy = files(deadline=0.02)
    try:
        for _ in range(5):
            with pytest.raises(Fault):
                await policy.call_in_thread(go.wait)
        began = perf_counter()
        assert policy.breaker is not None
        assert policy.breaker.state.value == "open"
        assert began
    finally:
        go.set()
    await until_none_lingers(policy)


def test_trap_15_it_is_said_where_it_is_read() -> None:
    for told in (Policy.call_in_thread.__doc__, threads.__doc__):
        assert "thread cannot be killed" in " ".join((told or "").split()).lower()
