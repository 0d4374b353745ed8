"""Marks: what we leave on exceptions that others made, past what their classes make of attributes.

One may be frozen, as a dataclass is, or answer for every attribute, as a client's error does that
hands them on to a response which it never got. It goes on its way as it is, whatever we note on it:
so its own dictionary is read and written, and no method of its class is asked.
"""

from typing import Any, Final

__all__ = ["because", "marks_of", "members", "origins", "within"]

_CAUSE: Final[Any] = BaseException.__dict__["__cause__"]
_CONTEXT: Final[Any] = BaseException.__dict__["__context__"]
_MEMBERS: Final[Any] = BaseExceptionGroup.__dict__["exceptions"]


def marks_of(error: BaseException) -> dict[str, Any]:
    """Return the dictionary of an exception, to read marks in it and leave them there."""
    marks: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return marks


def because(error: BaseException, cause: BaseException) -> None:
    """Note what an exception was made of, unless somebody has said so."""
    if error is not cause and _CAUSE.__get__(error) is None:
        _CAUSE.__set__(error, cause)


def origins(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return while what an exception arose, and of what it was made."""
    return _CONTEXT.__get__(error), _CAUSE.__get__(error)


def members(error: BaseException) -> tuple[BaseException, ...]:
    """Return what a group is made of; nothing of what is no group."""
    found: tuple[BaseException, ...] = ()
    if issubclass(type(error), BaseExceptionGroup):
        found = _MEMBERS.__get__(error)
    return found


def within(error: BaseException, context: BaseException | None) -> None:
    """Say while what an exception arose, or nothing."""
    _CONTEXT.__set__(error, context)
