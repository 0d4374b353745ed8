"""Shrinking: the shortest input that breaks the same rule at the same place."""

import re
import time
import traceback
from collections.abc import Callable
from typing import Final

__all__ = ["shrink", "slug", "symptom"]

SECONDS: Final = 20.0

Run = Callable[[bytes], None]


def symptom(run: Run, data: bytes) -> tuple[str, str] | None:
    """Return the kind of an input's failure and where it is; None where it does not fail."""
    try:
        run(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error).__name__, f"{last.filename}:{last.name}:{last.line}"
    return None


def slug(run: Run, data: bytes) -> str:
    """Name a failure by what it says, or by the line that it is at."""
    try:
        run(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = re.findall(r"[a-z0-9]+", str(error).lower())
        words = words or re.findall(r"[a-z0-9]+", f"{last.name} {last.line}".lower())
        return "-".join(words)[:60].strip("-")
    return "passes-now"


def shrink(run: Run, data: bytes) -> bytes:
    """Take away what is not needed, in pieces of halving size."""
    wanted = symptom(run, data)
    until = time.monotonic() + SECONDS
    size = len(data) // 2
    while size and wanted is not None:
        at, shorter = 0, False
        while at < len(data) and time.monotonic() < until:
            less = data[:at] + data[at + size :]
            if symptom(run, less) == wanted:
                data, shorter = less, True
            else:
                at += size
        if not shorter or time.monotonic() > until:
            size //= 2
    return data
