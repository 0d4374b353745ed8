"""Invocations: what a policy's call carries below layers, which may put it into another task."""

import asyncio
import inspect
from asyncio import iscoroutine
from collections.abc import Awaitable, Callable, Hashable, Mapping
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from switchgear.core.ambient import ambient, due
from switchgear.core.fallback import Computed, Fallback, Stale, Static, computed
from switchgear.core.handler import Handler
from switchgear.core.threads import Threads, in_thread
from switchgear.policy.call import Call

__all__ = [
    "InThread",
    "Invocation",
    "answer_of",
    "invokes",
    "invoking",
    "is_async",
    "mark",
    "of_arguments",
    "same_work",
]


class Invocation(NamedTuple):
    """A function, its arguments, and whom it works for: the ambient call, and its deadline."""

    function: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outer: Call[Any] | None
    due: float | None


class InThread:
    """A function that blocks, run in one of `threads`: equal to another of the same function.

    A coroutine that it returns is awaited: it was an async function in the dress of a plain one.
    """

    __slots__ = ("_function", "_run")

    def __init__(self, function: Callable[..., Any], threads: Threads) -> None:
        self._function = function
        self._run = in_thread(function, threads)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InThread) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        answer = await self._run(*args, **kwargs)
        return await answer if iscoroutine(answer) else answer


_MARK: Final[Any] = getattr(asyncio.coroutines, "_is_coroutine", None)


def _marked(function: Any) -> Any:
    """Mark a function whose calls make coroutines, as asyncio did before `inspect` could."""
    function._is_coroutine = _MARK  # noqa: SLF001 - the mark that others look for
    return function


mark: Final[Callable[[Any], Any]] = getattr(inspect, "markcoroutinefunction", _marked)
"""Marks a function whose calls make coroutines, though it is not written as an async one."""


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether a call of it makes a coroutine: a function, or an object that is called.

    What is compiled is no coroutine function to `inspect`, unless it bears a mark.
    """
    if _MARK is not None and getattr(function, "_is_coroutine", None) is _MARK:
        return True
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def invoking(*, bounded: bool) -> Handler[Any, Any]:
    """Make the handler that runs the function of a call, in the Context of its caller.

    Where the call's deadline is only observed, the function sees the one of its caller.
    """

    async def invoke(call: Call[Any]) -> Any:
        work: Invocation = call.payload
        if work.outer is not None and ambient.get() is None:
            ambient.set(work.outer)  # in a task of its own, with an empty Context
        before = due.set(call.deadline if bounded else work.due)
        try:
            return await work.function(*work.args, **work.kwargs)
        finally:
            try:
                due.reset(before)
            except ValueError:
                pass  # thrown away by another Context, which never saw that value

    return invoke


def invokes(trace: TracebackType) -> bool:
    """Say whether a line of a traceback is that which calls a function, or awaits its answer."""
    return trace.tb_frame.f_globals is globals()


def answer_of(fallback: Fallback | Callable[..., Any]) -> object:
    """Say what of a fallback a drawing shows."""
    if isinstance(fallback, Static):
        return fallback.value
    return fallback.function if isinstance(fallback, Computed) else fallback


def of_arguments(name: str, fallback: Fallback | Callable[..., Any]) -> Fallback:
    """Make a fallback of calls of one that knows a function's arguments."""
    if isinstance(fallback, Static):
        return fallback
    if isinstance(fallback, Stale):
        return replace(fallback, key=same_work(name, fallback.key))
    function: Callable[..., Any] = fallback.function if isinstance(fallback, Computed) else fallback

    def compute(call: Any, error: Exception) -> Any:
        work: Invocation = call.payload
        return function(error, *work.args, **work.kwargs)

    return computed(compute)


def same_work(name: str, key: Callable[..., Hashable | None]) -> Callable[[Any], Hashable | None]:
    """Make a key of calls of one of arguments: the same question to another function is another."""

    def asked(call: Any) -> Hashable | None:
        work: Invocation = call.payload
        made = key(*work.args, **work.kwargs)
        if made is None:
            return None
        try:
            hash(made)
        except TypeError:
            raise TypeError(
                f"the key of what {name!r} is asked is {made!r}: what can be hashed, such as a"
                " text or a tuple, would be right"
            ) from None
        return work.function, made

    return asked
