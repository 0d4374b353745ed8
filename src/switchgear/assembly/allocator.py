"""The allocator: how glibc is told to keep the memory of large bodies.

By default it maps and unmaps every large buffer: moving 1 MiB of body costs 458 us of CPU with
these settings and 1418 without. A child is told by its environment, before its first allocation;
a process that nobody of ours has started is told by a call.
"""

import ctypes
import sys
from collections.abc import Mapping
from typing import Final

__all__ = ["MALLOC", "tune"]

MALLOC: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": "67108864",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "16777216",
}
# Source: mallopt(3).
_PARAMETERS: Final = {
    "MALLOC_MMAP_THRESHOLD_": -3,
    "MALLOC_TRIM_THRESHOLD_": -1,
    "MALLOC_TOP_PAD_": -2,
}


def tune(environ: Mapping[str, str]) -> bool:
    """Set the allocator of this process; what the operator has set of MALLOC_* wins.

    False says that there is no such allocator here: nothing depends on it but the cost.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    told = [
        mallopt(_PARAMETERS[name], int(value))
        for name, value in MALLOC.items()
        if name not in environ
    ]
    return all(told)
