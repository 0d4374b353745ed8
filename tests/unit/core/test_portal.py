"""The portal: from code without an event loop into one, and back with what came of it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, assert_type

import pytest

from switchgear.core import portal as module
from switchgear.core.outcome import Failed
from switchgear.core.portal import Portal, run
from switchgear.policy.fault import Code, Fault

Loops = Callable[[], asyncio.AbstractEventLoop]

mine: ContextVar[str] = ContextVar("mine", default="nobody's")


@pytest.fixture
def portal(loop_factory: Loops) -> Iterator[Portal]:
    portal = Portal("test-portal", loop_factory)
    yield portal
    portal.close()


async def double(number: int, *, plus: int = 0) -> int:
    await asyncio.sleep(0)
    return 2 * number + plus


async def where() -> tuple[str, asyncio.AbstractEventLoop]:
    return threading.current_thread().name, asyncio.get_running_loop()


class Hanging:
    """Async work that ends only when it is called off, and notes that."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0.01)
            self.ended.set()


class Meanwhile:
    """Calls in another thread, and what came of them."""

    def __init__(self, portal: Portal, work: Callable[[], Any]) -> None:
        self.results: list[Any] = []
        self.thread = threading.Thread(target=self._call, args=(portal, work))
        self.thread.start()

    def _call(self, portal: Portal, work: Callable[[], Any]) -> None:
        try:
            self.results.append(portal.run(work))
        except Fault as fault:
            self.results.append(fault)

    def fault(self) -> Fault:
        self.thread.join(20.0)
        (fault,) = self.results
        assert isinstance(fault, Fault)
        assert fault.code is Code.CANCELLED
        return fault


def test_arguments_go_in_and_the_result_comes_out(portal: Portal) -> None:
    result = portal.run(double, 20, plus=2)
    assert_type(result, int)
    assert result == 42


def test_an_error_is_raised_in_the_caller(portal: Portal) -> None:
    async def fail(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    for error in (Fault(Code.NOT_FOUND), KeyError("k"), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            portal.run(fail, error)
        assert caught.value is error
    assert portal.run(double, 1) == 2, "an exit ends the call, not the loop"


def test_one_loop_in_one_thread_serves_all(portal: Portal) -> None:
    assert threading.active_count() >= 1
    first, loop = portal.run(where)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(portal.run(where))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert first == "test-portal"
    assert results == [("test-portal", loop)] * 5


def test_calls_of_several_threads_run_at_the_same_time(portal: Portal) -> None:
    barrier: list[asyncio.Event] = []

    async def meet(count: int) -> str:
        barrier.append(asyncio.Event())
        while len(barrier) < count:
            await asyncio.sleep(0.001)
        return "met"

    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(portal.run(meet, 3))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert results == ["met"] * 3


def test_the_context_of_the_caller_goes_along_and_stays_its_own(portal: Portal) -> None:
    async def look() -> str:
        seen = mine.get()
        mine.set("the work's")
        return seen

    token = mine.set("the caller's")
    try:
        assert portal.run(look) == "the caller's"
        assert mine.get() == "the caller's"
    finally:
        mine.reset(token)


async def test_in_a_thread_with_a_running_loop_it_is_refused(
    loop_factory: Loops, portal: Portal
) -> None:
    with pytest.raises(RuntimeError, match="this thread runs an event loop"):
        portal.run(double, 1)
    with pytest.raises(RuntimeError, match="this thread runs an event loop"):
        portal.close()
    assert await asyncio.to_thread(portal.run, double, 1) == 2


def test_in_its_own_thread_it_is_refused(portal: Portal) -> None:
    async def inside() -> int:
        return portal.run(double, 1)

    with pytest.raises(RuntimeError, match="this thread runs an event loop"):
        portal.run(inside)


def test_ctrl_c_calls_the_work_off_and_waits_for_its_end(portal: Portal) -> None:
    work = Hanging()

    async def interrupted() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        await work()

    with pytest.raises(KeyboardInterrupt):
        portal.run(interrupted)
    assert work.ended.is_set()
    assert portal.run(double, 1) == 2


def test_work_that_does_not_end_is_not_waited_for_for_ever(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    release = threading.Event()
    ended = threading.Event()

    async def stubborn() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        portal.run(stubborn)
    assert not ended.is_set()
    release.set()
    assert ended.wait(20.0)


def test_work_that_was_called_off_by_somebody_else_is_a_fault(portal: Portal) -> None:
    async def off() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(Fault, match="the work in the portal was called off") as caught:
        portal.run(off)
    assert caught.value.code is Code.CANCELLED


def test_what_is_not_async_is_told_of(portal: Portal) -> None:
    with pytest.raises(TypeError):
        portal.run(len, "abc")  # type: ignore[arg-type]  # that is what is refused


def test_closing_ends_what_runs_and_the_next_call_begins_anew(portal: Portal) -> None:
    work = Hanging()
    _, loop = portal.run(where)
    meanwhile = Meanwhile(portal, work)
    assert work.begun.wait(20.0)
    portal.close()
    assert meanwhile.fault().detail == "the work in the portal was called off"
    assert work.ended.is_set()
    assert loop.is_closed()
    portal.close()
    name, another = portal.run(where)
    assert (name, another is loop) == ("test-portal", False)


def test_calls_and_closings_together_leave_nobody_waiting(portal: Portal) -> None:
    """Whatever the moment, a call has its result or a fault that says it was called off."""
    results: list[Any] = []

    def call() -> None:
        for _ in range(50):
            try:
                results.append(portal.run(double, 1))
            except Fault as fault:
                results.append(fault.code)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        portal.close()
    for thread in threads:
        thread.join(20.0)
    assert len(results) == 150
    assert set(results) <= {2, Code.CANCELLED}


def _broken() -> None:
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("then", ["run", "close"])
def test_a_loop_that_somebody_else_ended_is_replaced(portal: Portal, then: str) -> None:
    work = Hanging()
    meanwhile = Meanwhile(portal, work)
    assert work.begun.wait(20.0)
    _, loop = portal.run(where)
    loop.call_soon_threadsafe(_broken)
    assert meanwhile.fault().detail == "the work in the portal was called off"
    assert work.ended.is_set()
    station = portal._station
    assert station is not None
    station._thread.join(20.0)
    assert loop.is_closed()
    if then == "close":
        portal.close()
    assert portal.run(double, 1) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_was_taken_by_a_loop_that_ends_is_told_of(portal: Portal) -> None:
    """It had not begun: it begins, so that it can be called off."""
    _, loop = portal.run(where)
    station = portal._station
    assert station is not None
    go = threading.Event()
    loop.call_soon_threadsafe(go.wait, 20.0)
    loop.call_soon_threadsafe(_broken)
    meanwhile = Meanwhile(portal, Hanging())
    while not station._errands:
        time.sleep(0)
    go.set()
    assert meanwhile.fault().detail == "the work in the portal was called off"
    station._thread.join(20.0)
    assert loop.is_closed()


def test_work_that_a_loop_has_left_at_its_end_is_told_of(portal: Portal) -> None:
    portal.run(where)
    station = portal._station
    assert station is not None
    errand = module._Errand(hang_never)
    station._errands.add(errand)  # taken, and yet never begun
    portal.close()
    outcome = errand.ended.result(0)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Fault)
    assert outcome.error.detail == "the loop was closed before the work had ended"


def test_an_interruption_after_the_end_changes_nothing() -> None:
    loop = asyncio.new_event_loop()
    errand = module._Errand(hang_never)
    errand.send(loop)
    loop.close()
    errand.call_off()
    errand.lose()
    first = errand.ended.result(0)
    errand.lose()
    assert errand.ended.result(0) is first


async def hang_never() -> None:
    """Never begun."""


def test_a_loop_that_cannot_be_made_is_told_of() -> None:
    def broken() -> asyncio.AbstractEventLoop:
        raise OSError("no more descriptors")

    portal = Portal(loop_factory=broken)
    with pytest.raises(OSError, match="no more descriptors"):
        portal.run(double, 1)
    portal.close()


def test_an_interruption_before_it_was_sent_off_is_raised(portal: Portal) -> None:
    def interrupted(errand: Any) -> None:
        raise KeyboardInterrupt

    portal._send = interrupted  # type: ignore[method-assign]  # where a signal may come
    with pytest.raises(KeyboardInterrupt):
        portal.run(double, 1)


def test_a_forked_child_begins_without_a_loop(portal: Portal) -> None:
    _, loop = portal.run(where)
    station = portal._station
    assert station is not None
    portal._lock.acquire()  # as a thread may have held it when the process was forked
    module._after_fork()
    assert portal._station is None
    inherited = list(module._inherited)  # that of the process, too, if it has begun
    assert station in inherited
    _, another = portal.run(where)
    assert another is not loop
    module._inherited.clear()
    for one in inherited:
        one.close()


def test_at_the_end_of_the_process_its_loops_end(portal: Portal) -> None:
    _, loop = portal.run(where)
    module._at_exit()
    assert loop.is_closed()


SCRIPT = """
import asyncio, os, sys, threading
from switchgear.core.portal import run

async def pid():
    await asyncio.sleep(0)
    return os.getpid()

async def hang():
    await asyncio.get_running_loop().create_future()

assert run(pid) == os.getpid()
child = os.fork()
assert run(pid) == os.getpid()
if not child:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
threading.Thread(target=run, args=(hang,), daemon=True).start()
print("over")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: needs fork")
def test_a_process_that_is_forked_and_ends_while_work_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr


def test_the_portal_of_the_process() -> None:
    assert run(double, 21) == 42
    name, loop = run(where)
    assert name == "switchgear-portal"
    assert run(where) == (name, loop)
    module._at_exit()
