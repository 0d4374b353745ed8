"""Explanations: everything that is wrong with a document, each by its JSON pointer.

This is the slow look, taken when the fast decoder has failed or `Scrutiny` suspects something.
It is linear in the body: the document is read once into plain values, numbers kept as written, and
each leaf is judged by the decoder of its own type.

Source: RFC 6901 (pointers), RFC 9457 section 3 (the `errors` member).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
from msgspec import Raw

from switchgear.binding.shape import Array, Choice, Field, Leaf, Node, Object
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["LIMIT", "Wrong", "explain", "invalid", "malformed", "pointer", "wording"]

LIMIT: Final = 100  # of errors in one answer: a wrong body must not buy a far larger one

_WORDS: Final = {
    "`int`": "an integer",
    "`float`": "a number",
    "`str`": "a string",
    "`bool`": "a boolean",
    "`array`": "an array",
    "`object`": "an object",
    "`null`": "null",
    "`bytes`": "base64 text",
    "`datetime`": "a date and time",
    "`date`": "a date",
    "`time`": "a time",
    "`duration`": "a duration",
    "`uuid`": "a UUID",
    "`decimal`": "a decimal",
}
_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_CODE: Final = re.compile(r"`[^`]*`")
_WIDE: Final = "expected an integer that fits in 64 bits"


class Wrong(NamedTuple):
    """One wrong place: where, and what would be right; `pedantic` where a lenient reader passes."""

    pointer: str
    detail: str
    pedantic: bool = False

    def member(self) -> dict[str, str]:
        """Return it as a member of `errors`."""
        return {"pointer": self.pointer, "detail": self.detail}


def malformed(reason: str) -> Fault:
    """Return the fault for a body that is no JSON at all (a 400 at an HTTP edge)."""
    return Fault(
        Code.INVALID_ARGUMENT,
        f"malformed JSON: {reason}",
        effect=Effect.NONE,
        public=f"The body is not valid JSON: {reason}.",
    )


def invalid(errors: list[dict[str, str]], subject: str) -> Fault:
    """Return the fault for well-formed input with wrong values (a 422 at an HTTP edge).

    Its `errors` are what tells it from a malformed one.
    """
    shown = errors[:LIMIT]
    extra: dict[str, object] = {"errors": shown}
    if len(errors) > LIMIT:
        extra["more"] = True
    places = ", ".join(
        error.get("pointer", error.get("parameter", "")) or "/" for error in shown[:5]
    )
    return Fault(
        Code.INVALID_ARGUMENT,
        f"{subject}: {len(shown)} wrong value{'s'[: len(shown) - 1]}, at {places}",
        effect=Effect.NONE,
        extra=extra,
    )


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


class _Doubled(dict[str, Any]):
    """An object in which names stood more than once."""

    names: tuple[str, ...] = ()


def _read(body: bytes) -> Any:
    """Read JSON strictly, numbers as they were written and repeated names noted."""
    if not body.strip():
        raise malformed("it is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"it is not UTF-8 at byte {error.start}") from None
    try:
        msgspec.json.decode(
            body, type=Raw
        )  # the grammar of the fast path, lone surrogates included
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_numeral,
            parse_float=_numeral,
            parse_constant=_constant,
        )
    except msgspec.DecodeError as error:
        raise malformed(_reason(str(error))) from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg.lower()} (character {error.pos})") from None


def _reason(message: str) -> str:
    reason = message.removeprefix("JSON is malformed: ")
    return "it ends too early" if reason == "Input data was truncated" else reason


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    doubled = _Doubled(plain)
    times = Counter(name for name, _ in pairs)
    doubled.names = tuple(name for name in plain if times[name] > 1)
    return doubled


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
        if "\0" in value:
            yield Wrong(at, "must not hold a NUL character")
            return
    elif isinstance(value, (dict, list)):
        yield from _loose(value, at)
    yield from _judge(node, value, at)


def _loose(value: Any, at: str) -> Iterator[Wrong]:
    """Look into a value of free form for what is refused everywhere."""
    if isinstance(value, str) and "\0" in value:
        yield Wrong(at, "must not hold a NUL character")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _loose(item, f"{at}/{index}")
    elif isinstance(value, dict):
        yield from _names(value, at)
        for name, member in value.items():
            yield from _loose(member, pointer(at, name))


def _names(value: dict[str, Any], at: str) -> Iterator[Wrong]:
    if isinstance(value, _Doubled):
        for name in value.names:
            yield Wrong(pointer(at, name), "is given more than once", pedantic=True)
    for name in value:
        if "\0" in name:
            yield Wrong(pointer(at, name), "must not hold a NUL character")


def _judge(node: Leaf, value: Any, at: str) -> Iterator[Wrong]:
    """Let msgspec judge one value as a whole."""
    try:
        read = node.decode(msgspec.json.encode(value))
    except msgspec.DecodeError as error:
        below, detail = wording(str(error))
        yield Wrong(at + below, node.expected or detail)
        return
    if node.integer and isinstance(read, int) and not -(2**63) <= read < 2**63:
        yield Wrong(at, _WIDE)


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


def pointer(at: str, name: str) -> str:
    """Go down one name, escaped as RFC 6901 asks."""
    return f"{at}/{name.replace('~', '~0').replace('/', '~1')}"


def wording(message: str) -> tuple[str, str]:
    """Translate one message of msgspec: the pointer it names, and plain words."""
    below = ""
    place = _PLACE.search(message)
    if place is not None:
        message = message[: place.start()]
        for name, index in _STEP.findall(place.group(1)):
            below = pointer(below, name or index)
    if message == "Integer value out of range":
        return below, _WIDE
    return below, _CODE.sub(_word, message[:1].lower() + message[1:])


def _word(quoted: re.Match[str]) -> str:
    """Say Python's type names in JSON's words; anything else keeps its quotes."""
    words = [_WORDS.get(f"`{part}`") for part in quoted[0].strip("`").split(" | ")]
    known = [word for word in words if word is not None]
    return " or ".join(known) if len(known) == len(words) else quoted[0]
