"""Parked: one real task for the requests of a connection, with a Context of its own.

Everything of a user's, of an ASGI app's or of a third party runs in one, and sleeps in between.
"""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final

from switchgear.core.ambient import ambient
from switchgear.core.drivers import report, task_on
from switchgear.core.here import HERE

__all__ = ["Parked"]


# The loop holds its tasks weakly, and nobody else holds one that was left.
_left: Final[set["asyncio.Task[None]"]] = set()


class Parked:
    """One real task that runs one coroutine at a time and sleeps in between.

    ::

        run --> queued --> running --> parked --> running ...
                              +------> replaced: its Context was changed, or it was called off

    The task starts in an empty Context. Whoever runs in it may set the ambient call; what
    else user code leaves in the Context costs it the task: the next run gets a fresh one, and
    so it does after a cancellation that nobody has taken back.
    """

    __slots__ = ("_begun", "_bell", "_closing", "_context", "_future", "_loop", "_next", "_place",
                 "_running", "_task", "_wake")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._place = HERE.place
        self._future: Callable[[], Future[None]] = loop.create_future
        self._bell: Future[None] | None = None
        self._wake: Callable[[Future[None]], object] | None = None  # what its task has bells call
        self._context = Context()
        self._next: Coroutine[Any, Any, None] | None = None
        self._closing = False
        self._begun = False  # the task has had its first step
        self._running = False

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start `coroutine` in the task, or have it start when what runs now has ended.

        A callback of the loop that calls this has it run at once, up to its first wait.

        Raises RuntimeError while another one is due or after `close`: a coroutine must never be
        dropped unseen.
        """
        if self._closing or self._next is not None:
            coroutine.close()
            raise RuntimeError("this parked task is busy or closed")
        self._next = coroutine
        if self._task is None:
            self._start()
        elif self._bell is not None and not self._bell.done():
            self._ring(self._bell)

    def _ring(self, bell: "Future[None]") -> None:
        """Wake the task: at once, unless another one is at work, or a stepper."""
        if self._place.stepper is not None or task_on(self._loop) is not None:
            bell.set_result(None)
            return
        # The loop would have it wait for its next turn, which costs a system call.
        if self._wake is None:
            waiting: Any = bell
            self._wake = waiting._callbacks[0][0]  # noqa: SLF001 - nothing else tells
        bell.remove_done_callback(self._wake)
        bell.set_result(None)
        self._context.run(self._wake, bell)

    def close(self) -> None:
        """Call off what runs and end the task; what was given to `run` is still run, and told."""
        self._closing = True
        if self._task is not None and self._begun:  # else it would end without a first step
            self._task.cancel()

    def leave(self) -> None:
        """Let what runs now end in its own time, and then its task; the next run gets another."""
        if not self._running or self._task is None:
            return
        _left.add(self._task)
        self._task.add_done_callback(_left.discard)
        self._renew()

    def _renew(self) -> None:
        self._task = None
        self._begun = self._running = False
        if self._next is not None:
            self._start()

    def _start(self) -> None:
        # Not by loop.create_task: an eager task factory would run it before it is known here.
        self._wake = None
        self._context = Context()
        self._task = asyncio.Task(self._main(), loop=self._loop, context=self._context)
        self._task.add_done_callback(self._gone, context=Context())

    def _gone(self, task: "asyncio.Task[None]") -> None:
        """Take the end of a task; what is due, even if it never got to see it, gets another."""
        if not task.cancelled() and (error := task.exception()) is not None:
            report("a parked coroutine failed", error)
        if self._task is task:
            self._renew()

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._begun = True
        bare = copy_context()
        marked = False  # it says that no call is ambient, where it said nothing at first
        while True:
            if self._next is None:
                if self._closing:
                    return
                self._bell = self._future()
                try:
                    await self._bell
                except CancelledError:  # closed, or called off by others: a loop that shuts down
                    task.uncancel()
                    return
                finally:
                    self._bell = None
            coroutine, self._next = self._next, None
            assert coroutine is not None  # noqa: S101 - for the type checker: who rings sets it
            if self._closing:
                task.cancel()  # it was accepted, so it runs, and is told at its first wait
            self._running = True
            try:
                await coroutine
            except CancelledError:
                pass
            except Exception as error:  # noqa: BLE001 - nobody awaits a parked task: report it
                report("a parked coroutine failed", error)
            if self._task is not task:
                return
            self._running = False
            if ambient.get() is not None:
                ambient.set(None)
                if not marked:
                    bare.run(ambient.set, None)
                    marked = True
            if task.cancelling() or copy_context() != bare:
                return
