"""Coroutines whose steps are timed, with those of the tasks that they begin."""

import asyncio
import gc
import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from switchgear.core.timed import Timed, timed, timing


class Clock:
    """A clock that computing moves, and nothing else."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def compute(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_each_step_is_told_and_no_wait(clock: Clock) -> None:
    async def work() -> str:
        clock.compute(1.0)
        await asyncio.sleep(0)
        clock.compute(2.0)
        await asyncio.sleep(0.001)
        clock.compute(4.0)
        return "done"

    steps: list[float] = []

    async def stranger() -> None:
        clock.compute(64.0)

    other = asyncio.create_task(stranger())
    assert await Timed(work(), clock, steps.append) == "done"
    assert steps == [1.0, 2.0, 4.0]
    await other


async def test_errors_go_both_ways(clock: Clock) -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(60)
        except CancelledError:
            clock.compute(1.0)
            raise LookupError("lost") from None
        return "never"

    steps: list[float] = []
    task = asyncio.create_task(_awaited(Timed(work(), clock, steps.append)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(LookupError):
        await task
    assert steps == [0.0, 1.0]


async def test_to_whoever_looks_it_is_the_coroutine_itself(clock: Clock) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    it = Timed(work(), clock, print)
    assert inspect.getcoroutinestate(it) == inspect.CORO_CREATED
    assert asyncio.iscoroutine(it)
    assert it.__qualname__.endswith("work")
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = it.nothing_such
    it.close()
    assert inspect.getcoroutinestate(it) == inspect.CORO_CLOSED


async def test_what_a_timed_one_begins_is_timed_and_what_others_begin_is_not(clock: Clock) -> None:
    async def leaf(seconds: float) -> None:
        await asyncio.sleep(0)
        clock.compute(seconds)

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(leaf(1.0), name="one")
            group.create_task(asyncio.wait_for(leaf(2.0), 5))

    spent: list[float] = []
    stranger = asyncio.create_task(leaf(32.0))
    end = timing(asyncio.get_running_loop())
    await Timed(grouped(), clock, spent.append)
    end()
    await stranger
    assert sum(spent) == 3.0
    bare = leaf(0.0)
    assert timed(bare) is bare
    bare.close()


async def test_the_loop_makes_its_tasks_as_before_when_it_has_ended(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    timing(loop)()
    assert loop.get_task_factory() is None


async def test_a_factory_of_others_goes_on_to_make_them(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def parent() -> None:
        await asyncio.create_task(child())

    async def child() -> None:
        clock.compute(1.0)

    spent: list[float] = []
    with factored(factory):
        end = timing(loop)
        await Timed(parent(), clock, spent.append)
        end()
        assert loop.get_task_factory() is factory
    assert len(made) == 1
    assert sum(spent) == 1.0


async def test_an_eager_task_is_in_the_time_of_whoever_begins_it(clock: Clock) -> None:
    class Eager(asyncio.Future[None]):
        """Takes its first step at once, as the tasks of an eager factory do from Python 3.12 on."""

        def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
            super().__init__()
            with suppress(StopIteration):
                coroutine.send(None)
            self.set_result(None)

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
        return Eager(coroutine)

    async def child() -> None:
        clock.compute(1.0)

    async def parent() -> None:
        task = asyncio.create_task(child())
        clock.compute(2.0)
        await task

    loop = asyncio.get_running_loop()
    spent: list[float] = []
    with factored(factory):
        end = timing(loop)
        await Timed(parent(), clock, spent.append)
        end()
    assert sum(spent) == 3.0


async def test_one_that_has_come_since_is_left(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    end = timing(loop)
    with factored(later := lambda loop, made, **options: asyncio.Task(made, loop=loop, **options)):
        end()
        assert loop.get_task_factory() is later


@pytest.mark.filterwarnings("error")
async def test_a_task_that_is_cancelled_before_its_first_step_leaves_nothing(clock: Clock) -> None:
    async def child() -> None:
        raise AssertionError("it was called off")

    async def parent() -> None:
        task = asyncio.create_task(child())
        task.cancel()
        await asyncio.wait([task])

    end = timing(asyncio.get_running_loop())
    await Timed(parent(), clock, lambda _: None)
    end()
    gc.collect()


async def _awaited(what: Awaitable[Any]) -> Any:
    return await what


@contextmanager
def factored(factory: Callable[..., Any]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)
