"""Boundless: numbers that pass any limit, or that nothing can store, in what was read of a body.

No JSON has them, so they come as texts, and Python's decimals are read more widely than they look:
"n_an" is not a number, "1e9_9_9_9" has an exponent, and so has one in the digits of another script.
What is not a number is no more than any balance, and no less than any price.
"""

import dataclasses
import re
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import msgspec

from switchgear.binding.wrong import boundless

__all__ = ["boundless_in", "may_be_boundless"]

# What one is written with: its name, an exponent, an escape of either, or very many digits (which
# are counted from their first, or a row of just too few takes a minute). Underscores may stand
# between any two signs, and what is beyond ASCII may be a digit. A float is endless from 1e309 on:
# with an exponent of two digits, from 210 before it.
_SUSPECT: Final = re.compile(
    rb"n_*a_*n|i_*n_*f|e_*[+-]?_*(?:[\d\x80-\xff]_*){3}|\\u"
    rb"|(?<![\d_\x80-\xff])[\d_\x80-\xff]{200}",
    re.IGNORECASE,
)
_PLAIN: Final = frozenset({int, str, bool, type(None), bytes})


def may_be_boundless(body: bytes) -> bool:
    """Say whether a body may hold such a number. No is sure."""
    return _SUSPECT.search(body) is not None


def boundless_in(root: Any) -> str:
    """Say what would be right instead of such a number that stands anywhere in a value.

    What a field has by default was not sent, and is its author's own.
    """
    later: list[Any] = [root]
    while later:
        value = later.pop()
        if isinstance(value, (float, Decimal)):
            if right := boundless(value):
                return right
        else:
            later += [one for one in _members(value) if type(one) not in _PLAIN]
    return ""


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return chain(value, value.values())
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return value
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        names, defaults = kind.__struct_fields__, kind.__struct_defaults__
        return _given(value, names, dict(zip(reversed(names), reversed(defaults), strict=False)))
    if (sent := getattr(value, "__pydantic_fields_set__", None)) is not None:
        return [one for name, one in vars(value).items() if name in sent]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return _given(
            value, [one.name for one in fields], {one.name: one.default for one in fields}
        )
    attributes = getattr(kind, "__attrs_attrs__", ())
    return _given(
        value, [one.name for one in attributes], {one.name: one.default for one in attributes}
    )


def _given(value: Any, names: Iterable[str], defaults: dict[str, Any]) -> Iterable[Any]:
    found = ((name, getattr(value, name, None)) for name in names)
    return [one for name, one in found if one is not defaults.get(name, _NONE)]


_NONE: Final = object()
