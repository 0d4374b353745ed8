"""Places: what goes on in each thread."""

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switchgear.core.drivers import Stepper

__all__ = ["Latest", "Place"]


class Place:
    """What goes on in one thread.

    Steps are synchronous, so a plain attribute names the stepper that runs now; a ContextVar would
    leak between callbacks that share a Context. `bare` is where stepped frames wake up: it
    stays empty, because our own frames set no ContextVar. `loop` is the loop that ran here last.
    Where `thread` is -1, it is nobody's place: that of no thread, or of the process that this one
    was forked off from, whose loop and tasks do not run here.
    """

    __slots__ = ("bare", "loop", "stepper", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.stepper: Stepper | None = None
        self.bare = Context()
        self.loop: asyncio.AbstractEventLoop | None = None


class Latest:
    """The place that was asked for last: mostly that of the thread that asks next."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place
