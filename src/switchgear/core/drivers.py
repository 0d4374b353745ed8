"""Drivers: who runs a coroutine, and how it can be called off.

`step` runs our own frames at once, in the callback that caused them, without a task: a
task costs 4 to 5 microseconds, a step a tenth of one. Everything of a user's, of an ASGI
app's or of a third party runs in a real task, `Parked` between the requests of its connection, with
a Context of its own: code that asks for the current task (timeouts, task groups, anyio) finds it.
"""

import asyncio
import sys
from asyncio import CancelledError, Future
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context, copy_context
from typing import Any, Final, Protocol

from switchgear.core.ambient import ambient
from switchgear.core.here import HERE
from switchgear.core.place import Place

__all__ = ["Parked", "Stepper", "Wait", "Work", "step", "task_on", "working"]


def _finder() -> Callable[[Any], "asyncio.Task[Any] | None"]:
    """Return what finds the task that is running on a loop.

    Up to Python 3.13 that stands in a dictionary, and to look it up there costs 12 ns instead of
    the 50 to 70 of `asyncio.current_task`, in every call. A test holds the one to the other.
    """
    tasks: Any = getattr(asyncio.tasks, "_current_tasks", None)
    if sys.version_info < (3, 14) and isinstance(tasks, dict):
        return tasks.get
    return asyncio.current_task


task_on: Final = _finder()


class Work(Protocol):
    """Something that runs and can be called off, counted as asyncio's tasks count it."""

    def cancel(self) -> bool: ...
    def cancelling(self) -> int: ...
    def uncancel(self) -> int: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...


def working() -> Work:
    """Return what drives the code that asks: the stepper that is stepping, or the task.

    Raises RuntimeError outside both.
    """
    place = HERE.place
    if place.stepper is not None:
        return place.stepper
    # Python 3.11 makes a system call to find the running loop. The last one of this thread has a
    # task at work only if it is the one, because loops do not run inside each other.
    task = None if place.loop is None else task_on(place.loop)
    if task is None:
        place.loop = asyncio.get_running_loop()
        task = asyncio.current_task(place.loop)
        if task is None:
            raise RuntimeError("nothing drives this code: call it from a task or by step()")
    return task


class Wait:
    """What a stepped coroutine awaits: a result has it go on at once, in the callback that has it.

    A Future would wake it by way of the loop, one turn later, which costs a microsecond more. Only
    a result is so quick: failures and cancellations come from amid the work of others, who must be
    done with it first. Only steppers understand it, tasks do not.
    """

    __slots__ = ("_done", "_error", "_result", "stepper")

    def __init__(self) -> None:
        self.stepper: Stepper | None = None  # who sleeps here
        self._done = False
        self._error: BaseException | None = None
        self._result: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            yield self
        if self._error is not None:
            raise self._error
        return self._result

    def done(self) -> bool:
        """Say whether there is a result or an error."""
        return self._done

    def cancelled(self) -> bool:
        """Say whether it was called off."""
        return isinstance(self._error, CancelledError)

    def exception(self) -> BaseException | None:
        """Return the error, if that is what it came to."""
        return self._error

    def result(self) -> Any:
        """Return the result, once there is one."""
        return self._result

    def set_result(self, result: Any) -> None:
        """Bring the result. Call it last of all: whoever sleeps here goes on before it returns."""
        self._done = True
        self._result = result
        if self.stepper is not None:
            self.stepper._step()  # noqa: SLF001 - of this module

    def set_exception(self, error: BaseException) -> None:
        """Bring an error; whoever sleeps here gets it in the loop's next turn."""
        self._done = True
        self._error = error
        if self.stepper is not None:
            self.stepper._soon()  # noqa: SLF001 - of this module

    def cancel(self) -> bool:
        """Call it off, unless it is done."""
        if self._done:
            return False
        self.set_exception(CancelledError())
        return True


class Stepper:
    """One coroutine run eagerly, woken by the futures it awaits."""

    __slots__ = ("_cancels", "_coroutine", "_due", "_iterator", "_place", "_wait", "ended")

    def __init__(self, coroutine: Coroutine[Any, Any, None], place: Place) -> None:
        self._place = place
        self._coroutine = coroutine
        self._iterator: Iterator[Any] = coroutine.__await__()
        self._wait: Future[Any] | Wait | None = None
        self._cancels = 0
        self._due: BaseException | None = None  # what the next step throws
        self.ended = False

    def cancel(self) -> bool:
        """Ask the work to stop: CancelledError is raised where it waits."""
        if self.ended:
            return False
        self._cancels += 1
        if self._wait is None or not self._wait.cancel():
            self._due = CancelledError()
        return True

    def cancelling(self) -> int:
        """Return how many cancellations were asked for and not taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one cancellation back; return how many remain."""
        if self._cancels:
            self._cancels -= 1
            if not self._cancels and isinstance(self._due, CancelledError):
                self._due = None
        return self._cancels

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that this runs on."""
        return asyncio.get_running_loop()

    def _step(self, _: object = None) -> None:
        self._wait = None
        place = self._place
        outer, place.stepper = place.stepper, self
        try:
            if self._due is None:
                # As `send(None)`, but that its end is no exception, which costs 0.2 us.
                for waited in self._iterator:
                    self._sleep(waited)
                    return
                self.ended = True
            else:
                due, self._due = self._due, None
                self._sleep(self._coroutine.throw(due))
        except (StopIteration, CancelledError):
            self.ended = True
        except Exception as error:  # noqa: BLE001 - nobody awaits a stepper: report it
            self.ended = True
            _report("a stepped coroutine failed", error)
        except BaseException:
            self.ended = True
            raise
        finally:
            place.stepper = outer

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._step, context=self._place.bare)

    def _sleep(self, waited: object) -> None:
        if isinstance(waited, Wait):
            self._wait = wait = waited
            wait.stepper = self
            if self._due is not None and wait.cancel():
                self._due = None
            return
        if not getattr(waited, "_asyncio_future_blocking", False):
            if waited is not None:  # None is a bare yield: give way for one turn of the loop
                error = RuntimeError(f"a stepped coroutine awaited {waited!r}, which is no future")
                self._due = self._due or error  # told at its await, as a task would be
            self._soon()
            return
        future: Future[Any] = waited  # type: ignore[assignment]  # duck-typed as asyncio does it
        future._asyncio_future_blocking = False  # noqa: SLF001 - the protocol of awaiting futures
        self._wait = future
        future.add_done_callback(self._step, context=self._place.bare)
        if self._due is not None and future.cancel():
            self._due = None


def step(coroutine: Coroutine[Any, Any, None], place: Place | None = None) -> Stepper:
    """Run `coroutine` now, up to its first wait, and on from there as its futures end.

    `place` is that of this thread: who knows it spares the look-up, which costs 0.1 us.

    Only for frames of our own that set no ContextVar. An exception that escapes is a defect
    and goes to the loop's exception handler.
    """
    stepper = Stepper(coroutine, HERE.place if place is None else place)
    stepper._step()  # noqa: SLF001 - of this module
    return stepper


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

    __slots__ = ("_begun", "_bell", "_closing", "_future", "_loop", "_next", "_running", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: Callable[[], Future[None]] = loop.create_future
        self._task: asyncio.Task[None] | None = None
        self._bell: Future[None] | None = None
        self._next: Coroutine[Any, Any, None] | None = None
        self._closing = False
        self._begun = False  # the task has had its first step
        self._running = False

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start `coroutine` in the task, or have it start when what runs now has ended.

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
            self._bell.set_result(None)

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
        self._task = asyncio.Task(self._main(), loop=self._loop, context=Context())
        self._task.add_done_callback(self._gone, context=Context())

    def _gone(self, task: "asyncio.Task[None]") -> None:
        """Take the end of a task; what is due, even if it never got to see it, gets another."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _report("a parked coroutine failed", error)
        if self._task is task:
            self._renew()

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._begun = True
        ambient.set(None)
        bare = copy_context()
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
                _report("a parked coroutine failed", error)
            if self._task is not task:
                return
            self._running = False
            ambient.set(None)
            if task.cancelling() or copy_context() != bare:
                return


def _report(message: str, error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
