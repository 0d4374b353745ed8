"""Range checks for settings: a wrong value is refused where it is given, saying what is right."""

import sys
from numbers import Integral, Real
from typing import Final

__all__ = ["above", "at_least", "between", "function", "kind", "share", "words"]

_MOST: Final = sys.float_info.max  # a whole number may be larger, and then none can be made of it


def above(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number above `low`.

    Raises:
        TypeError: it is no number.
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_fits(owner, field, value) and low < value <= _MOST):
        raise _wrong(owner, field, value, f"a finite number above {low:.15g}")


def at_least(owner: object, field: str, low: float) -> None:
    """Require the field to be a finite number not below `low`.

    Raises:
        TypeError: it is no number.
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_fits(owner, field, value) and low <= value <= _MOST):
        raise _wrong(owner, field, value, f"a finite number of at least {low:.15g}")


def between(owner: object, field: str, low: float, high: float) -> None:
    """Require the field to lie from `low` to `high`, both included.

    Raises:
        TypeError: it is no number.
        ValueError: it does not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_fits(owner, field, value) and low <= value <= high):
        raise _wrong(owner, field, value, f"a number from {low:.15g} to {high:.15g}")


def share(owner: object, field: str) -> None:
    """Require the field to be a share of a whole: above nothing, at most all of it.

    Raises:
        TypeError: it is no number.
        ValueError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not (_fits(owner, field, value) and 0 < value <= 1):
        raise _wrong(owner, field, value, "a number above 0 and up to 1")


def kind(owner: object, field: str, right: type) -> None:
    """Require the field to be of a kind.

    Raises:
        TypeError: it is not; the message says what, where, and what would be right.
    """
    value = getattr(owner, field)
    if not isinstance(value, right):
        raise TypeError(words(owner, field, f"a {right.__name__}(...)"))


def function(owner: object, field: str) -> None:
    """Require the field to be something that can be called.

    Raises:
        TypeError: it is not; the message says what, where, and what would be right.
    """
    if not callable(getattr(owner, field)):
        raise TypeError(words(owner, field, "a function"))


def words(owner: object, field: str, right: str) -> str:
    """Say what a field is, and what would be `right`."""
    value = getattr(owner, field)
    return f"{type(owner).__name__}.{field} is {value!r}, where {right} would be right"


def _fits(owner: object, field: str, value: object) -> bool:
    """Say whether it is a number, and a whole one where the field counts."""
    return isinstance(value, Integral if _counts(owner, field) else Real) and not isinstance(
        value, bool
    )


def _counts(owner: object, field: str) -> bool:
    return type(owner).__annotations__.get(field) in (int, int | None)


def _wrong(owner: object, field: str, value: object, right: str) -> Exception:
    if _counts(owner, field):
        right = right.replace("finite number", "whole number").replace("a number", "a whole number")
    wrong = TypeError if isinstance(value, bool) or not isinstance(value, Real) else ValueError
    return wrong(words(owner, field, right))
