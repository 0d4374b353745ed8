"""Parked: one task for all requests of a connection, and nothing of one in the next."""

import asyncio
import gc
from asyncio import CancelledError, Future
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from switchgear.core import drivers
from switchgear.core.ambient import ambient
from switchgear.core.drivers import step, task_on, working
from switchgear.core.parked import Parked
from switchgear.policy.call import Call
from tests.support.cancel import turns

Loops = Callable[[], asyncio.AbstractEventLoop]

USER: ContextVar[object] = ContextVar("user", default="unset")


def make() -> Parked:
    return Parked(asyncio.get_running_loop())


async def ended(parked: Parked) -> None:
    parked.close()
    await turns(8)


async def asleep() -> Parked:
    """A parked task that waits for its second run."""
    parked = make()
    parked.run(asyncio.sleep(0))
    await turns()
    return parked


async def in_a_callback(act: Callable[[], None]) -> None:
    """Have the loop call it, where neither a task nor a stepper is at work."""
    done = asyncio.get_running_loop().create_future()

    def callback() -> None:
        try:
            act()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    asyncio.get_running_loop().call_soon(callback)
    await done


async def test_runs_share_one_task_as_long_as_they_leave_its_context_alone(
    loop_factory: Loops,
) -> None:
    parked, tasks = make(), list[Any]()

    async def request(number: int) -> None:
        mine = Call(number, 1.0)
        ambient.set(mine)
        await asyncio.sleep(0)
        assert ambient.get() is mine
        tasks.append(asyncio.current_task())

    for number in range(3):
        parked.run(request(number))
        await turns()
    assert len(set(tasks)) == 1
    assert working() is not tasks[0]
    await ended(parked)


async def test_whether_or_not_the_ambient_call_is_taken_back_the_task_stays() -> None:
    parked, tasks = make(), list[Any]()

    async def request(*, back: bool) -> None:
        assert ambient.get() is None
        tasks.append(asyncio.current_task())
        token = ambient.set(Call("mine", 1.0))
        await asyncio.sleep(0)
        if back:
            ambient.reset(token)

    for back in (True, True, False, False, True, False):
        parked.run(request(back=back))
        await turns()
    assert len(set(tasks)) == 1
    await ended(parked)


async def test_a_changed_context_costs_the_task_and_is_not_seen_by_the_next(
    loop_factory: Loops,
) -> None:
    parked, seen, tasks = make(), [], []

    async def request(value: object) -> None:
        seen.append((USER.get(), ambient.get()))
        tasks.append(asyncio.current_task())
        USER.set(value)
        ambient.set(Call(value, 1.0))

    class Awkward:  # values are never compared: this one would raise
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]  # as a numpy array has it

    for value in (Awkward(), "second", None):
        parked.run(request(value))
        await turns()
    assert seen == [("unset", None)] * 3
    assert len(set(tasks)) == 3
    await ended(parked)


async def test_a_context_put_back_as_it_was_keeps_the_task() -> None:
    parked, tasks = make(), list[Any]()

    async def request() -> None:
        tasks.append(asyncio.current_task())
        token = USER.set("mine")
        await asyncio.sleep(0)
        USER.reset(token)

    for _ in range(2):
        parked.run(request())
        await turns()
    assert len(set(tasks)) == 1
    await ended(parked)


async def test_the_context_of_whoever_calls_run_is_not_inherited(loop_factory: Loops) -> None:
    USER.set("of the server")
    parked, seen = make(), []

    async def request() -> None:
        seen.append(USER.get())

    parked.run(request())
    await turns()
    assert seen == ["unset"]
    await ended(parked)


async def test_two_hundred_interleaved_connections_never_see_each_other(
    loop_factory: Loops,
) -> None:
    connections = [make() for _ in range(200)]
    wrong: list[object] = []
    tally = 0

    async def request(connection: int, number: int) -> None:
        nonlocal tally
        mine = (connection, number)
        if USER.get() != "unset" or ambient.get() is not None:
            wrong.append((mine, USER.get(), ambient.get()))
        ambient.set(Call(mine, 1.0))
        if (connection + number) % 3 == 0:
            USER.set(mine)
        for turn in range(number % 4):
            await asyncio.sleep(0)
            held = ambient.get()
            if held is None or held.payload != mine or USER.get() not in ("unset", mine):
                wrong.append((mine, turn, USER.get(), held))
        async with asyncio.timeout(60):
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        tally += 1

    def run(connection: Parked, index: int, number: int) -> None:
        connection.run(request(index, number))

    loop = asyncio.get_running_loop()
    for number in range(8):
        for index, connection in enumerate(connections):
            if number % 2:
                loop.call_soon(partial(run, connection, index, number))
            else:
                connection.run(request(index, number))
            if (index + number) % 50 == 0:
                await asyncio.sleep(0)
        await turns(20)
    assert (wrong, tally) == ([], 1600)
    for connection in connections:
        connection.close()
    await turns(8)


async def test_a_queued_run_starts_when_the_present_one_has_ended(loop_factory: Loops) -> None:
    parked, seen = make(), []

    async def second() -> None:
        seen.append("second")

    async def first() -> None:
        parked.run(second())
        await asyncio.sleep(0)
        seen.append("first")

    parked.run(first())
    await turns(8)
    assert seen == ["first", "second"]
    await ended(parked)


async def test_a_queued_run_gets_a_fresh_task_when_the_context_was_changed() -> None:
    parked, seen = make(), []

    async def second() -> None:
        seen.append(USER.get())

    async def first() -> None:
        parked.run(second())
        USER.set("of the first")

    parked.run(first())
    await turns(8)
    assert seen == ["unset"]
    await ended(parked)


async def test_a_third_run_is_refused_and_its_coroutine_closed() -> None:
    parked = make()
    gate: Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await gate

    parked.run(wait())
    await turns()
    parked.run(wait())
    with pytest.raises(RuntimeError, match="busy or closed"):
        parked.run(wait())
    gate.set_result(None)
    await ended(parked)
    with pytest.raises(RuntimeError, match="busy or closed"):
        parked.run(wait())


async def told_of(parked: Parked, seen: list[str], name: str) -> None:
    seen.append(name)
    try:
        await asyncio.get_running_loop().create_future()
    except CancelledError:
        seen.append(f"{name} called off")
        raise


async def test_close_while_parked_ends_the_task(loop_factory: Loops) -> None:
    parked, seen = make(), list[Any]()

    async def request() -> None:
        seen.append(asyncio.current_task())

    parked.run(request())
    await turns()
    await ended(parked)
    assert seen[0].done()
    assert not seen[0].cancelled()


async def test_close_while_running_calls_the_work_off(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()
    parked.run(told_of(parked, seen, "request"))
    await turns()
    await ended(parked)
    assert seen == ["request", "request called off"]


async def test_work_that_takes_its_cancellation_back_ends_a_closed_task_all_the_same(
    loop_factory: Loops,
) -> None:
    parked, seen = make(), list[Any]()

    async def request() -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(task)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            task.uncancel()
        await asyncio.sleep(0)

    parked.run(request())
    await turns()
    await ended(parked)
    assert seen[0].done()
    assert not seen[0].cancelled()


async def test_close_before_the_first_step_still_runs_and_tells(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()
    parked.run(told_of(parked, seen, "request"))
    await ended(parked)
    assert seen == ["request", "request called off"]


async def test_close_with_a_queued_run_tells_both(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()
    parked.run(told_of(parked, seen, "first"))
    await turns()
    parked.run(told_of(parked, seen, "second"))
    await ended(parked)
    assert seen == ["first", "first called off", "second", "second called off"]


async def test_close_in_the_turn_of_the_wake_up_still_runs_and_tells(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()

    async def nothing() -> None:
        pass

    parked.run(nothing())
    await turns()
    parked.run(told_of(parked, seen, "request"))
    parked.close()
    await turns(8)
    assert seen == ["request", "request called off"]


async def test_a_callback_has_it_run_before_it_goes_on(loop_factory: Loops) -> None:
    """A turn of the loop, with its system call, is spared."""
    parked, seen, tasks = await asleep(), list[str](), list[Any]()

    async def request() -> None:
        tasks.append((asyncio.current_task(), working()))
        seen.append(f"begun, {USER.get()}")
        await asyncio.sleep(0)
        seen.append("over")

    def callback() -> None:
        USER.set("of the callback")
        parked.run(request())
        seen.append("called")
        assert task_on(asyncio.get_running_loop()) is None

    await in_a_callback(callback)
    await turns()
    assert seen == ["begun, unset", "called", "over"]
    assert tasks == [(parked._task, parked._task)]
    await ended(parked)


async def test_many_runs_of_one_callback_are_run_in_their_turn(loop_factory: Loops) -> None:
    parked, seen = await asleep(), list[object]()

    async def request(number: int) -> None:
        seen.append((number, USER.get(), ambient.get()))
        ambient.set(Call(number, 1.0))
        USER.set(number)

    async def modest(number: int) -> None:
        seen.append(number)
        ambient.set(Call(number, 1.0))

    def callback() -> None:
        for number in range(5):
            parked.run(modest(number))
        parked.run(request(5))  # its Context is spoilt: what follows has another task, soon
        parked.run(request(6))
        with pytest.raises(RuntimeError, match="busy"):
            parked.run(request(7))
        seen.append("called")

    await in_a_callback(callback)
    await turns()
    assert seen == [0, 1, 2, 3, 4, (5, "unset", None), "called", (6, "unset", None)]
    await ended(parked)


@pytest.mark.parametrize("driver", ["task", "stepper"])
async def test_nobody_who_is_at_work_is_broken_into(loop_factory: Loops, driver: str) -> None:
    """Two tasks cannot be stepped at once, and within a stepper it would be taken for the work."""
    parked, seen = await asleep(), list[object]()

    async def request() -> None:
        seen.append(working() is parked._task)

    async def caller() -> None:
        parked.run(request())
        seen.append("called")
        await asyncio.sleep(0)

    if driver == "stepper":
        await in_a_callback(lambda: seen.append(step(caller()).ended))
    else:
        await caller()
    await turns()
    assert seen == ["called", False, True] if driver == "stepper" else ["called", True]
    await ended(parked)


async def test_a_task_that_ends_amid_a_callback_is_followed_by_another(
    loop_factory: Loops,
) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    parked, seen = await asleep(), list[object]()
    first = parked._task

    async def request() -> None:
        seen.append(parked._task is first)
        raise ValueError("defect")

    async def cancelled() -> None:
        working().cancel()
        raise CancelledError

    await in_a_callback(lambda: parked.run(request()))
    await in_a_callback(lambda: parked.run(cancelled()))
    await in_a_callback(lambda: parked.run(request()))
    await turns()
    assert seen == [True, False]
    assert [str(context["exception"]) for context in told] == ["defect"] * 2
    await ended(parked)


def test_an_exit_goes_to_whoever_runs_the_loop() -> None:
    async def leaves() -> None:
        raise SystemExit(3)

    async def main() -> None:
        parked = await asleep()
        asyncio.get_running_loop().call_soon(lambda: parked.run(leaves()))
        await asyncio.sleep(60)

    with pytest.raises(SystemExit):
        asyncio.run(main())


async def test_closing_and_cancelling_in_one_callback_with_a_run_tells_it(
    loop_factory: Loops,
) -> None:
    for close in (Parked.close, lambda parked: parked._task.cancel()):
        parked, seen = await asleep(), list[str]()

        def callback(close: Any = close, parked: Parked = parked, seen: list[str] = seen) -> None:
            parked.run(told_of(parked, seen, "request"))
            assert seen == ["request"]
            close(parked)

        await in_a_callback(callback)
        await turns(8)
        assert seen == ["request", "request called off"]
        await ended(parked)


async def test_whoever_is_called_off_asleep_runs_what_comes_before_it_wakes(
    loop_factory: Loops,
) -> None:
    parked, seen = await asleep(), list[str]()
    first = parked._task
    assert first is not None

    async def request() -> None:
        seen.append("request")

    def callback() -> None:
        first.cancel()
        parked.run(request())
        assert not seen

    await in_a_callback(callback)
    await turns(8)
    assert (seen, first.done()) == (["request"], True)
    await ended(parked)


async def test_close_from_within_tells_at_the_next_wait(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()

    async def request() -> None:
        parked.close()
        await told_of(parked, seen, "request")

    parked.run(request())
    await turns(8)
    assert seen == ["request", "request called off"]


async def test_a_cancellation_that_nobody_took_back_does_not_reach_the_next_run(
    loop_factory: Loops,
) -> None:
    """It may be asked for too late to be raised: by the settlement, for a client that left."""
    parked, seen = make(), list[str]()

    async def second() -> None:
        await asyncio.sleep(0)
        seen.append("second")

    async def first() -> None:
        parked.run(second())
        working().cancel()

    async def swallows() -> None:
        working().cancel()
        try:
            await asyncio.sleep(0)
        except CancelledError:
            parked.run(second())

    parked.run(first())
    await turns(8)
    parked.run(swallows())
    await turns(8)
    assert seen == ["second", "second"]
    await ended(parked)


async def test_a_foreign_cancellation_ends_a_parked_task_and_the_next_run_gets_another() -> None:
    """A loop that shuts down cancels every task once and then waits for them all."""
    parked, tasks = make(), list[Any]()

    async def request() -> None:
        tasks.append(asyncio.current_task())

    parked.run(request())
    await turns()
    tasks[0].cancel()
    await turns()
    assert tasks[0].done()
    parked.run(request())
    await turns()
    assert tasks[1] is not tasks[0]
    await ended(parked)


def test_a_loop_that_shuts_down_does_not_wait_for_a_parked_task_for_ever() -> None:
    kept: list[Parked] = []

    async def main() -> None:
        parked = make()
        kept.append(parked)
        parked.run(asyncio.sleep(0))
        await turns()

    asyncio.run(asyncio.wait_for(main(), 30))


async def test_a_foreign_cancellation_before_the_first_step_does_not_drop_the_run(
    loop_factory: Loops,
) -> None:
    parked, seen = make(), list[str]()
    before = asyncio.all_tasks()
    parked.run(told_of(parked, seen, "request"))
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await turns(8)
    assert seen == ["request"]
    await ended(parked)
    assert seen == ["request", "request called off"]


async def test_left_work_ends_in_its_own_time_while_the_next_run_has_another_task(
    loop_factory: Loops,
) -> None:
    parked, seen = make(), list[str]()
    future: list[Future[None]] = []

    async def session() -> None:
        future.append(asyncio.get_running_loop().create_future())
        await future[0]
        seen.append("session over")

    async def request() -> None:
        await asyncio.sleep(0)
        seen.append("request")

    parked.run(session())
    await turns()
    parked.leave()
    parked.run(request())
    gc.collect()  # nobody but the driver holds a task that was left
    await turns()
    assert seen == ["request"]
    future[0].set_result(None)
    await turns()
    assert seen == ["request", "session over"]
    await ended(parked)


async def test_leave_starts_what_was_queued_behind(loop_factory: Loops) -> None:
    parked, seen = make(), list[str]()

    async def request() -> None:
        seen.append("request")

    parked.run(told_of(parked, seen, "session"))
    await turns()
    session = parked._task
    parked.run(request())
    parked.leave()
    await turns()
    assert seen == ["session", "request"]
    assert session is not None
    session.cancel()
    await ended(parked)


@pytest.mark.parametrize("when", ["before", "parked", "queued"])
async def test_leave_where_nothing_runs_is_nothing(loop_factory: Loops, when: str) -> None:
    parked, seen = make(), list[str]()

    async def request() -> None:
        seen.append("request")

    if when == "parked":
        parked.run(request())
        await turns()
        parked.leave()
        parked.run(request())
    elif when == "queued":
        parked.run(request())
        parked.leave()
    else:
        parked.leave()
        parked.run(request())
    await turns()
    assert set(seen) == {"request"}
    await ended(parked)


async def test_a_defect_is_reported_and_the_next_run_is_served(loop_factory: Loops) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    parked, seen = make(), list[str]()

    async def request(error: BaseException | None) -> None:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        seen.append("served")

    group = BaseExceptionGroup("both", [CancelledError(), ValueError("inner")])
    for error in (ValueError("defect"), CancelledError(), group, None):
        parked.run(request(error))
        await turns(8)
    assert seen == ["served"]
    assert [context["exception"] for context in told] == [told[0]["exception"], group]
    assert str(told[0]["exception"]) == "defect"
    await ended(parked)


async def test_timeouts_task_groups_and_current_task_work_inside(loop_factory: Loops) -> None:
    parked, seen = make(), list[object]()

    async def request() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(30)
        except TimeoutError:
            seen.append("timeout")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        seen.append(asyncio.current_task())

    tasks = []
    for _ in range(2):
        future = asyncio.get_running_loop().create_future()

        async def both(future: Future[None] = future) -> None:
            await request()
            future.set_result(None)

        parked.run(both())
        await future
        await turns()
        tasks.append(seen.pop())
    assert seen == ["timeout", "timeout"]
    assert tasks[0] is tasks[1]
    await ended(parked)


async def test_the_task_at_work_is_the_one_that_asyncio_names(loop_factory: Loops) -> None:
    loop = asyncio.get_running_loop()
    assert task_on(loop) is asyncio.current_task() is not None
    seen: list[Any] = []
    loop.call_soon(lambda: seen.append(task_on(loop)))
    await asyncio.sleep(0)
    assert seen == [None], "a callback is no task"
    other = asyncio.new_event_loop()
    assert task_on(other) is None
    other.close()


def test_where_python_keeps_no_table_of_tasks_asyncio_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(asyncio.tasks, "_current_tasks")
    assert drivers._finder() is asyncio.current_task
