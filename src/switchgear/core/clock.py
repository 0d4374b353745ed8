"""The clock: an injected function to seconds, monotonic and fine.

`time.perf_counter` reads CLOCK_MONOTONIC, the clock of the event loops; `loop.time()` itself is
cached and coarse on uvloop, so it dates nothing here.
"""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["FINE", "Clock"]

Clock = Callable[[], float]

FINE: Final[Clock] = time.perf_counter
