"""Timed: coroutines whose steps are timed, with those of all the tasks that they begin."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from switchgear.core.clock import Clock

__all__ = ["Timed", "timed", "timing"]

Result = TypeVar("Result")
Other = TypeVar("Other")
Spent = Callable[[float], object]

_stepping: Final["ContextVar[Timed[Any] | None]"] = ContextVar("stepping", default=None)


class Timed(Coroutine[Any, Any, Result]):
    """Drives a coroutine, and has `spent` take the seconds of each of its steps.

    A step is what runs between two waits: nothing else on the loop does meanwhile. To whoever looks
    at it, it is the coroutine itself.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Result],
        clock: Clock,
        spent: Spent,
        amid: list[None] | None = None,
    ) -> None:
        self._coroutine = coroutine
        self._clock = clock
        self._spent = spent
        # Not empty while one of those that `spent` is told of takes a step: an eager task takes its
        # first one amid that of whoever begins it, and is in its time already.
        self._amid = [] if amid is None else amid

    def child(self, coroutine: Coroutine[Any, Any, Other]) -> "Timed[Other]":
        """Have another one timed for the same."""
        return Timed(coroutine, self._clock, self._spent, self._amid)

    def send(self, value: Any) -> Any:
        """Take the next step."""
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Take the next step by an error."""
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        """End it where it is."""
        self._coroutine.close()

    def __await__(self) -> "Timed[Result]":
        return self

    def __iter__(self) -> "Timed[Result]":
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def _step(self, step: Callable[..., Any], *value: Any) -> Any:
        if self._amid:
            return step(*value)
        self._amid.append(None)
        token = _stepping.set(self)  # for what is begun in this step
        begun = self._clock()
        try:
            return step(*value)
        finally:
            self._spent(self._clock() - begun)
            _stepping.reset(token)
            self._amid.pop()


def timed(coroutine: Coroutine[Any, Any, Result]) -> Coroutine[Any, Any, Result]:
    """Return a coroutine that is timed as what begins it is, if that is."""
    by = _stepping.get()
    return coroutine if by is None else by.child(coroutine)


def timing(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Time the tasks that timed coroutines begin on this loop; return what ends that.

    Whatever makes the loop's tasks goes on to make them.
    """
    before = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        if inspect.iscoroutine(coroutine):
            coroutine = timed(coroutine)
        if before is not None:
            return before(loop, coroutine, **options)
        return asyncio.Task(coroutine, loop=loop, **options)

    def end() -> None:
        if loop.get_task_factory() is make:
            loop.set_task_factory(before)

    loop.set_task_factory(make)
    return end
