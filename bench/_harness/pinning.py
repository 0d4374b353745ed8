"""Which CPU a process may use: servers on one, the load and everything else on another."""

import os
from collections.abc import Callable

__all__ = ["cpus", "pinned"]


def cpus() -> tuple[int | None, int | None]:
    """Return the CPU for servers and the one for the load; None where a machine cannot tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else (None, None)


def pinned(cpu: int | None) -> Callable[[], None]:
    """Return what a child calls before it runs, so that it and its children stay on `cpu`."""

    def pin() -> None:
        if cpu is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {cpu})

    return pin
