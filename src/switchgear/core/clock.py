"""The clock: an injected function to seconds, monotonic and fine.

Whoever is given none tells real time, but for what is made on a loop that tells virtual time.

`time.perf_counter` reads CLOCK_MONOTONIC, the clock of the event loops; `loop.time()` itself is
cached and coarse on uvloop, so it dates nothing here.
"""

import time
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable
from typing import Final

__all__ = ["FINE", "Clock", "present"]

Clock = Callable[[], float]

FINE: Final[Clock] = time.perf_counter


def present(loop: AbstractEventLoop | None = None) -> Clock:
    """Return the clock that tells the time of a loop, or of the running one, if there is one."""
    if loop is None:
        loop = _get_running_loop()
    clock: Clock = getattr(loop, "virtual_clock", FINE)
    return clock
