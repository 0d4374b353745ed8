"""Where a policy is used: on one loop at a time, in the time that passes there."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from switchgear import (
    AdaptiveSettings,
    BucketSettings,
    BulkheadSettings,
    Code,
    Effect,
    Fault,
    Policy,
)
from switchgear.core import here, portal, stack
from switchgear.core.here import HERE
from switchgear.core.permits import wake
from switchgear.core.portal import run_at
from switchgear.policy.gate import ANYONE, Waiting
from switchgear.policy.verdict import NEUTRAL
from switchgear.testing import EventRecorder, clock
from switchgear.testing import run as virtually

Loops = Callable[[], asyncio.AbstractEventLoop]


class App:
    """A loop that runs in another thread, as that of an app does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


@contextmanager
def app(loop_factory: Loops) -> Iterator[App]:
    loop = loop_factory()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield App(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def where() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def takes(seconds: float) -> asyncio.AbstractEventLoop:
    await asyncio.sleep(seconds)
    return asyncio.get_running_loop()


PLACES: dict[str, dict[str, Any]] = {
    "express": {},
    "by its frame": {"hurry": None},
    "without a deadline": {"deadline": None, "timeout": None},
    "by layers": {"key": lambda *_: "k"},
}


@pytest.fixture(params=PLACES.values(), ids=list(PLACES))
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


def test_a_thread_of_an_app_shares_the_policies_of_its_loop(
    loop_factory: Loops, options: dict[str, Any]
) -> None:
    """Else its waiters would wait for a place on one loop that was given back on another."""
    policy = Policy("p", **{"deadline": 20.0, "bulkhead": BulkheadSettings(permits=1), **options})
    background = policy.run(where)
    with app(loop_factory) as ours:
        assert policy.run(where) is background, "nobody else uses it yet"
        assert ours.run(policy.call(where)) is ours.loop, "that of an app goes before"
        holder = asyncio.run_coroutine_threadsafe(policy.call(takes, 0.2), ours.loop)
        began = time.monotonic()
        assert policy.run(where) is ours.loop
        assert holder.done()
        assert time.monotonic() - began < 1.5, "it went on as soon as there was a place"
    assert policy.run(where) is background
    figures = policy.statistics()["bulkhead"]
    assert (figures["out"], figures["admitted"]) == (0, 6)


def test_who_waits_on_the_background_loop_is_woken_from_that_of_an_app(
    loop_factory: Loops, options: dict[str, Any]
) -> None:
    policy = Policy("p", **{"deadline": 20.0, "bulkhead": BulkheadSettings(permits=1), **options})
    waited: list[Any] = []
    with app(loop_factory) as ours:
        holder = asyncio.run_coroutine_threadsafe(policy.call(takes, 0.3), ours.loop)
        while not policy.statistics()["bulkhead"]["out"]:
            time.sleep(0.001)
        policy._stack.kit._desk = Policy("other")._stack.kit._desk  # as if nobody had used it
        thread = threading.Thread(target=lambda: waited.append(policy.run(where)))
        thread.start()
        holder.result(10)
        thread.join(1.5)
        assert len(waited) == 1
        assert waited[0] is not ours.loop


def test_two_loops_at_once_are_refused_and_nobody_is_blamed(
    loop_factory: Loops, options: dict[str, Any]
) -> None:
    seen = EventRecorder()
    policy = Policy("p", observe=seen, **options)
    with app(loop_factory) as one, app(loop_factory) as two:
        one.run(policy.call(where))
        for _ in range(20):
            with pytest.raises(RuntimeError, match="'p' is in use on the event loop of another"):
                two.run(policy.call(where))
        with pytest.raises(RuntimeError, match="call 'run' in this thread, or make another"):
            two.run(_block(policy))
        assert one.run(policy.call(where)) is one.loop
    figures = policy.statistics()
    assert (figures["breaker"]["state"], figures["bulkhead"]["out"]) == ("closed", 0)
    assert figures["calls"]["failed"] == 0
    assert all(
        event.verdict is NEUTRAL for event in seen.events if event.verdict.health.value != "good"
    )
    with app(loop_factory) as three:
        assert three.run(policy.call(where)) is three.loop, "one after the other is well"


async def _block(policy: Policy) -> None:
    async with policy:
        pass


def test_work_on_a_loop_that_stops_is_called_off(loop_factory: Loops) -> None:
    policy = Policy("p", deadline=None, timeout=None, hurry=None)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            policy.run(takes, 60.0)
        except BaseException as error:
            caught.append(error)

    timed = Policy("timed")
    with app(loop_factory) as ours:
        ours.run(timed.call(where))
        thread = threading.Thread(target=lambda: timed.run(takes, 0.0))
        thread.start()
        thread.join()
        assert timed._stack.kit.home is ours.loop
    assert timed._stack.kit.home is None
    with app(loop_factory) as ours:
        ours.run(timed.call(where))
        policy._stack.kit._desk = timed._stack.kit._desk
        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.2)
    thread.join(8)
    assert not thread.is_alive()
    assert "the loop was closed before the work had ended" in str(caught[0])


def test_a_fork_knows_that_no_loop_runs_in_it(loop_factory: Loops) -> None:
    policy = Policy("p")
    with app(loop_factory) as ours:
        ours.run(policy.call(where))
        assert policy._stack.kit.home is ours.loop
        child = os.fork()
        if child == 0:
            well = policy._stack.kit.home is None and policy.run(where) is not ours.loop
            os._exit(0 if well else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_policy_made_in_virtual_time_lives_in_it() -> None:
    async def main() -> float:
        policy = Policy("p", deadline="2s", attempts=1)
        with pytest.raises(Exception, match=r"no answer within 2\.000 s"):
            await policy.call(takes, 100.0)
        return clock()

    assert virtually(main()) == pytest.approx(1002.0, abs=0.1)


def test_one_in_real_time_is_refused_where_time_is_virtual(options: dict[str, Any]) -> None:
    policy = Policy("p", **{"deadline": "2s", **options})
    with pytest.raises(RuntimeError, match="'p' tells real time, and this loop a virtual one"):
        virtually(policy.call(takes, 100.0))
    with pytest.raises(RuntimeError, match=r"or use switchgear\.testing\.overridden"):
        virtually(_block(policy))
    assert policy.statistics()["bulkhead"]["out"] == 0


async def test_a_waiter_that_does_not_sleep_yet_is_not_woken() -> None:
    waiting = Waiting(ANYONE, 0.0, 1.0)
    wake((waiting,))
    waiting.wake = asyncio.get_running_loop().create_future()
    wake((waiting,))
    assert waiting.wake.done()
    wake((waiting,))


def test_work_goes_to_the_background_where_the_loop_of_an_app_is_closed(
    loop_factory: Loops,
) -> None:
    with app(loop_factory) as ours:
        pass
    assert run_at(ours.loop, where) is run_at(None, where)


def test_long_work_on_the_loop_of_an_app_is_waited_for(
    loop_factory: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal, "LOOK", 0.02)
    with app(loop_factory) as ours:
        assert run_at(ours.loop, takes, 0.2) is ours.loop


def test_work_for_a_loop_that_is_blocked_is_taken_back(
    loop_factory: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a handler, say, that waits for the very thread whose work it is: for ever, else."""
    monkeypatch.setattr(portal, "LOOK", 0.02)
    monkeypatch.setattr(portal, "PATIENCE", 0.1)
    policy = Policy("p")
    with app(loop_factory) as ours, ThreadPoolExecutor() as threads:
        ours.run(policy.call(where))

        async def block() -> Any:
            return threads.submit(policy.run, where).result(5)

        with pytest.raises(Fault, match=r"has not taken it within 0\.1 s: is it blocked") as caught:
            ours.run(block())
        assert (caught.value.code, caught.value.effect) == (Code.UNAVAILABLE, Effect.NONE)
        assert policy.run(where) is ours.loop
        assert policy.statistics()["calls"]["good"] == 2, "what was taken back is not done later"


@pytest.mark.parametrize("more", [{}, {"hurry": None}])
async def test_what_a_policy_leads_to_for_a_while(more: dict[str, Any]) -> None:
    policy = Policy("p", **more)
    call: Callable[..., Awaitable[Any]] = policy.call
    assert policy._way is not None
    policy._way.led = led
    assert await call(where) == (where, (), {})
    assert await call(where, 1, two=2) == (where, (1,), {"two": 2})
    policy._way.led = None
    assert await call(where) is asyncio.get_running_loop()


async def led(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function, args, kwargs


def test_a_deadline_holds_in_a_process_that_a_call_has_forked_off(loop_factory: Loops) -> None:
    """A pool of processes does so; there the parent's task is at work no more."""
    policy = Policy("p", deadline="300ms")

    async def hangs() -> None:
        await asyncio.sleep(5.0)

    async def forks() -> int:
        await policy.call(where)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                loop_factory().run_until_complete(policy.call(hangs))
            except Fault as fault:
                code = 0 if fault.code is Code.DEADLINE_EXCEEDED else 2
            finally:
                os._exit(code)
        return os.waitpid(child, 0)[1]

    with app(loop_factory) as ours:
        assert ours.run(forks()) == 0


FULL: dict[str, dict[str, Any]] = {
    **PLACES,
    "adaptive": {"adaptive": AdaptiveSettings(initial=2, least=2, most=2)},
    "limited": {"rate": BucketSettings(rate=99.0, burst=99.0)},
    "observed": {"mode": {"bulkhead": "observe"}},
    "in threads": {},
}


@pytest.mark.parametrize("kind", FULL)
def test_a_process_that_was_forked_off_amid_calls_has_all_the_places(
    loop_factory: Loops, kind: str
) -> None:
    """Nobody gives them back there: it would be refused for good where its parent was busy."""
    bulkhead = BulkheadSettings(permits=2, queue=1)
    policy = Policy("p", **{"deadline": 20.0, "bulkhead": bulkhead, **FULL[kind]})
    go = threading.Event()

    async def hangs() -> None:
        await asyncio.to_thread(go.wait, 20.0)

    async def forks() -> int:
        busy = [
            asyncio.create_task(
                policy.call_in_thread(go.wait, 20.0) if kind == "in threads" else policy.call(hangs)
            )
            for _ in range(3)
        ]
        await asyncio.sleep(0.05)
        busy.pop().cancel()
        if kind == "in threads":
            busy[0].cancel()  # a zombie
            await asyncio.sleep(0.05)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                figures = policy.statistics()
                assert {one.get("out", 0) for one in figures.values()} == {0}
                assert figures["calls"]["zombies"] == 0
                assert policy.run(within_another, policy) == 2
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        go.set()
        await asyncio.wait(busy)
        while policy.statistics()["calls"]["zombies"]:
            await asyncio.sleep(0.001)
        return status

    with app(loop_factory) as ours:
        assert ours.run(forks()) == 0
    figures = policy.statistics()["bulkhead"]
    assert (figures["out"], figures["waiting"], figures["free"]) == (0, 0, 2)


@pytest.mark.parametrize("kind", [kind for kind in FULL if kind != "in threads"])
def test_a_call_that_ends_well_in_what_it_forked_off_gives_no_place_too_many(
    loop_factory: Loops, kind: str
) -> None:
    bulkhead = BulkheadSettings(permits=2, queue=1)
    policy = Policy("p", **{"deadline": 20.0, "bulkhead": bulkhead, **FULL[kind]})

    async def fork() -> int:
        return os.fork()

    async def forks() -> int:
        for _ in range(3):
            await policy.call(where)
        child = await policy.call(fork)
        if child == 0:
            code = 1
            try:
                figures = policy.statistics()["bulkhead"]
                assert (figures["free"], figures["out"]) == (2, 0)
                assert policy.run(within_another, policy) == 2
                figures = policy.statistics()["bulkhead"]
                assert (figures["free"], figures["out"]) == (2, 0)
                code = 0
            finally:
                os._exit(code)
        return (await asyncio.to_thread(os.waitpid, child, 0))[1]

    with app(loop_factory) as ours:
        assert ours.run(forks()) == 0
    assert policy.statistics()["bulkhead"]["free"] == 2


async def within_another(policy: Policy) -> float | str:
    """Say how many of its calls go on, from a call within a call."""

    async def out() -> float | str:
        return policy.statistics()["bulkhead"]["out"]

    return await policy.call(out)


SPLIT = """
import asyncio, os, sys
from switchgear import AdaptiveSettings, BulkheadSettings, Policy

policy = Policy(
    "p",
    deadline=30.0,
    bulkhead=BulkheadSettings(permits=4, queue=2),
    adaptive=AdaptiveSettings(initial=9) if sys.argv[1] == "adaptive" else None,
)

async def main():
    tasks = [asyncio.create_task(policy.call(asyncio.sleep, 0.4)) for _ in range(6)]
    await asyncio.sleep(0.1)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if os.fork() == 0:
        asyncio._set_running_loop(loop)  # Python 3.14 has forgotten it, and the task
        if asyncio.current_task() is None:
            asyncio._enter_task(loop, task)
        return  # as what becomes a daemon does: its copy of the calls is called off
    await asyncio.wait(tasks)
    os.wait()

pid = os.getpid()
asyncio.run(main())
figures = policy.statistics()
told = [figures["bulkhead"][one] for one in ("free", "out", "waiting")]
told.append(figures.get("adaptive", {}).get("in_flight"))
print("parent" if os.getpid() == pid else "child", *told, flush=True)
"""


@pytest.mark.parametrize("adaptive", ["adaptive", "none"])
def test_a_process_that_ends_its_copies_of_the_calls_has_no_more_places_for_it(
    adaptive: str,
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SPLIT, adaptive],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    flying = 0 if adaptive == "adaptive" else None
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{who} 4 0 0 {flying}" for who in ("child", "parent")]


@pytest.mark.pure  # coroutines of mypyc have no end of their own
def test_what_a_closed_loop_had_begun_is_let_go_of(loop_factory: Loops) -> None:
    """Else its calls would hold their places for good, and no later loop get one."""
    policy = Policy("p", bulkhead=BulkheadSettings(permits=2, queue=0), deadline="60s")

    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    async def begin() -> None:
        await asyncio.wait(
            [asyncio.create_task(policy.call(hangs)) for _ in range(2)], timeout=0.01
        )

    loop = loop_factory()
    loop.set_exception_handler(lambda *_: None)  # it tells of the tasks that are let go of
    loop.run_until_complete(begin())
    loop.close()
    del loop

    async def later() -> asyncio.AbstractEventLoop:
        with pytest.raises(Fault, match="is full"):
            await policy.call(where)
        gc.collect()
        return await policy.call(where)

    with app(loop_factory) as ours:
        assert ours.run(later()) is ours.loop
    assert policy.statistics()["bulkhead"]["out"] == 0


def test_a_call_ends_where_it_has_begun_though_the_policy_has_moved(loop_factory: Loops) -> None:
    begun, moved = threading.Event(), threading.Event()
    attempts: list[asyncio.AbstractEventLoop] = []

    async def fails_once() -> str:
        attempts.append(asyncio.get_running_loop())
        if len(attempts) == 1:
            begun.set()
            await asyncio.to_thread(moved.wait, 20.0)
            raise ConnectionResetError
        return "done"

    for options in PLACES.values():
        begun.clear()
        moved.clear()
        attempts.clear()
        policy = Policy("p", repeatable=True, **options)
        with ThreadPoolExecutor(1) as pool, app(loop_factory) as ours:
            told = pool.submit(policy.run, fails_once)
            assert begun.wait(20.0)
            assert ours.run(policy.call(where)) is ours.loop
            moved.set()
            assert told.result(20.0) == "done"
            assert attempts[0] is attempts[1] is not ours.loop
            with pytest.raises(RuntimeError, match="in use on the event loop of another thread"):
                portal.run(policy.call, where)  # what begins there now is refused as ever
            assert ours.run(policy.call(where)) is ours.loop


@pytest.mark.parametrize("clock", [time.perf_counter, clock], ids=["real", "virtual"])
def test_what_is_under_way_is_forgotten_after_a_fork(clock: Any) -> None:
    """In virtual time, too, which the child cannot tell."""
    policy = Policy("p", clock=clock, bulkhead=BulkheadSettings(permits=2))
    bulkhead: Any = policy._made["bulkhead"]
    bulkhead.admit(ANYONE, 1.0)
    policy._stack.frames[0].tally.zombies = 1
    stack._after_fork()
    figures = policy.statistics()
    assert figures["bulkhead"]["free"] == 2
    assert figures["calls"]["zombies"] == 0


def test_a_process_that_was_forked_off_begins_a_place_of_its_own() -> None:
    def forked() -> None:
        before = HERE.place
        assert before.thread == threading.get_ident()
        here._forked()
        assert before.thread == -1, "nobody works there any more"
        assert HERE.place is not before
        assert HERE.place.thread == threading.get_ident()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(forked).result()


# -- copies


@dataclass
class Settings:
    policy: Policy
    names: list[str]


async def test_a_policy_is_the_same_one_in_every_copy() -> None:
    mail = Policy("mail")
    await mail.call(asyncio.sleep, 0)  # it knows of its loop now, of which there is one, too
    settings = Settings(mail, ["a"])
    for same in (copy(mail), deepcopy(settings).policy, asdict(settings)["policy"]):
        assert same is mail
    assert deepcopy(settings).names is not settings.names
    assert mail.anew() is not mail


def test_a_policy_stays_in_its_process_and_says_so() -> None:
    says = r"<Policy 'mail', breaker closed> stays in its process: have the other one make its own"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=says):
            pickle.dumps(Settings(Policy("mail"), []), protocol)


def test_nobody_inherits_from_a_policy_to_be_passed_by() -> None:
    """What a policy has decorated goes by no method of it."""
    base: Any = Policy
    with pytest.raises(TypeError, match=r"Logged\(Policy\): an object that has a Policy"):
        type("Logged", (base,), {})
