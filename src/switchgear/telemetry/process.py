"""What every process can tell of itself: memory, CPU time, descriptors, the loop's lag."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.writer import LogWriter

__all__ = ["LagProbe", "register_process", "resident_bytes"]

_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


def resident_bytes() -> int:
    """Return the resident memory of this process; where /proc is missing, its peak."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def register_process(
    registry: Registry, writer: LogWriter, unprinted: Callable[[], int] = int
) -> None:
    """Add this process's own figures and those of its log to its registry.

    `unprinted` counts the lines that it printed and nobody took.
    """
    registry.sampled("process_resident_memory_bytes", "Resident memory.", resident_bytes)
    registry.sampled("process_open_fds", "Open descriptors.", _descriptors)
    registry.sampled(
        "process_cpu_seconds_total", "CPU time, user and system.", time.process_time, "counter"
    )
    registry.sampled("log_lines_total", "Lines written.", lambda: writer.written, "counter")
    registry.sampled(
        "log_lines_dropped_total", "Lines that did not fit.", lambda: writer.dropped, "counter"
    )
    registry.sampled(
        "printed_lines_dropped_total", "Printed lines that nobody took.", unprinted, "counter"
    )


class LagProbe:
    """Measure how late the event loop runs: a timer that notes by how much it was missed.

    Each of `told`, which may get more, is told each time.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        every: float = 0.1,
        clock: Callable[[], float],
        told: Sequence[Callable[[float], object]] = (),
    ) -> None:
        family = registry.histogram(
            "event_loop_lag_seconds", "How late a timer ran.", bounds=_LAG_BOUNDS
        )
        self._lags = family.bind()
        self._every = every
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.worst = 0.0
        self._told = told

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to measure on this loop."""
        self._due = self._clock() + self._every
        self._timer = loop.call_later(self._every, self._ring, loop)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def take_worst(self) -> float:
        """Return the worst lag since the last call, in seconds."""
        worst, self.worst = self.worst, 0.0
        return worst

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = max(0.0, self._clock() - self._due)
        self._lags.observe(lag)
        self.worst = max(self.worst, lag)
        self.start(loop)
        for tell in self._told:
            tell(lag)


def _descriptors() -> float:
    return len(os.listdir(_DESCRIPTORS))
