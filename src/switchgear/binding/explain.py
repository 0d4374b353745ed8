"""Explanations: everything that is wrong with a document, each by its JSON pointer.

This is the slow look, taken once a body is known to be wrong, and only at bodies short enough
not to hold up the loop. The document is read once into plain values, numbers kept as written, and
each leaf is judged by the decoder of its own type.
"""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw

from switchgear.binding.shape import Array, Choice, Field, Leaf, Node, Object
from switchgear.binding.wrong import (
    HALF,
    LIMIT,
    NUL,
    WIDE,
    Wrong,
    boundless,
    halved,
    invalid,
    malformed,
    pointer,
    reason_of,
    wording,
)
from switchgear.policy.fault import Fault

__all__ = ["THOROUGH", "explain", "refusal"]

THOROUGH: Final = 32_768  # bytes: the slow look at a longer body would hold up the loop


def refusal(
    node: Node, body: bytes, subject: str, first: Wrong | Exception, *, lenient: bool = False
) -> Fault:
    """Return the fault for a body in which `first` was found wrong: by msgspec or by `Scrutiny`.

    All that is wrong is listed for bodies up to `THOROUGH` bytes, `first` alone for longer ones.
    """
    if isinstance(first, RecursionError):
        return malformed("it is nested too deeply")
    wrongs: list[Wrong] = []
    if len(body) <= THOROUGH:
        try:
            wrongs = [wrong for wrong in explain(node, body) if not (lenient and wrong.pedantic)]
        except Fault as fault:
            return fault
    if not wrongs and isinstance(first, Wrong):
        wrongs = [first]
    elif not wrongs and isinstance(first, msgspec.ValidationError):
        wrongs = [Wrong(*wording(str(first)))]
    elif not wrongs:
        if not halved(body):
            return malformed(reason_of(str(first)))
        wrongs = [Wrong("", HALF)]
    return invalid([wrong.member() for wrong in wrongs], subject)


def explain(node: Node, body: bytes) -> list[Wrong]:
    """List what is wrong with `body`, up to one more than `LIMIT`; empty where nothing is.

    Raises `Fault` when the body is not JSON, or nested deeper than can be read.
    """
    try:
        document = _read(body)
        found: list[Wrong] = []
        for wrong in _look(node, document, ""):
            found.append(wrong)
            if len(found) > LIMIT:
                break
        return found
    except RecursionError:
        raise malformed("it is nested too deeply") from None


class _Odd(dict[str, Any]):
    """An object in which names stood more than once, or without those that are no text."""

    names: tuple[str, ...] = ()
    halved = False


def _read(body: bytes) -> Any:
    """Read JSON strictly, numbers as they were written and repeated names noted."""
    if not body.strip():
        raise malformed("it is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"it is not UTF-8 at byte {error.start}") from None
    try:
        try:
            msgspec.json.decode(body, type=Raw)  # the grammar of the fast path
        except msgspec.DecodeError as error:
            if not halved(body):  # else each half is found where it stands
                raise malformed(reason_of(str(error))) from None
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_numeral,
            parse_float=_numeral,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg.lower()} (character {error.pos})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs) and not any(map(_half, plain)):
        return plain
    times = Counter(name for name, _ in pairs)
    odd = _Odd((name, value) for name, value in plain.items() if not _half(name))
    odd.names = tuple(name for name in odd if times[name] > 1)
    odd.halved = len(odd) < len(plain)
    return odd


def _half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _unfit(text: str) -> str:
    """Say what is refused in every text, or nothing."""
    if "\0" in text:
        return NUL
    return HALF if _half(text) else ""


def _numeral(text: str) -> Raw:
    return Raw(text.encode())


def _constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON")


def _look(node: Node, value: Any, at: str) -> Iterator[Wrong]:
    if isinstance(node, Leaf):
        yield from _leaf(node, value, at)
    elif isinstance(node, Choice):
        yield from _choice(node, value, at)
    elif isinstance(node, Array):
        if not isinstance(value, list):
            yield Wrong(at, f"expected an array, got {_name_of(value)}")
            return
        yield from _judge(node.whole, [None] * len(value), at)
        for index, item in enumerate(value):
            yield from _look(node.item, item, f"{at}/{index}")
    elif not isinstance(value, dict):
        yield Wrong(at, f"expected an object, got {_name_of(value)}")
    elif isinstance(node, Object):
        yield from _members(node, value, at)
    else:
        yield from _names(value, at)
        yield from _judge(node.whole, dict.fromkeys(value), at)
        for name, member in value.items():
            yield from _look(node.value, member, pointer(at, name))


def _members(node: Object, value: dict[str, Any], at: str) -> Iterator[Wrong]:
    yield from _names(value, at)
    tag_field, tag = node.tag or ("", "")
    if tag_field and tag_field not in value:
        yield Wrong(pointer(at, tag_field), "is required")
    elif tag_field and _plain(value[tag_field]) != tag:
        yield Wrong(pointer(at, tag_field), f"expected {tag!r}")
    for name, field in node.fields.items():
        if name in value:
            yield from _look(field.node, value[name], pointer(at, name))
        elif field.required:
            yield Wrong(pointer(at, name), "is required")
    for name in value:
        if name not in node.fields and name != tag_field:
            yield Wrong(pointer(at, name), _unknown(name, node.fields), pedantic=True)


def _unknown(name: str, fields: dict[str, Field]) -> str:
    close = [known for known in fields if known.lower().replace("_", "") == _folded(name)]
    return f"is not known here (did you mean {close[0]!r}?)" if close else "is not known here"


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _choice(node: Choice, value: Any, at: str) -> Iterator[Wrong]:
    if isinstance(value, dict) and node.objects:
        tag = _plain(value.get(node.tag_field)) if node.tag_field else None
        chosen = node.objects.get(tag if isinstance(tag, (str, int)) else None)
        if chosen is not None:
            yield from _look(chosen, value, at)
        else:
            tags = ", ".join(repr(known) for known in node.objects)
            yield Wrong(pointer(at, node.tag_field), f"expected one of {tags}")
    elif isinstance(value, list) and node.array is not None:
        yield from _look(node.array, value, at)
    else:
        yield from _leaf(node.leaf, value, at)


def _leaf(node: Leaf, value: Any, at: str) -> Iterator[Wrong]:
    if isinstance(value, str):
        if wrong := _unfit(value):
            yield Wrong(at, wrong)
            return
    elif isinstance(value, (dict, list)):
        yield from _loose(value, at)
    yield from _judge(node, value, at)


def _loose(value: Any, at: str) -> Iterator[Wrong]:
    """Look into a value of free form for what is refused everywhere."""
    if isinstance(value, str):
        if wrong := _unfit(value):
            yield Wrong(at, wrong)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _loose(item, f"{at}/{index}")
    elif isinstance(value, dict):
        yield from _names(value, at)
        for name, member in value.items():
            yield from _loose(member, pointer(at, name))


def _names(value: dict[str, Any], at: str) -> Iterator[Wrong]:
    if isinstance(value, _Odd):
        if value.halved:
            yield Wrong(at, f"a name {HALF}")  # no pointer could be written with it
        for name in value.names:
            yield Wrong(pointer(at, name), "is given more than once", pedantic=True)
    for name in value:
        if "\0" in name:
            yield Wrong(pointer(at, name), NUL)


def _judge(node: Leaf, value: Any, at: str) -> Iterator[Wrong]:
    """Let msgspec judge one value as a whole."""
    try:
        read = node.decode(msgspec.json.encode(value))
    except UnicodeEncodeError:
        return  # half of a pair within, which is told where it stands
    except msgspec.DecodeError as error:
        below, detail = wording(str(error))
        yield Wrong(at + below, node.expected or detail)
        return
    if node.integer and isinstance(read, int) and not -(2**63) <= read < 2**63:
        yield Wrong(at, WIDE)
    elif isinstance(read, Decimal) and (right := boundless(read)):
        yield Wrong(at, right)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def _name_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "a number"
