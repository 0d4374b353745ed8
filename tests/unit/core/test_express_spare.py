"""The alarms of calls that were well are used again."""

import asyncio
import gc
import weakref

import pytest

from switchgear import Policy
from switchgear.core.cut import Cut, Cuts
from switchgear.core.sweep import Alarm, Sweep, sweep_of
from switchgear.policy.fault import Code, Fault
from switchgear.testing.virtual import clock


async def well() -> int:
    await asyncio.sleep(0)
    return 1


async def test_an_alarm_that_waits_to_be_used_again_holds_no_task() -> None:
    policy = Policy("p")
    tasks = [asyncio.ensure_future(policy.call(well)) for _ in range(3)]
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    gone = [weakref.ref(task) for task in tasks]
    del tasks
    await asyncio.sleep(0)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


@pytest.mark.virtual
async def test_one_that_rang_is_not_used_again_and_one_that_did_not_rings_for_another() -> None:
    policy = Policy("p", deadline=1.0)
    for _ in range(3):
        assert await policy.call(well) == 1
        with pytest.raises(Fault) as caught:
            await policy.call(asyncio.sleep, 5)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
    figures = policy.statistics()["calls"]
    assert (figures["good"], figures["failed"], figures["zombies"]) == (3, 3, 0)


@pytest.mark.virtual
async def test_each_of_many_at_once_has_its_own() -> None:
    policy = Policy("p", deadline=1.0)
    for _ in range(2):
        slow = [asyncio.ensure_future(policy.call(asyncio.sleep, 5)) for _ in range(2)]
        assert [await policy.call(well) for _ in range(9)] == [1] * 9
        ended = await asyncio.gather(*slow, return_exceptions=True)
        assert [type(error) for error in ended] == [Fault] * 2


class Work:
    """What an alarm would call off."""

    def cancelling(self) -> int:
        return 0


class Told:
    """Who is told by the alarms, and notes when."""

    enforces = True

    def __init__(self) -> None:
        self.at: list[float] = []
        self.cuts = Cuts()
        self.sweep = sweep_of(asyncio.get_running_loop(), clock)

    def rang(self, cut: Cut) -> set[Alarm] | None:
        self.at.append(clock())
        return None

    def ended(self, cut: Cut) -> None: ...

    def take(self, within: float) -> Cut:
        return self.cuts.take(self, self.sweep, Work(), clock() + within, by_hand=True)


def instants(*expected: float) -> object:
    return pytest.approx(expected, abs=0.011)  # a tick of the sweep late, at most


@pytest.mark.virtual
async def test_one_that_is_used_again_rings_at_its_new_instant_and_not_at_its_old_one() -> None:
    told, began = Told(), clock()
    first = told.take(1.0)
    told.cuts.give(first)
    await asyncio.sleep(0.5)
    assert told.take(1.0) is first
    await asyncio.sleep(0.9)
    assert told.at == []
    await asyncio.sleep(5.0)
    assert told.at == instants(began + 1.5)


@pytest.mark.virtual
async def test_one_that_is_used_again_for_less_rings_as_soon_and_once() -> None:
    told, began = Told(), clock()
    told.cuts.give(told.take(5.0))
    told.take(1.0)
    await asyncio.sleep(9.0)
    assert told.at == instants(began + 1.0)
    assert told.sweep.armed == 0


@pytest.mark.virtual
async def test_one_that_waits_is_not_armed_and_rings_for_nobody() -> None:
    told = Told()
    first = told.take(1.0)
    assert told.sweep.armed == 1
    told.cuts.give(first)
    assert told.sweep.armed == 0
    await asyncio.sleep(2.0)
    assert (told.at, first.kept) == ([], None)
    began = clock()
    assert told.take(1.0) is first
    await asyncio.sleep(2.0)
    assert told.at == instants(began + 1.0)


@pytest.mark.virtual
async def test_one_that_never_was_to_ring_may_be_used_for_a_call_that_ends() -> None:
    told, began = Told(), clock()
    told.cuts.give(told.take(1e15))
    told.take(1.0)
    await asyncio.sleep(2.0)
    assert told.at == instants(began + 1.0)


@pytest.mark.virtual
async def test_a_failed_attempt_leaves_none_armed() -> None:
    told = Told()
    cut = told.take(1.0)
    cut.disarm()
    cut.disarm()
    assert told.sweep.armed == 0
    await asyncio.sleep(2.0)
    assert told.at == []


@pytest.mark.virtual
async def test_those_of_another_loop_are_not_used_here() -> None:
    told = Told()
    first, second = told.take(1.0), told.take(1.0)
    told.cuts.give(first)
    told.cuts.give(second)
    told.sweep = Sweep(asyncio.get_running_loop(), clock)
    third = told.take(1.0)
    assert third not in (first, second)
    assert told.cuts.first is None, "of two loops by turns they would become more and more"


async def test_a_policy_is_let_go_before_its_alarms_are_due() -> None:
    policy = Policy("p", deadline=3600.0, timeout=3600.0)
    assert await policy.call(well) == 1
    gone = weakref.ref(policy._stack)
    del policy
    gc.collect()
    assert gone() is None


@pytest.mark.virtual
async def test_calls_of_different_lengths_end_each_at_its_own_instant() -> None:
    policy = Policy("p", deadline=30.0, timeout=20.0, retry=None, breaker=None, hurry=None)
    ended: list[float] = []

    async def until(within: float) -> None:
        with pytest.raises(Fault):
            async with asyncio.timeout(60):
                await Policy("outer", deadline=within).call(policy.call, asyncio.sleep, 60)
        ended.append(clock() - began)

    for _ in range(5):
        await policy.call(asyncio.sleep, 0.1)
    began = clock()
    await asyncio.gather(*map(until, (7.0, 3.0, 5.0, 9.0)))
    assert ended == pytest.approx((3.0, 5.0, 7.0, 9.0), abs=0.03)
