"""Virtual time: an event loop that jumps to the next timer instead of waiting for it.

A test of an hour of backoff takes a millisecond, and takes the same path every time. The clock
stands still while callbacks run. When none is ready:

    a thread at work?  -- yes --> wait for it, in real time
           | no
    a timer set?       -- yes --> the clock jumps to it
           | no
    nothing can ever wake: `Stuck`, with the name and the place of every task that waits

One that is always ready, such as a loop around `asyncio.sleep(0)`, has time stand still for ever:
that is `Stuck`, too, after many turns.

Code that takes its clock as an argument lives in the same time: hand it `clock`, or the `time`
of the loop. The outside world does not: sockets, pipes, processes and signals are refused. A thread
(`asyncio.to_thread`) takes no virtual time.
"""

import asyncio
import math
import selectors
import sys
from asyncio import Future, SelectorEventLoop, Task, TimerHandle
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

__all__ = ["START", "Stuck", "VirtualLoop", "advance", "clock", "run"]

Result = TypeVar("Result")

START: Final = 1_000.0
"""Where virtual time begins: not at 0, so that an instant is not mistaken for a duration."""

TURNS: Final = 1_000_000
"""How many turns of the loop one instant may have: a few seconds' worth of doing nothing else."""

_REFUSED: Final = (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "subprocess_exec",
    "subprocess_shell",
)


class Stuck(RuntimeError):  # noqa: N818 - it names the situation that the test is in
    """Nothing can ever wake: no callback is ready, no timer is set, no thread is at work.

    Or some callback is ready in each of very many turns, so that time cannot pass.
    """


class VirtualLoop(SelectorEventLoop):
    """Run callbacks as asyncio does, in a time that only jumps.

    `time()` starts at `START`. The loop knows one descriptor, its own wake-up, through which
    threads report.
    """

    _scheduled: list[TimerHandle]  # asyncio's own heap: its head is where time jumps to

    def __init__(self) -> None:
        self._now = START
        self._threads = 0
        self._idle: list[Future[None]] = []
        self._leap = _Leap()
        super().__init__(self._leap)
        self._leap.loop = self

    def time(self) -> float:
        return self._now

    @property
    def virtual_clock(self) -> Callable[[], float]:
        """The clock that policies take by default which are made while it runs."""
        return clock

    def idle(self) -> "Future[None]":
        """Return what is done when all that can happen at the present instant has happened."""
        future = self.create_future()
        self._idle.append(future)
        return future

    def jump(self) -> None:
        """Set the clock to the earliest timer, or raise `Stuck` where there is none.

        First it wakes who waits for this instant to be over.
        """
        if self._idle:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)
            return
        earliest = self._scheduled[0].when() if self._scheduled else math.inf
        if earliest == math.inf:  # as one sleeps who is to be called off
            nothing = "no callback is ready, no timer is set, no thread is at work"
            raise Stuck(_describe(self, f"nothing can ever wake: {nothing}"))
        self._now = earliest
        # asyncio runs what is due before now + resolution: far from 0 that sum must still differ.
        self._clock_resolution = max(1e-9, math.ulp(self._now))

    @property
    def threads(self) -> int:
        """How many calls are out in threads."""
        return self._threads

    def run_in_executor(  # type: ignore[override]  # typeshed's is generic in a way Any covers
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._returned)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # It waits for a thread of its own; its time limit would be jumped to.
        self._threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads -= 1

    def _returned(self, _future: "Future[Any]") -> None:
        self._threads -= 1


class _Leap(selectors.BaseSelector):
    """The selector of a `VirtualLoop`: its wish to sleep becomes a jump."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.loop: VirtualLoop | None = None
        self._turns = 0  # in which something was ready, since time passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0 or self.loop is None:
            self._turns += 1
            if self._turns > TURNS and self.loop is not None and not self.loop.threads:
                self._turns = 0  # what ends the tasks has as many
                still = f"time stands still: something was ready in each of {TURNS} turns"
                raise Stuck(_describe(self.loop, f"{still}, as in a loop around asyncio.sleep(0)"))
            return self._real.select(0)
        self._turns = 0
        if self.loop.threads:
            return self._real.select()
        woken = self._real.select(0)
        if not woken:
            self.loop.jump()
        return woken

    def register(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        if self.loop is not None:
            _refuse("a descriptor")
        return self._real.register(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in virtual time, on a loop of its own.

    Raises `Stuck` when the coroutine waits for what can never come, and RuntimeError where a loop
    is running already: that of an async test, say, which cannot stop for another.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - it is the one that does not raise
        if asyncio.iscoroutine(main):
            main.close()  # nobody will await it
        raise RuntimeError(
            "run(...) begins a loop of its own, and one is running here: call it in a plain 'def',"
            " or have the test itself run on a VirtualLoop, and await the coroutine there"
        )
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def clock() -> float:
    """Read the running loop's virtual time: the clock to inject where a `Clock` is asked for.

    Raises RuntimeError outside of a `VirtualLoop`, where it would not be the time that passes.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("this clock tells virtual time, and the running loop is a real one")
    return loop.time()


async def advance(seconds: float = 0.0) -> None:
    """Let virtual time pass, and everything happen that is due until then, at the end included.

    Afterwards every other task waits for a later instant: what a test started has come as far as
    it can. With 0 the clock stands still meanwhile.

    Raises RuntimeError outside of a `VirtualLoop`.
    """
    clock()
    await asyncio.sleep(seconds)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)  # noqa: S101 - for the type checker: the clock has looked
    await loop.idle()


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"{what} is of the real world, whose time a virtual loop does not share:"
        " test against an in-memory peer, or run the test on an ordinary loop"
    )


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refused(*_args: object, **_options: object) -> NoReturn:
        _refuse(f"{name}()")

    return refused


for _name in _REFUSED:
    setattr(VirtualLoop, _name, _refusing(_name))


def _describe(loop: VirtualLoop, head: str) -> str:
    waiting = sorted(f"  {_place(task)}" for task in asyncio.all_tasks(loop))
    return "\n".join([f"{head}; waiting:", *waiting] if waiting else [head])


def _place(task: "Task[Any]") -> str:
    """Tell a task's name and the line at which it waits: the innermost that is a user's own.

    What that line waits in, where it is asyncio's or ours, follows in brackets.
    """
    found = list(_frames(task.get_coro()))
    if not found:
        return task.get_name()
    inner = found[-1]
    frame = next((one for one in reversed(found) if _is_own(one)), inner)
    code = frame.f_code
    where = f"{code.co_qualname}, {Path(code.co_filename).name}:{frame.f_lineno}"
    within = "" if frame is inner else f" ({inner.f_code.co_qualname})"
    return f"{task.get_name()} in {where}{within}"


def _frames(work: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it awaits, from the outside in."""
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is not None:
            yield frame
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)


def _is_own(frame: FrameType) -> bool:
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package != "switchgear" and package not in sys.stdlib_module_names
