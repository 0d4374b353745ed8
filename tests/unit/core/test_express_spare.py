"""The alarms of calls that were well are used again."""

import asyncio
import gc
import weakref

import pytest

from switchgear import Policy
from switchgear.policy.fault import Code, Fault


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
