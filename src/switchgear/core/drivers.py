"""Drivers: who runs a coroutine, and how it can be called off.

`step` runs our own frames at once, in the callback that caused them, without a task: a
task costs 4 to 5 microseconds, a step a tenth of one. Everything of a user's, of an ASGI
app's or of a third party runs in a real task, `Parked` between the requests of its connection, with
a Context of its own: code that asks for the current task (timeouts, task groups, anyio) finds it.
"""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, Final, Protocol

from switchgear.core.ambient import ambient

__all__ = ["Parked", "Stepper", "Work", "step", "working"]


class Work(Protocol):
    """Something that runs and can be called off, counted as asyncio's tasks count it."""

    def cancel(self) -> bool: ...
    def cancelling(self) -> int: ...
    def uncancel(self) -> int: ...


# Steps are synchronous, so a plain global names the stepper that runs now; a ContextVar
# would leak between callbacks that share a Context.
_stepping: "Stepper | None" = None

# Wake-ups of stepped frames run here. It stays empty: our own frames set no ContextVar.
_BARE: Final = Context()


def working() -> Work:
    """Return what drives the code that asks: the stepper that is stepping, or the task.

    Raises RuntimeError outside both.
    """
    if _stepping is not None:
        return _stepping
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("nothing drives this code: call it from a task or by step()")
    return task


class Stepper:
    """One coroutine run eagerly, woken by the futures it awaits."""

    __slots__ = ("_cancels", "_coroutine", "_due", "_wait", "ended")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._wait: Future[Any] | None = None
        self._cancels = 0
        self._due = False  # a cancellation that has not been thrown yet
        self.ended = False

    def cancel(self) -> bool:
        """Ask the work to stop: CancelledError is raised where it waits."""
        if self.ended:
            return False
        self._cancels += 1
        if self._wait is None or not self._wait.cancel():
            self._due = True
        return True

    def cancelling(self) -> int:
        """Return how many cancellations were asked for and not taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one cancellation back; return how many remain."""
        if self._cancels:
            self._cancels -= 1
        if not self._cancels:
            self._due = False
        return self._cancels

    def _step(self, _: object = None) -> None:
        global _stepping  # noqa: PLW0603 - see the name's comment
        self._wait = None
        outer, _stepping = _stepping, self
        try:
            if self._due:
                self._due = False
                waited = self._coroutine.throw(CancelledError())
            else:
                waited = self._coroutine.send(None)
        except (StopIteration, CancelledError):
            self.ended = True
        except Exception as error:  # noqa: BLE001 - nobody awaits a stepper: report it
            self.ended = True
            _report("a stepped coroutine failed", error)
        else:
            self._sleep(waited)
        finally:
            _stepping = outer

    def _sleep(self, waited: object) -> None:
        if waited is None:  # a bare yield: give way for one turn of the loop
            asyncio.get_running_loop().call_soon(self._step, context=_BARE)
            return
        if not getattr(waited, "_asyncio_future_blocking", False):
            self._due = False
            error = RuntimeError(f"a stepped coroutine awaited {waited!r}, which is no future")
            self._coroutine.close()
            self.ended = True
            _report("a stepped coroutine failed", error)
            return
        future: Future[Any] = waited  # type: ignore[assignment]  # duck-typed as asyncio does it
        future._asyncio_future_blocking = False
        self._wait = future
        future.add_done_callback(self._step, context=_BARE)
        if self._due and future.cancel():
            self._due = False


def step(coroutine: Coroutine[Any, Any, None]) -> Stepper:
    """Run `coroutine` now, up to its first wait, and on from there as its futures end.

    Only for frames of our own that set no ContextVar. An exception that escapes is a defect
    and goes to the loop's exception handler.
    """
    stepper = Stepper(coroutine)
    stepper._step()
    return stepper


class Parked:
    """One real task that runs one coroutine at a time and sleeps in between.

    The task starts in an empty Context. Whoever runs in it may set the ambient call; what
    else user code leaves in the Context costs it the task: the next run gets a fresh one.
    """

    __slots__ = ("_bell", "_closing", "_loop", "_next", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._bell: Future[None] | None = None
        self._next: Coroutine[Any, Any, None] | None = None
        self._closing = False

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
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """Let what runs now end in its own time, and then its task; the next run gets another."""
        self._task = None
        if self._next is not None:
            self._start()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._main(), context=Context())

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        ambient.set(None)
        bare = copy_context()
        while True:
            if self._next is None and not self._closing:
                self._bell = self._loop.create_future()
                try:
                    await self._bell
                except CancelledError:
                    task.uncancel()
                finally:
                    self._bell = None
            coroutine, self._next = self._next, None
            if coroutine is None:
                break
            if self._closing:
                task.cancel()  # it was accepted, so it runs, and is told at its first wait
            await self._one(coroutine, task)
            if self._task is not task:
                return
            ambient.set(None)
            if copy_context() != bare:
                break
        self._task = None
        if self._next is not None:
            self._start()

    @staticmethod
    async def _one(coroutine: Coroutine[Any, Any, None], task: "asyncio.Task[None]") -> None:
        try:
            await coroutine
        except CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - nobody awaits a parked task: report it
            _report("a parked coroutine failed", error)
        while task.uncancel():
            pass


def _report(message: str, error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
