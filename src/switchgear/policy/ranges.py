"""Range checks for settings: a wrong value is refused where it is given, saying what is right."""

from math import inf
from numbers import Real

__all__ = ["above", "at_least", "between"]


def above(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number above `low`.

    Raises:
        TypeError: it is no number.
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_number(value) and low < value < inf):
        raise _wrong(owner, field, value, f"a finite number above {low:g}")


def at_least(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number not below `low`.

    Raises:
        TypeError: it is no number.
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_number(value) and low <= value < inf):
        raise _wrong(owner, field, value, f"a finite number of at least {low:g}")


def between(owner: object, field: str, low: float, high: float) -> None:
    """Require the field to lie from `low` to `high`, both included.

    Raises:
        TypeError: it is no number.
        ValueError: it does not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_number(value) and low <= value <= high):
        raise _wrong(owner, field, value, f"a number from {low:g} to {high:g}")


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _wrong(owner: object, field: str, value: object, right: str) -> Exception:
    kind = ValueError if _number(value) else TypeError
    return kind(f"{type(owner).__name__}.{field} is {value!r}, where {right} would be right")
