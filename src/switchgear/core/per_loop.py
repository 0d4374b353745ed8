"""What there is one of for each event loop."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerLoop"]

Kept = TypeVar("Kept")


class PerLoop(Generic[Kept]):
    """Keep one of a kind for each loop, made at first use, until the loop is closed.

    What is kept may hold its loop, so that no weak table could ever let go of it: whoever comes
    with a new loop has those of closed ones forgotten.
    """

    __slots__ = ("_kept", "_make")

    def __init__(self, make: Callable[[AbstractEventLoop], Kept]) -> None:
        self._make = make
        self._kept: dict[AbstractEventLoop, Kept] = {}

    def of(self, loop: AbstractEventLoop) -> Kept:
        """Return what a loop has."""
        made = self._kept.get(loop)
        if made is None:
            # Other threads may be at it, too: each step is one that nobody comes between.
            for old in list(self._kept):
                if old.is_closed():
                    self._kept.pop(old, None)
            made = self._kept.setdefault(loop, self._make(loop))
        return made
