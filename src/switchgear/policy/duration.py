"""Durations as people write them: "250ms", "2s", "5min", "1h", or seconds as a number."""

import re
from math import inf
from typing import Final

__all__ = ["seconds"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_FORM: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)")


def seconds(written: float | str) -> float:
    """Read a duration as seconds.

    Raises:
        TypeError: it is neither a number nor a text.
        ValueError: it has another form, or is not positive, or without end.
    """
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise TypeError(f"{written!r} is no duration: seconds as a number or '2s' would be right")
    if isinstance(written, str):
        found = _FORM.fullmatch(written.strip())
        if found is None:
            raise ValueError(f"{written!r} is no duration: write 250ms, 2s, 5min or 1h")
        value = float(found[1]) * _UNITS[found[2]]
    else:
        try:
            value = float(written)
        except OverflowError:  # of a whole number that is too large for one
            value = inf
    if not 0 < value < inf:
        raise ValueError(
            f"{written!r} is no duration: it must be more than nothing, and have an end"
        )
    return value
