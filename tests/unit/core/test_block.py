"""Blocks: what stands in `async with policy` is one attempt, and ends as one, however it ends."""

import asyncio
import contextvars
import threading
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from switchgear import Code, Fault, Policy, deadline, remaining
from switchgear.core.ambient import ambient, due, within
from switchgear.core.observe import AttemptEnded, CallEnded, Overran, Refusing
from switchgear.core.sweep import sweep_of
from switchgear.policy.breaker import BreakerSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.hurry import HurrySettings
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, NEUTRAL_AGAIN, Health
from switchgear.testing import EventRecorder
from switchgear.testing.virtual import START, clock
from tests.support.cancel import Moment, Scene, everywhere

Loops = Callable[[], asyncio.AbstractEventLoop]


def make(**options: Any) -> Policy:
    return Policy("mail", clock=clock, random=lambda: 0.5, **options)


def home(policy: Policy) -> None:
    """Everything has come home."""
    figures = policy.statistics()
    for part in ("hurry", "breaker", "bulkhead"):
        assert figures[part]["out"] == 0, figures
    assert figures["calls"]["zombies"] == 0
    assert not policy._blocks._open
    loop = asyncio.get_running_loop()
    assert sweep_of(loop, policy._clock).armed == 0


def calls(policy: Policy) -> tuple[Any, Any, Any]:
    figures = policy.statistics()["calls"]
    return figures["good"], figures["failed"], figures["neutral"]


@pytest.mark.virtual
async def test_a_block_holds_a_permit_and_tells_how_it_went() -> None:
    recorder = EventRecorder()
    policy = make(observe=recorder)
    async with policy:
        figures = policy.statistics()
        assert (
            figures["breaker"]["out"] == figures["bulkhead"]["out"] == figures["hurry"]["out"] == 1
        )
        assert figures["calls"]["good"] == 0
        await asyncio.sleep(0.25)
    assert recorder.events == [
        AttemptEnded("mail", 1, GOOD, 0.25),
        CallEnded("mail", 1, GOOD, 0.25, ""),
    ]
    assert calls(policy) == (1, 0, 0)
    home(policy)


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("error", "verdict", "code", "counts"),
    [
        (ConnectionResetError("x"), BAD_AGAIN, "ConnectionResetError", (0, 1, 0)),
        (KeyError("a defect"), BAD, "KeyError", (0, 1, 0)),
        (Fault(Code.NOT_FOUND), GOOD, "not_found", (1, 0, 0)),
        (CancelledError(), NEUTRAL, "CancelledError", (0, 0, 1)),
        (SystemExit(), NEUTRAL, "SystemExit", (0, 0, 1)),
    ],
)
async def test_an_error_goes_through_and_says_what_it_says_of_a_call(
    error: BaseException, verdict: Any, code: str, counts: Any
) -> None:
    recorder = EventRecorder()
    policy = make(observe=recorder)
    with pytest.raises(type(error)) as caught:
        async with policy:
            raise error
    assert caught.value is error
    assert recorder.one(CallEnded).verdict == recorder.one(AttemptEnded).verdict == verdict
    assert recorder.one(CallEnded).code == code
    assert calls(policy) == counts
    home(policy)


@pytest.mark.virtual
async def test_a_block_that_is_refused_is_told_and_counted_as_a_call_is() -> None:
    recorder = EventRecorder()
    policy = make(observe=recorder)
    policy.force_open()
    recorder.events.clear()
    with pytest.raises(Fault) as caught:
        async with policy:
            raise AssertionError("it was let in")
    assert caught.value.refusal is Refusal.OPEN
    assert [type(event) for event in recorder] == [Refusing, AttemptEnded, CallEnded]
    assert recorder.one(CallEnded) == CallEnded("mail", 1, NEUTRAL_AGAIN, 0.0, "unavailable")
    assert calls(policy) == (0, 0, 1)
    home(policy)


@pytest.mark.virtual
async def test_its_time_is_over_and_the_block_raises_a_fault() -> None:
    recorder = EventRecorder()
    policy = make(deadline=1.0, timeout=0.1, repeatable=True, observe=recorder)
    with pytest.raises(Fault) as caught:
        async with policy:
            assert deadline() == START + 1.0, "it is tried once, so it has all the time there is"
            await asyncio.sleep(9)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert deadline() == float("inf")
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.__cause__ is None
    assert START + 1.0 <= clock() < START + 1.02
    assert recorder.one(CallEnded).verdict == BAD_AGAIN
    assert recorder.one(CallEnded).code == "deadline_exceeded"
    assert recorder.count(Overran) == 0
    assert policy.statistics()["breaker"]["consecutive"] == 1
    assert calls(policy) == (0, 1, 0)
    home(policy)


@pytest.mark.virtual
async def test_a_block_that_swallows_its_end_is_late_all_the_same() -> None:
    recorder = EventRecorder()
    policy = make(deadline=1.0, observe=recorder)
    bulkhead = policy._made["bulkhead"]
    with pytest.raises(Fault) as caught:
        async with policy:
            try:
                await asyncio.sleep(9)
            except CancelledError:
                await asyncio.sleep(0.05)
                assert recorder.count(Overran) == 0, "it has a moment to end"
                await asyncio.sleep(0.2)
                assert policy.statistics()["calls"]["zombies"] == 1
                assert bulkhead.overdue(clock()) == 1
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert recorder.one(Overran).after == pytest.approx(0.1, abs=0.03)
    assert recorder.one(Overran).enforced
    assert policy.statistics()["calls"]["overran"] == 1
    assert bulkhead.overdue(clock()) == 0
    assert calls(policy) == (0, 1, 0)
    home(policy)


@pytest.mark.virtual
async def test_a_late_block_keeps_a_fault_of_its_own_and_loses_any_other_error() -> None:
    for error, code in ((Fault(Code.NOT_FOUND), Code.NOT_FOUND), (KeyError(), None)):
        recorder = EventRecorder()
        policy = make(deadline=1.0, observe=recorder)
        with pytest.raises(Fault) as caught:
            async with policy:
                try:
                    await asyncio.sleep(9)
                except CancelledError:
                    raise error from None
        assert caught.value.code is (code or Code.DEADLINE_EXCEEDED)
        assert caught.value.__cause__ is (None if code else error)
        assert recorder.one(CallEnded).verdict.health is Health.BAD, "it was late, whatever it says"
        home(policy)


@pytest.mark.virtual
async def test_called_off_by_its_caller_and_by_its_time_at_once_it_is_called_off_and_late() -> None:
    recorder = EventRecorder()
    policy = make(deadline=1.0, observe=recorder)

    async def block() -> None:
        async with policy:
            try:
                await asyncio.sleep(9)
            except CancelledError:
                task.cancel()  # its caller leaves while it ends
                await asyncio.sleep(0)

    task = asyncio.create_task(block())
    with pytest.raises(CancelledError):
        await task
    assert recorder.one(CallEnded).verdict == BAD_AGAIN
    assert recorder.one(CallEnded).code == "CancelledError"
    home(policy)


@pytest.mark.virtual
async def test_a_caller_in_a_hurry_is_not_held_against_the_dependency() -> None:
    recorder = EventRecorder()
    policy = make(deadline=1.0, observe=recorder)
    with pytest.raises(Fault) as caught, within(0.5, clock=clock):
        async with policy:
            assert remaining(clock) == 0.5
            await asyncio.sleep(9)
    assert caught.value.refusal is Refusal.HURRIED
    assert recorder.one(CallEnded).verdict.health is Health.NEUTRAL
    home(policy)


@pytest.mark.virtual
async def test_no_block_begins_after_the_deadline() -> None:
    policy = make(hurry=None)
    with within(0.5, clock=clock):
        await asyncio.sleep(0.5)
        with pytest.raises(Fault, match="had passed") as caught:
            async with policy:
                raise AssertionError("it was let in")
    assert caught.value.effect is Effect.NONE
    assert policy.statistics()["bulkhead"]["out"] == 0
    assert calls(policy) == (0, 0, 1)


@pytest.mark.virtual
async def test_the_ambient_call_gives_its_deadline_and_its_priority_but_not_its_key() -> None:
    policy = make(bulkhead=BulkheadSettings(permits=1, patience=1.0), hurry=None)
    order: list[int] = []

    async def block(priority: int) -> None:
        ambient.set(Call(None, START + 2.0, priority=priority, key="theirs"))
        async with policy:
            order.append(priority)
            assert deadline() == START + 2.0
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for priority in (5, 1, 9):
            group.create_task(block(priority))
    assert order == [5, 9, 1]
    home_but_hurry = policy.statistics()["bulkhead"]["out"]
    assert home_but_hurry == 0


@pytest.mark.virtual
async def test_to_wait_in_our_own_queue_is_not_the_dependencys_slowness() -> None:
    recorder = EventRecorder()
    policy = make(
        breaker=BreakerSettings(calls=1, slow=0.1, slow_after=0.2),
        bulkhead=BulkheadSettings(permits=1, patience=1.0),
        observe=recorder,
    )

    async def block() -> None:
        async with policy:
            await asyncio.sleep(0.15)

    await asyncio.gather(block(), block())
    assert policy.statistics()["breaker"]["state"] == "closed"
    first, second = recorder.of(CallEnded)
    assert [first.elapsed, second.elapsed] == pytest.approx([0.15, 0.3])
    assert recorder.of(AttemptEnded)[1].elapsed == pytest.approx(0.15)
    home(policy)


@pytest.mark.virtual
async def test_blocks_learn_for_hurry_and_are_turned_away_by_it() -> None:
    policy = make(hurry=HurrySettings(samples=2))
    for _ in range(2):
        async with policy:
            await asyncio.sleep(0.5)
    with pytest.raises(Fault) as caught, within(0.1, clock=clock):
        async with policy:
            raise AssertionError("it was let in")
    assert (caught.value.refusal, caught.value.effect) == (Refusal.HURRIED, Effect.NONE)
    home(policy)


@pytest.mark.virtual
async def test_what_a_library_raises_is_translated_in_a_block_too() -> None:
    policy = make(translate=lambda e: Fault(Code.NOT_FOUND) if isinstance(e, KeyError) else None)
    with pytest.raises(Fault) as caught:
        async with policy:
            raise KeyError("ada")
    assert caught.value.code is Code.NOT_FOUND
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ValueError, match="other"):
        async with policy:
            raise ValueError("other")
    assert calls(policy) == (1, 1, 0)
    home(policy)


@pytest.mark.virtual
async def test_blocks_of_one_policy_inside_each_other() -> None:
    policy = make(deadline=2.0)
    async with policy:
        await asyncio.sleep(1.5)
        async with policy:
            assert policy.statistics()["bulkhead"]["out"] == 2
            assert deadline() == START + 2.0, "the outer one's time bounds the inner one"
        assert policy.statistics()["bulkhead"]["out"] == 1
        assert deadline() == START + 2.0
    assert calls(policy) == (2, 0, 0)
    home(policy)


@pytest.mark.virtual
async def test_of_blocks_inside_each_other_whose_time_is_over_the_outermost_says_so() -> None:
    recorder = EventRecorder()
    policy = make(deadline=1.0, observe=recorder)
    inner: list[BaseException] = []
    with pytest.raises(Fault):
        async with policy:
            try:
                async with policy:
                    await asyncio.sleep(9)
            except BaseException as error:
                inner.append(error)
                raise
    assert isinstance(inner[0], CancelledError)
    assert [event.verdict.health for event in recorder.of(CallEnded)] == [Health.BAD, Health.BAD]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    home(policy)


@pytest.mark.virtual
async def test_tasks_side_by_side_have_blocks_of_their_own() -> None:
    policy = make(deadline=1.0)

    async def block(seconds: float) -> None:
        async with policy:
            await asyncio.sleep(seconds)

    ended = await asyncio.gather(*map(block, (0.1, 9.0, 0.5, 9.0)), return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), Fault, type(None), Fault]
    assert calls(policy) == (2, 2, 0)
    home(policy)


@pytest.mark.virtual
async def test_a_block_inside_a_call_and_a_call_inside_a_block() -> None:
    policy = make(deadline=1.0)

    async def inside() -> float:
        async with policy:
            return deadline()

    async with policy:
        assert await policy.call(inside) == START + 1.0
        assert policy.statistics()["bulkhead"]["out"] == 1
    assert calls(policy) == (3, 0, 0)
    home(policy)


@pytest.mark.virtual
async def test_a_block_is_not_tried_again_replaced_or_shared() -> None:
    policy = make(repeatable=True, fallback=lambda error: 1, coalesce=lambda: 1)
    entered = 0
    with pytest.raises(ConnectionResetError):
        async with policy:
            entered += 1
            raise ConnectionResetError
    assert entered == 1
    home(policy)


@pytest.mark.virtual
async def test_a_generator_that_is_thrown_away_gives_its_permit_back() -> None:
    policy = make()

    async def stream() -> AsyncIterator[int]:
        async with policy:
            yield 1
            yield 2

    async def other(stream: AsyncIterator[int]) -> None:
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator

    for _ in range(2):
        opened = stream()
        assert await anext(opened) == 1
        assert policy.statistics()["bulkhead"]["out"] == 1
        await opened.aclose()  # type: ignore[attr-defined]  # as above
        home(policy)
        opened = stream()
        await anext(opened)
        await asyncio.create_task(other(opened))
        assert policy.statistics()["bulkhead"]["out"] == 0
        assert not policy._blocks._open
        due.set(None)  # it was another task that left, so nobody took the deadline back here
    assert calls(policy) == (0, 0, 4)


@pytest.mark.virtual
async def test_a_coroutine_thrown_away_outside_any_task_gives_its_permit_back() -> None:
    policy = make()

    async def block() -> None:
        async with policy:
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    coroutine: Any = task.get_coro()
    asyncio.get_running_loop().call_soon(coroutine.close, context=contextvars.Context())
    await asyncio.sleep(0.01)
    home(policy)
    task.cancel()
    with pytest.raises((CancelledError, RuntimeError)):
        await task


@pytest.mark.virtual
async def test_a_generator_run_on_by_another_task_gives_its_permit_back() -> None:
    """So does `asyncio.wait_for(anext(stream), 1.0)`: each step has a task of its own."""
    policy = make(deadline=5.0)

    async def stream() -> AsyncIterator[int]:
        async with policy:
            yield 1
            yield 2

    opened = stream()
    seen = [await asyncio.create_task(_next(opened)) for _ in range(2)]
    assert seen == [1, 2]
    async with policy:  # one of this task, which is not the one that is left
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(_next(opened))
        assert policy.statistics()["bulkhead"]["out"] == 1
    home(policy)
    assert calls(policy) == (2, 0, 0)


async def _next(stream: AsyncIterator[int]) -> int:
    return await anext(stream)


@pytest.mark.virtual
async def test_to_leave_what_a_living_task_entered_is_a_defect() -> None:
    policy = make()
    async with policy:

        async def leave() -> None:
            await policy.__aexit__(None, None, None)

        with pytest.raises(RuntimeError, match="policy 'mail' is left by another task than"):
            await asyncio.create_task(leave())
        assert policy.statistics()["bulkhead"]["out"] == 1
    home(policy)


@pytest.mark.virtual
async def test_observed_a_block_feels_nothing_and_is_told_of() -> None:
    recorder = EventRecorder()
    policy = make(mode="observe", deadline=1.0, observe=recorder, bulkhead=BulkheadSettings(1, 0))
    async with policy:
        assert deadline() == float("inf")
        async with policy:
            await asyncio.sleep(3.0)
            assert policy.statistics()["calls"]["zombies"] == 2
    assert recorder.one(Refusing).enforced is False
    assert [event.enforced for event in recorder.of(Overran)] == [False, False]
    assert [event.verdict for event in recorder.of(CallEnded)] == [GOOD, GOOD]
    assert calls(policy) == (2, 0, 0)
    home(policy)


@pytest.mark.virtual
async def test_where_the_policy_is_off_a_block_is_nothing() -> None:
    recorder = EventRecorder()
    policy = make(mode="off", observe=recorder)
    async with policy:
        assert deadline() == float("inf")
        await asyncio.sleep(10.0)
    with pytest.raises(KeyError):
        async with policy:
            raise KeyError
    assert not recorder.events
    assert calls(policy) == (0, 0, 0)


@pytest.mark.virtual
async def test_without_a_deadline_a_block_has_that_of_its_caller_or_none() -> None:
    policy = make(deadline=None, timeout=None)
    async with policy:
        assert deadline() == float("inf")
        await asyncio.sleep(1000.0)
    home(policy)


async def test_a_block_around_work_in_a_thread_keeps_its_place_until_the_thread_has_ended(
    loop_factory: Loops,
) -> None:
    policy, inner = Policy("mail"), Policy("inner")
    begun, go = threading.Event(), threading.Event()

    def blocking() -> None:
        begun.set()
        go.wait(20.0)

    async def block() -> None:
        async with policy:
            await inner.call_in_thread(blocking)

    task = asyncio.create_task(block())
    while not begun.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    for one in (policy, inner):
        figures = one.statistics()
        assert figures["breaker"]["out"] == 0, "it has learned"
        assert figures["bulkhead"]["out"] == 1, "and the place is taken"
        assert figures["calls"]["zombies"] == 1
    go.set()
    while policy.statistics()["calls"]["zombies"]:
        await asyncio.sleep(0.001)
    for one in (policy, inner):
        assert one.statistics()["bulkhead"]["out"] == 0
        assert one.statistics()["calls"]["neutral"] == 1


async def test_called_off_at_every_wait(loop_factory: Loops) -> None:
    """Of one that queues for its permit, holds another inside it, and makes a call there."""

    def make_scene(others: int = 3) -> Scene:
        policy = Policy("mail", bulkhead=BulkheadSettings(permits=3, patience=1.0))
        crowd: list[asyncio.Task[None]] = []

        async def work() -> None:
            crowd.extend(asyncio.create_task(_crowd(policy)) for _ in range(others))
            await asyncio.sleep(0)  # the crowd goes first
            async with policy:
                await asyncio.sleep(0)
                async with policy:
                    await policy.call(asyncio.sleep, 0.001)

        async def tidy() -> None:
            await asyncio.gather(*crowd)

        def check(scene: Scene) -> None:
            assert not policy._blocks._open
            figures = policy.statistics()["calls"]
            told = int(figures["good"]) + int(figures["neutral"])
            assert figures["failed"] == 0
            assert others <= told <= others + 3

        return Scene(work(), list(policy._made.values())[1:], tidy=tidy, check=check)

    await everywhere(make_scene, least=4, moments=[Moment.ASLEEP, Moment.WOKEN])
    # Whose block it is that a stranger leaves can only be told where there is one.
    await everywhere(lambda: make_scene(others=0), least=3, moments=[Moment.CLOSED])


async def _crowd(policy: Policy) -> None:
    async with policy:
        await asyncio.sleep(0.001)
