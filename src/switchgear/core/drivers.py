"""Drivers: who runs a coroutine, and how it can be called off.

`step` runs our own frames at once, in the callback that caused them, without a task: a
task costs 4 to 5 microseconds, a step a tenth of one. Everything of a user's, of an ASGI
app's or of a third party runs in a real task (`core.parked`): code that asks for the current task
(timeouts, task groups, anyio) finds it.
"""

import asyncio
import sys
from asyncio import CancelledError, Future
from collections.abc import Callable, Coroutine, Generator, Iterator
from threading import get_ident
from typing import Any, Final, Protocol

from switchgear.core.here import HERE, LATEST
from switchgear.core.place import Latest, Place
from switchgear.policy.native import native

__all__ = ["Stepper", "Wait", "Work", "report", "step", "task_on", "working"]


# What is imported is looked up by its name where this is compiled, and these are not.
_ident: Final = get_ident
_latest: Final[Latest] = LATEST


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
    place = _latest.place
    if place.thread != _ident():  # to look up what is local to a thread costs 0.1 us
        place = HERE.place
        _latest.place = place
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


@native(free_list_len=1)
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


@native(free_list_len=1)
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
            report("a stepped coroutine failed", error)
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


def report(message: str, error: BaseException) -> None:
    """Tell the loop of a defect that nobody awaits."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
