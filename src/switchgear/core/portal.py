"""The portal: async work called from code that has no event loop (scripts, Celery tasks, threads).

::

    from switchgear.core import portal

    portal.run(mail.call, send, letter)      # blocks until it has ended

All such calls of a process share one event loop in a thread in the background, made at the first
call, so that pools, breakers and budgets are shared as well (a loop per call would make
every connection anew). A process that was forked off makes its own.
"""

import asyncio
import atexit
import os
import threading
import weakref
from asyncio import AbstractEventLoop, CancelledError, Runner, Task
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from switchgear.core.kit import BACKGROUND
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Portal", "run", "run_at"]

Given = ParamSpec("Given")
Result = TypeVar("Result")
Loops = Callable[[], AbstractEventLoop]

LOOK: Final = 0.5  # seconds until it is looked again whether a loop of others still runs
# Seconds that work has to end which was called off or is left at the end, and a loop to take some.
PATIENCE: Final = 5.0


class Portal:
    """An event loop in a thread of its own, and the way to it from threads that have none.

    Most want the one of the process, `run`. `loop_factory` makes another kind of loop.
    """

    def __init__(self, name: str = "switchgear-portal", loop_factory: Loops | None = None) -> None:
        self._name = name
        self._loop_factory = loop_factory
        self._reset()
        _portals.add(self)

    def _reset(self) -> None:
        """Begin without a loop: so does a process that was forked off, whatever ran before."""
        self._lock = threading.Lock()
        self._station: _Station | None = None

    def run(
        self,
        function: Callable[Given, Awaitable[Result]],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Run an async function to its end in the background, and return its result.

        It runs in a copy of the caller's Context, so it keeps its deadline and its trace. What
        interrupts the caller meanwhile (Ctrl-C, a signal handler that raises) calls the work off,
        waits a few seconds for its end, and is raised; a second interruption does not wait.

        Raises what the function raises; a `Fault` (cancelled) where somebody else called it off;
        RuntimeError in a thread that runs an event loop, which must never be blocked.
        """
        return self.run_at(None, function, *args, **kwargs)

    def run_at(
        self,
        loop: AbstractEventLoop | None,
        function: Callable[Given, Awaitable[Result]],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Run a function as `run` does, but on a loop that runs in another thread, if given.

        Raises as `run` does; a `Fault` (cancelled), too, where that loop has stopped meanwhile.
        """
        _refuse_inside()
        errand = _Errand(partial(function, *args, **kwargs))
        try:
            if loop is None or loop in BACKGROUND or not errand.sent(loop):
                self._send(errand)
                loop = None
            outcome: Outcome[Result] = errand.outcome(loop)
        except BaseException:
            errand.call_off()
            raise
        if isinstance(outcome, Done):
            return outcome.value
        try:
            raise outcome.error
        finally:
            del errand, outcome  # they hold the error, whose traceback holds this frame

    def _send(self, errand: "_Errand") -> None:
        with self._lock:
            while self._station is None or not self._station.take(errand):
                self._station = _Station(self._name, self._loop_factory)

    def close(self) -> None:
        """Call off what runs, and end the loop and its thread; the next `run` begins anew.

        It waits a few seconds for the end, and leaves behind what has not ended by then. Calling
        it in the portal's own thread is refused, as `run` is.
        """
        _refuse_inside()
        with self._lock:
            station, self._station = self._station, None
        if station is not None:
            station.close()


class _Errand:
    """One call: what to run, in which Context, and its outcome."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self._context = copy_context()
        self._loop: AbstractEventLoop | None = None
        self._task: Task[Outcome[Any]] | None = None
        self._untaken = [None]  # until its loop takes it, or we take it back: whoever pops has it
        self.ended: Future[Outcome[Any]] = Future()

    def send(self, loop: AbstractEventLoop) -> None:
        """Have it begin on the loop. Raises RuntimeError where that is closed."""
        loop.call_soon_threadsafe(self._begin, loop, context=Context())
        self._loop = loop

    def sent(self, loop: AbstractEventLoop) -> bool:
        """Have it begin on a loop that another may close meanwhile; say whether it does."""
        try:
            self.send(loop)
        except RuntimeError:
            return False
        return True

    def outcome(self, loop: AbstractEventLoop | None) -> Outcome[Any]:
        """Wait for its end; where it is on a loop of others, as long as that runs, and takes it."""
        looks = 0
        while True:
            try:
                return self.ended.result(None if loop is None else LOOK)
            except TimeoutError:
                looks += 1
                if loop is not None and not loop.is_running():
                    self.call_off()
                    self.lose()
                elif looks * LOOK >= PATIENCE and self._take():
                    return _untaken()

    def call_off(self) -> None:
        """Have it end, and wait for that a while."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._cancel, context=Context())
            self.ended.result(PATIENCE)
        except (RuntimeError, TimeoutError):  # the loop is closed, or the work does not end
            pass

    def lose(self) -> None:
        """Tell who waits that there will be no end."""
        if not self.ended.done():
            self.ended.set_result(_called_off("the loop was closed before the work had ended"))

    def _take(self) -> bool:
        """Take it, unless somebody has."""
        try:
            self._untaken.pop()
        except IndexError:
            return False
        return True

    def _begin(self, loop: AbstractEventLoop) -> None:
        if not self._take():
            return
        self._task = Task(self._run(), loop=loop, context=self._context)
        self._task.add_done_callback(self._end, context=Context())

    def _cancel(self) -> None:
        assert self._task is not None  # noqa: S101 - for the type checker: it began before
        self._task.cancel()

    async def _run(self) -> Outcome[Any]:
        try:
            return Done(await self._work())
        except CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the caller's: an exit must not end the loop
            return Failed(error)

    def _end(self, task: "Task[Outcome[Any]]") -> None:
        gone = _called_off("the work in the portal was called off")
        self.ended.set_result(gone if task.cancelled() else task.result())


class _Station:
    """One loop, its thread, and the errands that are under way on it."""

    def __init__(self, name: str, loop_factory: Loops | None) -> None:
        self._loop_factory = loop_factory
        self._change = threading.Lock()
        self._errands: set[_Errand] = set()
        self._over = False
        self._ready: Future[AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    def take(self, errand: _Errand) -> bool:
        """Begin an errand; False says that this loop has ended."""
        with self._change:
            if self._over:
                return False
            errand.send(self._loop)
            self._errands.add(errand)
        errand.ended.add_done_callback(lambda _: self._errands.discard(errand))
        return True

    def close(self) -> None:
        """End the loop; nothing is given to it any more."""
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:
            pass  # it is closed
        self._thread.join(PATIENCE)

    def _main(self) -> None:
        runner = Runner(loop_factory=self._loop_factory)
        try:
            runner.get_loop()
        except BaseException as error:  # noqa: BLE001 - the caller's, who waits for the loop
            self._ready.set_exception(error)
            return
        with ExitStack() as ending:  # from the last to the first, whatever became of one of them
            ending.callback(self._lose)
            ending.callback(runner.close)  # which calls off what is left
            ending.callback(lambda: runner.run(asyncio.sleep(0)))  # what was taken begins by then
            ending.callback(self._end)
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        BACKGROUND.add(loop)
        self._ready.set_result(loop)
        await self._stop.wait()

    def _end(self) -> None:
        with self._change:
            self._over = True

    def _lose(self) -> None:
        for errand in list(self._errands):
            errand.lose()


def _called_off(detail: str) -> Failed:
    return Failed(Fault(Code.CANCELLED, detail))


def _untaken() -> Failed:
    return Failed(
        Fault(
            Code.UNAVAILABLE,
            f"the event loop that the work is for has not taken it within {PATIENCE:g} s: is it"
            " blocked by what waits for this thread?",
            effect=Effect.NONE,
        )
    )


def _refuse_inside() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "this thread runs an event loop, which a portal would block: await the work instead"
        " (or call the portal in a thread, by asyncio.to_thread)"
    )


_portals: Final[weakref.WeakSet[Portal]] = weakref.WeakSet()
# What a forked child has of its parent's loops: they are kept, because to collect one is to close
# it, and nobody runs it here.
_inherited: Final[list[_Station]] = []

_portal: Final = Portal()
run: Final = _portal.run
run_at: Final = _portal.run_at


def _after_fork() -> None:
    for portal in list(_portals):
        if portal._station is not None:  # noqa: SLF001 - of this module
            _inherited.append(portal._station)  # noqa: SLF001 - as above
        portal._reset()  # noqa: SLF001 - as above


def _at_exit() -> None:
    for portal in list(_portals):
        portal.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
