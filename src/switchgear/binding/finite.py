"""Finite: of numbers that JSON has not, writers of JSON make null, and nobody is told.

Whoever reads it takes it for a value that is missing, or refuses it: a mean of nothing would be
found out far from where it was made. Requests that bring such numbers are refused, too.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from switchgear.binding.beneath import beneath
from switchgear.binding.models import model_data
from switchgear.binding.shape import Leaf, Node
from switchgear.binding.wrong import pointer

__all__ = ["may_hold", "unfinite"]

_NULL: Final = b"null"
_PLAIN: Final = frozenset({int, str, bool, type(None), bytes})


def may_hold(node: Node) -> bool:
    """Say whether what has this shape may hold a float."""
    return any(isinstance(one, Leaf) and one.real for one in beneath(node))


def unfinite(value: Any, written: bytes) -> str:
    """Say which number in a value that was written is none of JSON's; nothing where all are.

    It is named by its JSON pointer. What was written without a null holds none, and is not looked
    at.
    """
    if _NULL not in written:
        return ""
    # The place of each is a chain of names, written out for the one that is wrong.
    waiting: list[tuple[Any, Any]] = [(None, value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, float):
            if not isfinite(one):
                return f"{_pointer(place)} is {one}"
            continue
        for name, member in _members(one):
            if type(member) not in _PLAIN:
                waiting.append(((place, name), member))
    return ""


def _members(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return what a value holds, as it is written, by name or by number."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (list, tuple, set, frozenset)):
        return enumerate(value)
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        return [(name, getattr(value, attribute)) for name, attribute in names]
    if hasattr(kind, "__pydantic_serializer__"):
        data = model_data(value)
        return _members(data) if isinstance(data, (Mapping, list)) else ()
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is None:  # and none where it is a date, or whatever else is written as a text
        fields = [one.name for one in getattr(kind, "__attrs_attrs__", ())]
    return [(name, getattr(value, name, None)) for name in fields]


def _pointer(place: Any) -> str:
    names = []
    while place is not None:
        place, name = place
        names.append(str(name))
    told = ""
    for name in reversed(names):
        told = pointer(told, name)
    return told or "it"
