"""A loop that was closed amid calls: what it had begun holds no place for good."""

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from switchgear import AdaptiveSettings, BulkheadSettings, Fault, HedgeSettings, Policy
from switchgear.core.observe import CallEnded
from switchgear.testing import EventRecorder, VirtualLoop, clock

Loops = Callable[[], asyncio.AbstractEventLoop]

TWO = BulkheadSettings(permits=2, queue=0)
FEW = AdaptiveSettings(initial=2, least=2)


async def hangs(_: int) -> None:
    await asyncio.get_running_loop().create_future()


async def answers(_: int) -> str:
    return "answered"


def left(
    loop_factory: Loops, policy: Policy, places: int, *work: Callable[[], Awaitable[Any]]
) -> None:
    """Begin works on a loop, and close it amid them, as who runs a loop for each task does.

    That is as soon as they have so many `places`.
    """

    async def begin() -> None:
        async def one(each: Callable[[], Awaitable[Any]]) -> None:
            await each()

        tasks = [asyncio.create_task(one(each)) for each in work]
        while out(policy)[-1] != places:
            await asyncio.wait(tasks, timeout=0.001)

    loop = loop_factory()
    loop.set_exception_handler(lambda *_: None)  # it tells of the tasks that are let go of
    loop.run_until_complete(begin())
    loop.close()


def anew(loop_factory: Loops, work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def out(policy: Policy) -> list[float | str]:
    """Return what each gate that bounds has out."""
    figures = policy.statistics()
    return [figures[gate]["out"] for gate in ("adaptive", "bulkhead") if gate in figures]


@pytest.mark.pure  # coroutines of mypyc have no end of their own
@pytest.mark.parametrize(
    "options",
    [
        {"adaptive": FEW},
        {"adaptive": FEW, "coalesce": lambda _: None},
        {"bulkhead": TWO, "coalesce": lambda number: number},
    ],
    ids=["adaptive", "in layers", "coalesced"],
)
def test_calls_that_a_closed_loop_had_begun_are_let_go_of(
    loop_factory: Loops, options: dict[str, Any]
) -> None:
    policy = Policy("p", deadline="60s", **options)
    left(
        loop_factory,
        policy,
        2,
        *(lambda number=number: policy.call(hangs, number) for number in range(2)),
    )
    with pytest.raises(Fault, match=r"is full|is reached"):
        anew(loop_factory, policy.call(answers, 3))
    gc.collect()
    assert anew(loop_factory, policy.call(answers, 3)) == "answered"
    assert set(out(policy)) == {0}


@pytest.mark.pure  # as above
def test_so_are_those_beside_which_others_had_ended(loop_factory: Loops) -> None:
    """The alarms of those wait to be used again, where those of the others are."""
    policy = Policy("p", deadline="60s")

    async def some_end() -> None:
        await asyncio.gather(*(policy.call(asyncio.sleep, 0.0) for _ in range(3)))
        await policy.call(hangs, 0)

    left(loop_factory, policy, 1, some_end)
    policy.force_open()
    with pytest.raises(Fault, match="is held open"):
        anew(loop_factory, policy.call(answers, 3))
    gc.collect()
    assert out(policy) == [0]


@pytest.mark.pure  # as above
def test_so_are_those_that_race(loop_factory: Loops) -> None:
    hedge = HedgeSettings(samples=1, least=0.001)
    policy = Policy("p", deadline="60s", repeatable=True, retry=None, hedge=hedge, bulkhead=TWO)

    async def race() -> None:
        await policy.call(answers, 0)
        await policy.call(hangs, 0)

    left(loop_factory, policy, 2, race)
    with pytest.raises(Fault, match="is full"):
        anew(loop_factory, policy.call(answers, 3))
    gc.collect()
    assert anew(loop_factory, policy.call(answers, 3)) == "answered"
    assert out(policy) == [0]


def test_blocks_of_a_closed_loop_are_ended_once(loop_factory: Loops) -> None:
    events = EventRecorder()
    policy = Policy("p", deadline="60s", bulkhead=TWO, observe=events)

    async def block() -> None:
        async with policy:
            await hangs(0)

    async def another() -> None:
        async with policy:
            gc.collect()  # which leaves the blocks of the closed loop, in this task
            assert out(policy) == [1]

    left(loop_factory, policy, 2, block, block)
    assert out(policy) == [2]
    anew(loop_factory, another())
    assert out(policy) == [0]
    codes = [event.code for event in events.of(CallEnded)]
    assert codes == ["CancelledError", "CancelledError", ""]


def test_blocks_of_a_closed_loop_make_room_for_calls(loop_factory: Loops) -> None:
    policy = Policy("p", deadline="60s", bulkhead=TWO)

    async def block() -> None:
        async with policy:
            await hangs(0)

    left(loop_factory, policy, 2, block, block)
    with pytest.raises(Fault, match="is full"):
        anew(loop_factory, policy.call(answers, 3))
    assert anew(loop_factory, policy.call(answers, 3)) == "answered"
    gc.collect()
    assert out(policy) == [0]


@pytest.mark.pure  # as above
def test_a_place_is_not_lost_on_a_waiter_of_a_closed_loop(
    loop_factory: Loops, capsys: pytest.CaptureFixture[str]
) -> None:
    events = EventRecorder()
    one = BulkheadSettings(permits=1, queue=1, patience=1.0)
    policy = Policy("p", deadline="60s", bulkhead=one, observe=events)
    left(
        loop_factory,
        policy,
        1,
        *(lambda number=number: policy.call(hangs, number) for number in range(2)),
    )
    with pytest.raises(Fault, match="is full"):
        anew(loop_factory, policy.call(answers, 3))
    gc.collect()  # the first leaves its place to the second, which nobody can wake
    gc.collect()
    assert out(policy) == [0]
    assert events.count(CallEnded, code="GeneratorExit") == 2
    assert "closed" not in capsys.readouterr().err


def test_a_thread_that_ends_as_its_loop_is_closed_brings_its_place_home(
    loop_factory: Loops,
) -> None:
    """The loop was told, and did not get to it."""
    policy = Policy("p", bulkhead=TWO)
    loop, over = thread_left(loop_factory, policy)
    over.set()
    while policy.statistics()["threads"]["idle"] != 1:
        time.sleep(0.001)
    assert out(policy) == [1]
    loop.close()
    gc.collect()
    assert out(policy) == [0]
    assert policy.statistics()["calls"]["zombies"] == 0


def test_a_thread_that_outlives_virtual_time_brings_its_place_home(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    policy = Policy("p", bulkhead=TWO, clock=clock)
    loop, over = thread_left(VirtualLoop, policy)
    loop.close()
    assert out(policy) == [1]
    over.set()
    while policy.statistics()["threads"]["idle"] != 1:
        time.sleep(0.001)
    assert out(policy) == [0]
    assert caplog.text == capsys.readouterr().err == ""


def thread_left(
    loop_factory: Loops, policy: Policy
) -> tuple[asyncio.AbstractEventLoop, threading.Event]:
    """Leave a call in a thread; return its loop, which has stopped, and what has the thread end."""
    begun, over = threading.Event(), threading.Event()

    def blocks() -> None:
        begun.set()
        assert over.wait(10)

    async def leave() -> None:
        task = asyncio.create_task(policy.call_in_thread(blocks))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    loop = loop_factory()
    loop.run_until_complete(leave())
    return loop, over
