"""Threads: a blocking function under a policy, which nobody can kill and nobody forgets."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import assert_type

import pytest

from switchgear.core import threads as module
from switchgear.core.endings import follow, streams
from switchgear.core.policy import Policy
from switchgear.core.threads import Lingering, Threads, _Run, in_thread, lingering
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD_AGAIN, GOOD, NEUTRAL, Verdict

Loops = Callable[[], asyncio.AbstractEventLoop]

mine: ContextVar[str] = ContextVar("mine", default="nobody's")


class Gateway:
    """A blocking function that ends when it is told to, and says when it has begun."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(20.0), "nobody let it go"
        if self.error is not None:
            raise self.error
        return "done"


@pytest.fixture
def pool() -> Iterator[Threads]:
    pool = Threads("mail", 2)
    yield pool
    pool.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def left_in(pool: Threads, gateway: Gateway) -> tuple[BaseException, Lingering]:
    """Call a function in a thread, and leave while it runs."""
    task = asyncio.create_task(pool.run(gateway))
    await until(gateway.begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    left = lingering(caught.value)
    assert left is not None
    return caught.value, left


async def test_it_returns_and_raises_what_the_function_does(
    loop_factory: Loops, pool: Threads
) -> None:
    def divide(a: int, b: int = 1) -> float:
        """Divide."""
        return a / b

    divided = in_thread(divide, pool)
    assert (divided.__name__, divided.__doc__) == ("divide", "Divide.")
    result = await divided(6, b=3)
    assert_type(result, float)
    assert result == 2.0
    with pytest.raises(ZeroDivisionError) as caught:
        await divided(6, b=0)
    assert lingering(caught.value) is None


async def test_errors_that_no_future_takes_come_through_too(
    loop_factory: Loops, pool: Threads
) -> None:
    def stop() -> None:
        raise StopIteration("no more")

    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(stop)
    with pytest.raises(SystemExit):
        await pool.run(sys.exit, 3)


async def test_it_runs_in_a_named_daemon_thread_with_the_context_of_the_caller(
    loop_factory: Loops, pool: Threads
) -> None:
    def look() -> tuple[str, bool, str]:
        seen = mine.get()
        mine.set("the thread's")
        thread = threading.current_thread()
        return thread.name, thread.daemon, seen

    mine.set("the caller's")
    assert await pool.run(look) == ("mail-1", True, "the caller's")
    assert mine.get() == "the caller's"
    assert pool.statistics()["threads"] == 1


async def test_threads_are_made_as_needed_and_no_more_than_so_many(
    loop_factory: Loops, pool: Threads
) -> None:
    assert pool.statistics() == {"threads": 0, "idle": 0, "queued": 0, "lingering": 0}
    gateways = [Gateway() for _ in range(3)]
    tasks = [asyncio.create_task(pool.run(gateway)) for gateway in gateways]
    await until(lambda: gateways[0].begun.is_set() and gateways[1].begun.is_set())
    assert pool.statistics() == {"threads": 2, "idle": 0, "queued": 1, "lingering": 0}
    assert not gateways[2].begun.is_set()
    for gateway in gateways:
        gateway.go.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3
    await until(lambda: pool.statistics()["idle"] == 2)
    assert await pool.run(lambda: "again") == "again"
    assert pool.statistics()["threads"] == 2


async def test_an_idle_thread_is_used_before_another_is_made(
    loop_factory: Loops, pool: Threads
) -> None:
    for _ in range(5):
        await pool.run(lambda: None)
        await until(lambda: pool.statistics()["idle"] == 1)
    assert pool.statistics()["threads"] == 1


async def test_as_many_run_at_once_as_there_are_workers(loop_factory: Loops) -> None:
    """Each waits for all the others: with one thread fewer it would never end."""
    pool = Threads("mail", 8)
    barrier = threading.Barrier(8)
    for _ in range(20):
        await asyncio.gather(*(pool.run(barrier.wait, 20.0) for _ in range(8)))
    assert pool.statistics()["threads"] == 8
    pool.close()


async def test_the_caller_leaves_at_once_and_the_work_is_told_of_at_its_end(
    loop_factory: Loops, pool: Threads
) -> None:
    loop = asyncio.get_running_loop()
    gateway = Gateway()
    _, left = await left_in(pool, gateway)
    told: list[tuple[Verdict, bool]] = []
    ended = asyncio.Event()

    def done(verdict: Verdict) -> None:
        told.append((verdict, asyncio.get_running_loop() is loop))
        ended.set()

    left.on_end(done)
    left.abandon()
    await asyncio.sleep(0)
    assert (left.ended, told) == (False, [])
    assert pool.statistics()["lingering"] == 1
    gateway.go.set()
    await ended.wait()
    await asyncio.sleep(0.01)
    assert told == [(GOOD, True)]
    assert left.ended
    assert pool.statistics()["lingering"] == 0
    left.on_end(done)
    assert told == [(GOOD, True)] * 2, "what has ended is told of at once"


async def test_a_late_failure_is_a_verdict_and_the_worse_one_counts(
    loop_factory: Loops, pool: Threads
) -> None:
    for error, late, head, in_all in (
        (ConnectionResetError(), BAD_AGAIN, NEUTRAL, BAD_AGAIN),
        (None, GOOD, NEUTRAL, NEUTRAL),
        (None, GOOD, BAD_AGAIN, BAD_AGAIN),
        (Fault(Code.NOT_FOUND), GOOD, NEUTRAL, NEUTRAL),
    ):
        gateway = Gateway(error)
        _, left = await left_in(pool, gateway)
        assert streams(left), "a frame may follow it as it follows a stream"
        told: list[Verdict] = []
        left.on_end(told.append)
        follow(left, head, told.append)
        gateway.go.set()

        def both(told: list[Verdict] = told) -> bool:
            return len(told) == 2

        await until(both)
        assert told == [late, in_all]


async def test_what_no_thread_has_begun_never_runs(loop_factory: Loops, pool: Threads) -> None:
    gateways = [Gateway() for _ in range(3)]
    tasks = [asyncio.create_task(pool.run(gateway)) for gateway in gateways]
    await until(lambda: gateways[0].begun.is_set() and gateways[1].begun.is_set())
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await tasks[2]
    assert lingering(caught.value) is None
    assert pool.statistics()["lingering"] == 0
    for gateway in gateways:
        gateway.go.set()
    await asyncio.gather(*tasks[:2])
    await pool.run(lambda: None)  # the queue is behind it
    assert gateways[2].calls == 0


async def test_a_call_thrown_away_is_counted(loop_factory: Loops, pool: Threads) -> None:
    gateway = Gateway()
    coroutine = pool.run(gateway)
    coroutine.send(None)
    await until(gateway.begun.is_set)
    coroutine.close()
    assert pool.statistics()["lingering"] == 1
    gateway.go.set()
    await until(lambda: pool.statistics()["lingering"] == 0)


async def test_the_work_is_found_behind_what_was_made_of_the_cancellation(
    loop_factory: Loops, pool: Threads
) -> None:
    gateway = Gateway()
    error, left = await left_in(pool, gateway)
    gateway.go.set()
    for why in (error, None, ValueError("beside it")):
        with pytest.raises(KeyError) as last:
            try:
                raise error
            except BaseException:
                try:
                    raise Fault(Code.DEADLINE_EXCEEDED) from why
                except Fault as fault:
                    raise KeyError("of user code") from fault
        assert lingering(last.value) is left
    gateway = Gateway()
    with pytest.raises(TimeoutError) as timed_out:
        async with asyncio.timeout(0.01):
            await pool.run(gateway)
    assert lingering(timed_out.value) is not None
    gateway.go.set()


async def test_the_work_is_found_in_a_group(loop_factory: Loops, pool: Threads) -> None:
    """A policy around a task group keeps its place, too, as long as the work goes on."""
    first, second = Gateway(), Gateway()
    (one, over), (other, left) = await left_in(pool, first), await left_in(pool, second)
    first.go.set()
    await until(lambda: over.ended)
    for members in ([one, other], [KeyError(), other, one]):
        assert lingering(BaseExceptionGroup("several", members)) is left
        inner = BaseExceptionGroup("inner", members)
        assert lingering(BaseExceptionGroup("outer", [ValueError(), inner])) is left
    second.go.set()
    await until(lambda: left.ended)
    assert lingering(BaseExceptionGroup("several", [one, other])) in (over, left)
    assert lingering(ExceptionGroup("several", [KeyError()])) is None


async def test_a_policy_around_a_task_group_keeps_its_place(loop_factory: Loops) -> None:
    gateway = Gateway()
    inner, outer = Policy("inner", deadline=0.05), Policy("outer", deadline=20.0)

    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(inner.call_in_thread(gateway))

    with pytest.raises(ExceptionGroup):
        await outer.call(together)
    for policy in (inner, outer):
        assert policy.statistics()["bulkhead"]["out"] == 1, "it hangs in its thread"
    gateway.go.set()
    await until(lambda: not outer.statistics()["bulkhead"]["out"])
    assert inner.statistics()["bulkhead"]["out"] == 0


def test_an_error_that_is_its_own_cause_has_left_nothing() -> None:
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert lingering(first) is None
    assert lingering(KeyError()) is None


def test_a_loop_that_is_closed_meanwhile_harms_nobody(loop_factory: Loops, pool: Threads) -> None:
    gateway = Gateway()
    told: list[Verdict] = []
    ended = threading.Event()

    def done(verdict: Verdict) -> None:
        told.append(verdict)
        ended.set()

    async def leave() -> None:
        _, left = await left_in(pool, gateway)
        left.on_end(done)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(leave())
    gateway.go.set()
    assert ended.wait(20.0), "a permit comes home, even to nobody"
    assert told == [GOOD]


def test_a_caller_whose_loop_is_closed_over_the_wait_harms_nobody(pool: Threads) -> None:
    gateway = Gateway()
    loop = asyncio.new_event_loop()
    coroutine = pool.run(gateway)

    async def begin() -> None:
        coroutine.send(None)
        await until(gateway.begun.is_set)

    loop.run_until_complete(begin())
    loop.close()
    gateway.go.set()
    with asyncio.Runner() as runner:
        assert runner.run(pool.run(lambda: "still there")) == "still there"
    coroutine.close()


class Thing:
    """Something that is freed as soon as nobody holds it."""


class HeldError(Exception):
    """An error of which the same can be seen."""


async def test_an_idle_thread_and_an_error_hold_nothing(loop_factory: Loops, pool: Threads) -> None:
    def fail(thing: Thing) -> None:
        raise HeldError

    async def call() -> tuple[weakref.ref[Thing], weakref.ref[HeldError]]:
        thing = Thing()
        try:
            await pool.run(fail, thing)
        except HeldError as error:
            return weakref.ref(thing), weakref.ref(error)
        raise AssertionError("it did not fail")

    gc.disable()
    try:
        thing, error = await call()
        await until(lambda: pool.statistics()["idle"] == 1)
        await asyncio.sleep(0)
        assert (thing(), error()) == (None, None)
    finally:
        gc.enable()


async def test_idle_threads_end(
    loop_factory: Loops, pool: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.01)
    await pool.run(lambda: None)
    await until(lambda: pool.statistics()["threads"] == 0)
    assert pool.statistics()["idle"] == 0
    assert await pool.run(lambda: threading.current_thread().name) == "mail-2"


async def test_a_closed_pool_takes_nothing_and_its_threads_end(loop_factory: Loops) -> None:
    pool = Threads("mail", 1)
    gateway = Gateway()
    tasks = [asyncio.create_task(pool.run(gateway)) for _ in range(2)]
    await until(gateway.begun.is_set)
    pool.close()
    with pytest.raises(RuntimeError, match="the threads of 'mail' are closed") as caught:
        await pool.run(lambda: None)
    assert lingering(caught.value) is None
    gateway.go.set()
    assert await asyncio.gather(*tasks) == ["done", "done"], "what was given is still run"
    await until(lambda: pool.statistics()["threads"] == 0)


async def test_closing_wakes_idle_threads(loop_factory: Loops) -> None:
    pool = Threads("mail", 1)
    await pool.run(lambda: None)
    await until(lambda: pool.statistics()["idle"] == 1)
    pool.close()
    await until(lambda: pool.statistics()["threads"] == 0)


async def test_a_system_without_threads_is_told_of(
    loop_factory: Loops, pool: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await pool.run(lambda: None)
    assert pool.statistics() == {"threads": 0, "idle": 0, "queued": 0, "lingering": 0}
    assert await pool.run(lambda: "now") == "now"


def test_there_is_at_least_one_worker() -> None:
    with pytest.raises(ValueError, match="threads of 'mail': 0 workers"):
        Threads("mail", 0)


async def test_a_forked_child_begins_without_threads(loop_factory: Loops, pool: Threads) -> None:
    await pool.run(lambda: None)
    pool._change.acquire()  # as a thread may have held it when the process was forked
    module._after_fork()
    assert pool.statistics() == {"threads": 0, "idle": 0, "queued": 0, "lingering": 0}
    assert await pool.run(lambda: "in the child") == "in the child"
    pool.close()
    module._after_fork()
    with pytest.raises(RuntimeError, match="are closed"):
        await pool.run(lambda: None)


SCRIPT = """
import asyncio, os, sys, threading
from switchgear.core.threads import Threads

pool = Threads("mail", 1)
def stuck():
    threading.Event().wait()

async def main():
    assert await pool.run(lambda: 1) == 1
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    child = os.fork()
    if not child:
        asyncio._set_running_loop(loop)  # Python 3.14 has forgotten it, and the task
        if asyncio.current_task() is None:
            asyncio._enter_task(loop, task)
        return
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    task = asyncio.create_task(pool.run(stuck))
    await asyncio.sleep(0.05)
    task.cancel()

pid = os.getpid()
asyncio.run(main())
if os.getpid() != pid:
    os._exit(7 if asyncio.run(pool.run(lambda: 5)) == 5 else 1)
print("over")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: needs fork")
def test_a_process_with_a_stuck_thread_ends_and_a_child_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


@pytest.mark.virtual
async def test_virtual_time_waits_for_a_thread(pool: Threads) -> None:
    assert await pool.run(lambda: "answer") == "answer"


async def test_what_is_called_off_before_a_thread_takes_it_is_not_held(pool: Threads) -> None:
    gateways = [Gateway() for _ in range(2)]
    busy = [asyncio.create_task(pool.run(gateway)) for gateway in gateways]
    for gateway in gateways:
        await until(gateway.begun.is_set)
    waiting = [asyncio.create_task(pool.run(print, number)) for number in range(20)]
    await until(lambda: pool.statistics()["queued"] == 20)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert pool.statistics()["queued"] == 0
    for gateway in gateways:
        gateway.go.set()
    assert await asyncio.gather(*busy) == ["done", "done"]


async def test_work_that_hangs_for_another_is_nothing_to_who_is_asked_in_its_place() -> None:
    """The failure of the first is the context of all that follows, and of its work as well."""
    hanging, first, second = Gateway(), Policy("first", deadline=0.05), Policy("second")

    async def broken() -> None:
        raise ValueError

    async def call() -> None:
        await second.call(broken)

    async def block() -> None:
        async with second:
            await broken()

    try:
        for instead in (call, block):
            with pytest.raises(ValueError):
                try:
                    await first.call_in_thread(hanging)
                except Fault:
                    await instead()
        told = second.statistics()
        assert first.statistics()["bulkhead"]["out"] == 2
        assert (told["bulkhead"]["out"], told["calls"]["zombies"]) == (0, 0)
    finally:
        hanging.go.set()
    await until(lambda: first.statistics()["bulkhead"]["out"] == 0)


async def test_what_a_thread_has_just_taken_is_looked_for_in_vain(pool: Threads) -> None:
    pool._forget(_Run(lambda: None))
    assert pool.statistics()["queued"] == 0


def test_what_is_called_off_as_a_thread_takes_it_is_not_begun() -> None:
    """The thread has it out of the line by then, and nobody else can take it out any more."""
    begun: list[int] = []
    run = _Run(lambda: begun.append(1))
    assert run.future.cancel()
    run()
    assert begun == []
    assert run.future.cancelled()
