"""Hints: the annotations of a class as they are meant, and those that cannot be read."""

from collections.abc import Iterator
from typing import Any, Final, NotRequired, Required, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["HELD", "filled_in", "unmarked", "unreadable"]

HELD: Final = (
    "They must name things that the module holds at run time (not under TYPE_CHECKING,"
    " not inside a function)"
)


def unmarked(hint: Any) -> Any:
    """Drop what a TypedDict says of the presence of a member: its own lists have it."""
    while get_origin(hint) in (Required, NotRequired):
        (hint,) = get_args(hint)
    return hint


def filled_in(hint: Any, filled: dict[Any, Any]) -> Any:
    """Put a generic type's arguments in the place of its variables."""
    if isinstance(hint, TypeVar):
        return filled.get(hint, Any)
    variables = getattr(hint, "__parameters__", ())
    if variables and not isinstance(hint, type):
        return hint[tuple(filled.get(variable, Any) for variable in variables)]
    return hint


def unreadable(annotation: Any, error: Exception) -> str:
    """Say of which class within `annotation` the members have annotations that cannot be read."""
    owner = next(_unreadable(annotation, set()), annotation)
    name = getattr(owner, "__qualname__", owner)
    # Pydantic's error has more lines.
    why = f"name {error.name!r} is not defined" if isinstance(error, NameError) else error
    return f"the annotations in `{name}` cannot be read: {why}. {HELD}"


def _unreadable(annotation: Any, seen: set[Any]) -> Iterator[type]:
    kind = get_origin(annotation) or annotation
    found = [*get_args(annotation)]
    if isinstance(kind, type) and kind not in seen:
        seen.add(kind)
        try:
            found += get_type_hints(kind, include_extras=True).values()
        except TypeError:  # read in another way, or told as what it is
            pass
        except Exception:  # noqa: BLE001 - texts are evaluated, and may raise anything
            yield kind
    for one in found:
        yield from _unreadable(one, seen)
