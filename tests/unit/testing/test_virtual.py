"""Virtual time: it jumps, it never waits, and it says when nothing can wake."""

import asyncio
import gc
import math
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from switchgear import Policy
from switchgear.testing import virtual
from switchgear.testing.virtual import START, Stuck, VirtualLoop, clock


def test_a_day_passes_at_once() -> None:
    async def sleeper() -> float:
        await asyncio.sleep(86_400)
        return clock()

    began = time.process_time()
    assert virtual.run(sleeper()) == START + 86_400
    assert time.process_time() - began < 5  # CPU seconds: it did not spin through the day either


def test_the_clock_stands_still_while_callbacks_run() -> None:
    async def busy() -> set[float]:
        seen = set()
        for _ in range(100):
            await asyncio.sleep(0)
            seen.add(clock())
        return seen

    assert virtual.run(busy()) == {START}


def test_timers_fire_in_order_and_never_early() -> None:
    async def main() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[float, float]] = []

        def fire(at: float) -> None:
            fired.append((at, loop.time()))

        for delay in (0.3, 0.1, 0.1 + 0.2, 7e7, 0.2):
            at = loop.time() + delay
            loop.call_at(at, fire, at)
        await asyncio.sleep(1e8)
        return fired

    fired = virtual.run(main())
    assert len(fired) == 5
    assert fired == sorted(fired)
    assert all(0 <= seen - at < 1e-7 for at, seen in fired)


def test_timeouts_end_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return clock()

    assert virtual.run(main()) == START + 30


def test_a_cancelled_timer_is_no_reason_to_jump() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(5, print).cancel()
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        virtual.run(main())


def test_stuck_names_every_task_and_where_it_waits() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(), name="left")
            group.create_task(inner(), name="right")

    with pytest.raises(Stuck) as stuck:
        virtual.run(main())
    text = str(stuck.value)
    here = r"test_stuck_names_every_task_and_where_it_waits.<locals>"
    line = inner.__code__.co_firstlineno + 1
    assert f"  left in {here}.inner, test_virtual.py:{line} (Event.wait)\n" in text
    assert f"  right in {here}.inner, test_virtual.py:{line} (Event.wait)" in text
    line = main.__code__.co_firstlineno + 1
    assert f" in {here}.main, test_virtual.py:{line} (TaskGroup._" in text


@pytest.mark.pure  # nobody sees through coroutines of mypyc
def test_stuck_names_a_line_of_whose_test_it_is_below_a_policy() -> None:
    async def ask() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        policy = Policy("mail", deadline=None, coalesce=lambda: 1)
        await policy.call(ask)

    with pytest.raises(Stuck) as stuck:
        virtual.run(main())
    text = str(stuck.value)
    line = ask.__code__.co_firstlineno + 1
    assert re.search(rf"<locals>\.ask, test_virtual\.py:{line}$", text, re.MULTILINE)
    line = main.__code__.co_firstlineno + 2
    assert re.search(rf"<locals>\.main, test_virtual\.py:{line} \(.+\)$", text, re.MULTILINE)


def test_who_sleeps_for_ever_never_wakes() -> None:
    """As code does that is to be called off (`anyio.sleep_forever`): no time comes for it."""

    async def main() -> float:
        sleeper = asyncio.create_task(asyncio.sleep(math.inf))
        await asyncio.sleep(60.0)
        sleeper.cancel()
        return clock()

    assert virtual.run(main()) == START + 60.0
    with pytest.raises(Stuck, match=r"  Task-\d+ in sleep, tasks\.py:\d+"):
        virtual.run(asyncio.sleep(math.inf))


def test_stuck_names_a_library_where_no_line_is_of_the_test() -> None:
    async def main() -> None:
        lonely = asyncio.create_task(asyncio.Event().wait(), name="lonely")
        await asyncio.wait([lonely])

    with pytest.raises(Stuck, match=r"  lonely in Event\.wait, locks\.py:\d+"):
        virtual.run(main())


def test_stuck_ends_the_tasks_that_waited() -> None:
    ended = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(Stuck):
        virtual.run(main())
    assert ended == [True]


def test_time_that_cannot_pass_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "TURNS", 1000)
    ended: list[str] = []

    async def polls() -> None:
        try:
            while True:
                await asyncio.sleep(0)
        finally:
            ended.append("polls")

    async def main() -> None:
        task = asyncio.create_task(polls())
        await asyncio.sleep(10)
        task.cancel()

    with pytest.raises(Stuck, match=r"^time stands still: something was ready in ") as told:
        virtual.run(main())
    assert "main, test_virtual.py" in str(told.value)
    assert "polls, test_virtual.py" in str(told.value)
    assert ended == ["polls"]


def test_the_turns_of_an_instant_begin_anew_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "TURNS", 1000)

    async def main() -> None:
        for _ in range(5):
            for _ in range(600):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)

    virtual.run(main())


def test_whoever_polls_for_a_thread_may_do_so_for_as_long_as_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtual, "TURNS", 10)
    polled = threading.Event()

    async def main() -> None:
        thread = asyncio.create_task(asyncio.to_thread(polled.wait, 30))
        for _ in range(100):
            await asyncio.sleep(0)
        polled.set()
        assert await thread

    virtual.run(main())


def test_a_thread_is_waited_for_and_takes_no_virtual_time() -> None:
    gate = threading.Event()

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        loop.call_later(3600, gate.set)  # a timer must not be jumped to while a thread works
        loop.call_soon(gate.set)
        word = await asyncio.to_thread(lambda: "done" if gate.wait(30) else "starved")
        return word, clock()

    assert virtual.run(main()) == ("done", START)


def test_a_call_from_another_thread_wakes_the_loop() -> None:
    async def main() -> float:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        other = threading.Thread(target=loop.call_soon_threadsafe, args=(woken.set,))
        other.start()
        other.join()
        await woken.wait()
        return clock()

    assert virtual.run(main()) == START


@pytest.mark.parametrize(
    "use",
    [
        lambda loop, _: loop.create_connection(asyncio.Protocol, "127.0.0.1", 1),
        lambda loop, _: loop.create_server(asyncio.Protocol, "127.0.0.1", 0),
        lambda loop, _: loop.create_unix_connection(asyncio.Protocol, "nowhere"),
        lambda loop, _: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
        lambda loop, sock: loop.sock_recv(sock, 1),
        lambda loop, sock: loop.add_reader(sock, print),
        lambda loop, _: loop.getaddrinfo("localhost", 80),
        lambda loop, _: loop.add_signal_handler(10, print),
        lambda loop, sock: loop._add_reader(sock.fileno(), print),
    ],
)
def test_the_real_world_is_refused(use: Callable[[Any, socket.socket], Any]) -> None:
    left, right = socket.socketpair()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="is of the real world"):
            await use(asyncio.get_running_loop(), left)

    with left, right:
        virtual.run(main())


@pytest.mark.filterwarnings("error")  # a coroutine that nobody awaited, a loop that nobody closed
def test_it_does_not_begin_within_a_loop_and_leaves_nothing_behind() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"^run\(\.\.\.\) begins a loop of its own, a"):
            virtual.run(inner())
        with pytest.raises(RuntimeError, match="begins a loop of its own"):
            virtual.run(None)  # type: ignore[arg-type]  # the first thing to mend is where it is

    asyncio.run(main())
    gc.collect()


def test_the_clock_refuses_a_real_loop() -> None:
    async def main() -> float:
        return clock()

    with pytest.raises(RuntimeError, match="virtual time"):
        asyncio.run(main())


@pytest.mark.virtual
async def test_a_marked_test_runs_on_the_virtual_loop() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    await asyncio.sleep(1e6)
    assert clock() == START + 1e6


async def test_an_async_test_runs_on_each_loop(loop_factory: Any) -> None:
    expected = loop_factory()
    expected.close()
    assert type(asyncio.get_running_loop()) is type(expected)


async def _three(done: list[str]) -> None:
    for step in ("one", "two", "three"):
        await asyncio.sleep(10)
        await asyncio.sleep(0)
        done.append(step)


@pytest.mark.virtual
async def test_advance_lets_all_happen_that_is_due_until_then() -> None:
    done: list[str] = []
    task = asyncio.create_task(_three(done))
    await virtual.advance(9.9)
    assert (done, clock()) == ([], START + 9.9)
    await virtual.advance(10.1)  # what is due at the very end has happened, its next turns too
    assert done == ["one", "two"]
    assert clock() == pytest.approx(START + 20)
    await virtual.advance(100)
    assert task.done()
    assert clock() == pytest.approx(START + 120)


@pytest.mark.virtual
async def test_advancing_by_nothing_lets_what_was_started_come_as_far_as_it_can() -> None:
    done: list[int] = []

    async def turns() -> None:
        for number in range(100):
            await asyncio.sleep(0)
            done.append(number)
        await asyncio.to_thread(done.append, 100)
        await asyncio.sleep(1)
        done.append(101)

    task = asyncio.create_task(turns())
    await virtual.advance()
    assert (done[-1], clock()) == (100, START)
    await task


@pytest.mark.virtual
async def test_one_that_is_called_off_while_it_advances_leaves_the_others() -> None:
    at: list[float] = []

    async def other() -> None:
        await virtual.advance(1)
        at.append(clock())

    async def until_idle() -> None:
        await virtual.advance()
        at.append(-1)

    tasks = [asyncio.create_task(other()), asyncio.create_task(until_idle())]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await virtual.advance(2)
    assert at == [START + 1]
    assert tasks[1].cancelled()


async def test_advance_is_refused_in_real_time() -> None:
    with pytest.raises(RuntimeError, match="tells virtual time"):
        await virtual.advance(0.001)
