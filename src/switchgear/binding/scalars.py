"""Scalars: path, query, header and cookie texts as typed values."""

import re
import types
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Union, get_args, get_origin
from urllib.parse import unquote_plus

import msgspec

from switchgear.binding.shape import Array, Choice, Leaf, bare, shape_of
from switchgear.binding.wrong import NUL, WIDE, boundless, invalid, wording
from switchgear.policy.fault import Fault

__all__ = ["Convert", "cookies", "is_many", "is_scalar", "many", "one", "query_values"]

Convert = Callable[[str], Any]

_MOST_PAIRS: Final = 100
_SURE: Final = 19  # digits: fewer are surely no more than what 64 bits hold
_HALF_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_scalar(annotation: Any) -> bool:
    """Say whether one text can hold a value of `annotation`."""
    node = shape_of(annotation)
    return isinstance(node, Leaf) and not node.nested


def is_many(annotation: Any) -> bool:
    """Say whether several texts can hold a value of `annotation`: a list or set of scalars."""
    node = shape_of(annotation)
    if isinstance(node, Choice) and node.nullable and not node.objects:
        node = node.array or node
    return isinstance(node, Array) and isinstance(node.item, Leaf) and not node.item.nested


def one(annotation: Any) -> Convert:
    """Compile the conversion of one text. It raises ValueError in words for the client."""
    if bare(annotation) == (str, ()):
        return _text
    node = shape_of(annotation)
    expected = node.expected if isinstance(node, Leaf) else ""

    read = msgspec.convert
    plain = annotation is int

    def convert(text: str) -> Any:
        if plain and text.isdecimal() and text.isascii() and len(text) < _SURE and text[0] != "0":
            return int(text)  # as below, at a third of the price
        if "\0" in text:
            raise ValueError(NUL)
        try:
            value = read(text, annotation, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(expected or _blunt(wording(str(error))[1])) from None
        if type(value) is int:
            if not -(2**63) <= value < 2**63:
                raise ValueError(WIDE)
        elif isinstance(value, (float, Decimal)) and (right := boundless(value)):
            raise ValueError(right)
        return value

    return convert


def many(annotation: Any) -> Callable[[list[str]], Any]:
    """Compile the conversion of several texts into one list, set or tuple."""
    stripped, _ = bare(annotation)
    if get_origin(stripped) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(stripped) if is_many(kind))
    item = one(get_args(bare(annotation)[0])[0])

    def convert(texts: list[str]) -> Any:
        values = [item(text) for text in texts]
        try:
            return msgspec.convert(values, annotation)
        except msgspec.ValidationError as error:
            raise ValueError(wording(str(error))[1]) from None

    return convert


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError(NUL)
    return text


def _blunt(detail: str) -> str:
    """Drop what we got: everything that comes from a query is a string."""
    return detail.removesuffix(", got a string").removesuffix(" or null")


def query_values(query: str) -> Mapping[str, list[str]]:
    """Read a query string: UTF-8, whole escapes, at most 100 pairs.

    Raises `Fault` (invalid argument) otherwise.
    """
    pairs = query.split("&")
    if len(pairs) > _MOST_PAIRS:
        raise _unreadable(f"holds more than {_MOST_PAIRS} parameters")
    escaped = "%" in query or "+" in query
    if escaped and _HALF_ESCAPE.search(query):
        raise _unreadable("holds a percent sign that is no escape")
    values: dict[str, list[str]] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if escaped:
            name = _unescaped(name, "")
            text = _unescaped(text, name)
        if name in values:
            values[name].append(text)
        elif pair:
            values[name] = [text]
    return values


def _unescaped(text: str, name: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise _unreadable("is not UTF-8", name) from None


def _unreadable(detail: str, name: str = "") -> Fault:
    return invalid([{"parameter": name, "in": "query", "detail": detail}], "query")


def cookies(header: str) -> Mapping[str, str]:
    """Read a Cookie header: the first of equal names wins, as RFC 6265 section 5.4 orders them."""
    found: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if equals:
            found.setdefault(name, value.removeprefix('"').removesuffix('"'))
    return found
