"""The stepper: what drives our own frames without a task must behave as a task does."""

import asyncio
import threading
from asyncio import CancelledError, Future
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

import pytest

from switchgear.core.drivers import Stepper, Work, step, working
from switchgear.core.here import HERE
from tests.support.cancel import turns

Loops = Callable[[], asyncio.AbstractEventLoop]


async def test_it_runs_at_once_up_to_its_first_wait(loop_factory: Loops) -> None:
    seen: list[str] = []
    future: Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        seen.append("begun")
        seen.append(await future)

    stepper = step(work())
    assert (seen, stepper.ended) == (["begun"], False)
    future.set_result("woken")
    await turns()
    assert (seen, stepper.ended) == (["begun", "woken"], True)


async def test_a_wait_that_is_over_already_goes_straight_on(loop_factory: Loops) -> None:
    future: Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("x")

    async def work() -> None:
        await future

    assert step(work()).ended


async def test_a_bare_yield_gives_way_for_one_turn(loop_factory: Loops) -> None:
    seen: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append("work")

    stepper = step(work())
    seen.append("caller")
    await turns()
    assert (seen, stepper.ended) == (["caller", "work"], True)


async def test_cancel_raises_where_it_waits(loop_factory: Loops) -> None:
    seen: list[object] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except CancelledError:
            seen.append(working().cancelling())
            raise

    stepper = step(work())
    assert stepper.cancel()
    assert not stepper.ended
    await turns()
    assert (seen, stepper.ended, stepper.cancel()) == ([1], True, False)


async def test_cancel_in_the_turn_of_the_wake_up_wins(loop_factory: Loops) -> None:
    future: Future[str] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append(await future)
        except CancelledError:
            seen.append("called off")

    stepper = step(work())
    future.set_result("woken")
    stepper.cancel()
    await turns()
    assert (seen, stepper.ended) == (["called off"], True)


async def test_work_that_cancels_itself_is_told_at_its_next_wait(loop_factory: Loops) -> None:
    seen: list[str] = []

    async def work() -> None:
        working().cancel()
        seen.append("still here")
        try:
            await asyncio.get_running_loop().create_future()
        except CancelledError:
            seen.append("called off")

    stepper = step(work())
    await turns()
    assert (seen, stepper.ended) == (["still here", "called off"], True)


@pytest.mark.parametrize("stepped", [True, False])
async def test_uncancel_counts_as_a_task_does(loop_factory: Loops, stepped: bool) -> None:
    seen: list[int] = []

    async def work() -> None:
        driver = working()
        for _ in range(3):
            driver.cancel()
        seen.append(driver.cancelling())
        try:
            await asyncio.sleep(0)
        except CancelledError:
            seen.append(-1)
        await asyncio.sleep(0)  # three askings are one exception
        seen.extend([driver.uncancel(), driver.uncancel(), driver.uncancel(), driver.uncancel()])

    if stepped:
        step(work())
        await turns(8)
    else:
        await asyncio.create_task(work())
    assert seen == [3, -1, 2, 1, 0, 0]


async def test_a_cancellation_taken_back_before_the_next_wait_is_not_raised() -> None:
    async def work() -> None:
        working().cancel()
        working().uncancel()
        await asyncio.sleep(0)
        seen.append("through")

    seen: list[str] = []
    step(work())
    await turns()
    assert seen == ["through"]


async def test_awaiting_what_is_no_future_is_an_error_at_the_await(loop_factory: Loops) -> None:
    class Odd:
        def __await__(self) -> Any:
            yield "odd"

    seen: list[str] = []

    async def work() -> None:
        try:
            await Odd()
        except RuntimeError as error:
            seen.append(str(error))
            await asyncio.sleep(0)
            seen.append("cleaned up")

    stepper = step(work())
    await turns()
    assert seen == ["a stepped coroutine awaited 'odd', which is no future", "cleaned up"]
    assert stepper.ended


async def test_an_escaping_exception_is_reported_and_a_cancellation_is_not(
    loop_factory: Loops,
) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    one, other = step(fail(ValueError("defect"))), step(fail(CancelledError()))
    await turns()
    assert one.ended
    assert other.ended
    assert [str(context["exception"]) for context in told] == ["defect"]


async def test_an_exit_goes_through_to_the_loop_and_ends_the_stepper() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    stepper = Stepper(leave(), HERE.place)
    with pytest.raises(SystemExit):
        stepper._step()
    assert stepper.ended
    with pytest.raises(RuntimeError, match="from a task"):
        _ = Context().run(_outside)


def _outside() -> Work:
    result: list[Any] = []

    def ask() -> None:
        try:
            result.append(working())
        except RuntimeError as error:
            result.append(error)

    thread = threading.Thread(target=ask)  # no loop runs there: neither stepper nor task
    thread.start()
    thread.join()
    if isinstance(result[0], RuntimeError):
        raise RuntimeError("call it from a task")
    work: Work = result[0]
    return work


async def test_who_drives_is_the_stepper_inside_and_the_task_outside(loop_factory: Loops) -> None:
    seen: list[object] = []

    async def inner() -> None:
        seen.append(working())
        await asyncio.sleep(0)
        seen.append(working())

    async def outer() -> None:
        seen.append(step(inner()))
        seen.append(working())

    mine = asyncio.current_task()
    outer_stepper = step(outer())
    assert working() is mine
    await turns()
    first_inner, inner_stepper, second_outer, second_inner = seen
    assert first_inner is second_inner is inner_stepper
    assert second_outer is outer_stepper


async def test_two_loops_in_two_threads_do_not_see_each_others_steppers() -> None:
    """A step of one thread may be halted midway, by the interpreter, in favour of another's."""
    halfway, looked = threading.Event(), threading.Event()
    seen: list[object] = []

    async def stepped() -> None:
        halfway.set()
        assert looked.wait(10)
        seen.append(working())
        await asyncio.sleep(0)

    async def other() -> None:
        assert await asyncio.to_thread(halfway.wait, 10)
        seen.append(working() is asyncio.current_task())

        async def nested() -> None:
            await asyncio.sleep(0)

        stepper = step(nested())  # its wake-up runs while the other thread is inside its own
        await turns()
        seen.append(stepper.ended)
        looked.set()

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    stepper = step(stepped())
    await turns()
    thread.join()
    assert seen == [True, True, stepper]
    assert stepper.ended


async def test_the_context_of_a_wake_up_is_empty(loop_factory: Loops) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("of the caller")
    future: Future[None] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        await future
        seen.append(variable.get())

    step(work())
    future.set_result(None)
    await turns()
    assert seen == ["unset"]


async def test_a_failing_future_raises_where_it_is_awaited(loop_factory: Loops) -> None:
    future: Future[None] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            await future
        except ValueError as error:
            seen.append(str(error))

    step(work())
    future.set_exception(ValueError("gone"))
    await turns()
    assert seen == ["gone"]


async def test_a_callback_of_the_loop_is_driven_by_nothing(loop_factory: Loops) -> None:
    loop = asyncio.get_running_loop()
    told: Future[str] = loop.create_future()

    def callback() -> None:
        try:
            working()
        except RuntimeError as error:
            told.set_result(str(error))
        else:
            told.set_result("something drives it")

    loop.call_soon(callback)
    assert await told == "nothing drives this code: call it from a task or by step()"


def test_a_thread_is_not_taken_for_an_earlier_one_of_the_same_number() -> None:
    seen: list[tuple[int, bool]] = []

    async def steps() -> None:
        seen.append((threading.get_ident(), isinstance(working(), Stepper)))

    async def main(*, first: bool) -> None:
        if first:
            assert working() is asyncio.current_task()
        asyncio.get_running_loop().call_soon(lambda: step(steps()))
        await asyncio.sleep(0)
        assert working() is asyncio.current_task()

    for number in range(20):
        thread = threading.Thread(target=lambda n=number: asyncio.run(main(first=n % 2 == 0)))
        thread.start()
        thread.join()
    assert len(seen) == 20
    assert all(stepped for _, stepped in seen)
    assert len({ident for ident, _ in seen}) < 20, "no number came again: nothing was shown"
