"""Handlers and layers: what happens to a call. Endings: when its work has really ended."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, runtime_checkable

from switchgear.policy.call import Call
from switchgear.policy.verdict import Verdict

__all__ = ["Ending", "Handler", "Judge", "Layer", "Translate"]

In = TypeVar("In")
Out_co = TypeVar("Out_co", covariant=True)


class Handler(Protocol[In, Out_co]):
    """Anything that answers a call, or raises a `Fault`."""

    def __call__(self, call: Call[In], /) -> Coroutine[Any, Any, Out_co]: ...


Layer = Callable[[Handler[Any, Any]], Handler[Any, Any]]
"""What must wrap a handler instead of standing as a gate before it."""

Judge = Callable[[Any], Verdict]
"""Says what a returned value means: an HTTP 503 was returned, yet it is no success."""

Translate = Callable[[Exception], Exception | None]
"""Makes a fault of an exception of some library that it knows, or returns None."""


@runtime_checkable
class Ending(Protocol):
    """An answer whose work goes on after it was returned: a stream, a tunnel, a session.

    Whoever holds one either lets it run to its end or calls `abandon`; either way every
    function given to `on_end` is called exactly once, with the verdict of the end.
    """

    def on_end(self, done: Callable[[Verdict], None], /) -> None:
        """Call `done` when the work ends; at once if it has ended already."""
        ...

    def abandon(self) -> None:
        """End now: nobody will take the rest. The verdict is NEUTRAL unless worse is known."""
        ...
