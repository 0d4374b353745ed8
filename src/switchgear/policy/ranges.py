"""Range checks for settings: a wrong value is refused where it is given, saying what is right."""

from math import inf

__all__ = ["above", "at_least", "between"]


def above(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number above `low`.

    Raises:
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not low < value < inf:
        raise _wrong(owner, field, value, f"a finite number above {low:g}")


def at_least(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number not below `low`.

    Raises:
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not low <= value < inf:
        raise _wrong(owner, field, value, f"a finite number of at least {low:g}")


def between(owner: object, field: str, low: float, high: float) -> None:
    """Require the field to lie from `low` to `high`, both included.

    Raises:
        ValueError: it does not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not low <= value <= high:
        raise _wrong(owner, field, value, f"a number from {low:g} to {high:g}")


def _wrong(owner: object, field: str, value: float, right: str) -> ValueError:
    return ValueError(f"{type(owner).__name__}.{field} is {value!r}, where {right} would be right")
