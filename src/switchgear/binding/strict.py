"""Strictness: what a typed decoder lets pass, noticed at the price of a count.

msgspec passes over unknown names unless the type forbids them, takes the last of repeated names,
and reads integers of any length, decimals that are not a number, and strings with a NUL (which no
PostgreSQL text can hold). All of these are refused here, and the usual body must not pay for it.

The trick: outside of strings, a JSON document has exactly one colon per member. A body that was
decoded as a flat object with `n` required fields has at least `n` colons; if it has exactly `n`,
there is no further member, known, unknown or repeated. Only where the count differs (an
optional field is present, a value holds a colon) is a second decoding made, into a shadow: the same
names with raw values, unknown names forbidden. Written back, the shadow has as many colons as
the body, unless a name was repeated. Rejected: re-reading every body by
`json.loads(object_pairs_hook=...)`, six times the price of the decode itself.
"""

import json
import re
from collections import Counter
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw

from switchgear.binding.beneath import beneath
from switchgear.binding.boundless import boundless_in, may_be_boundless
from switchgear.binding.shape import Array, Choice, Leaf, Node, Object, Table
from switchgear.binding.wrong import NUL, WIDE, Wrong, malformed, pointer, wording

__all__ = ["INT64", "Scrutiny"]

INT64: Final = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_LOW: Final = -(2**63)
_HIGH: Final = 2**63 - 1
_Plain: Final = str | INT64 | float | bool | None
_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Scrutiny:
    """Find the first thing that is wrong with a body which was decoded to `value`.

    A body with exactly `colons` colons and no backslash has nothing; -1 where no count says so.
    The work is linear in the body and runs in C, except for bodies that escape their colons.
    """

    __slots__ = ("_decimal", "_decode", "_encode", "_floor", "_integers", "_literal", "colons")

    def __init__(self, node: Node) -> None:
        self._floor = -1
        self._integers: tuple[tuple[str, str], ...] = ()
        if isinstance(node, Object) and _flat(node):
            fields = node.fields.values()
            self._floor = sum(field.required for field in fields) + (node.tag is not None)
            self._integers = tuple(
                (field.attribute, field.name) for field in fields if _integer(field.node)
            )
        self._decimal = _holds_decimal(node)
        self.colons = -1 if self._integers or self._decimal else self._floor
        shadows = _Shadows()
        self._decode = msgspec.json.Decoder(shadows.of(node)).decode
        self._encode = msgspec.json.Encoder().encode
        self._literal = shadows.literal

    def wrong(self, body: bytes, value: Any) -> Wrong | None:
        """Return the first wrong place, or None.

        Raises `msgspec.DecodeError` or `UnicodeDecodeError` for what the typed decoder skipped and
        is no text.
        """
        escaped = b"\\u00" in body
        if escaped and _ESCAPED_NUL.search(body):
            return Wrong("", NUL)
        if self._decimal and may_be_boundless(body) and (right := boundless_in(value)):
            return Wrong("", right)
        colons = body.count(b":")
        if colons == self._floor:
            return self._wide(value)
        try:
            shadow = self._encode(self._decode(body))
        except msgspec.ValidationError as error:
            return Wrong(*wording(str(error)))
        if escaped and not self._literal and b"\\u003a" in body.lower():
            return _repeated(body)  # an escaped colon would stand in for a repeated member's
        return None if shadow.count(b":") == colons else _repeated(body)

    def _wide(self, value: Any) -> Wrong | None:
        for attribute, name in self._integers:
            number = value.get(name) if type(value) is dict else getattr(value, attribute)
            if type(number) is int and not _LOW <= number <= _HIGH:
                return Wrong(pointer("", name), WIDE)
        return None


def _flat(node: Object) -> bool:
    return all(
        isinstance(field.node, Leaf) and not field.node.nested for field in node.fields.values()
    )


def _integer(node: Node) -> bool:
    return isinstance(node, Leaf) and node.integer


def _holds_decimal(root: Node) -> bool:
    """Say whether a decimal may stand anywhere in a shape."""
    leaves = (node.whole if isinstance(node, Table) else node for node in beneath(root))
    return any(isinstance(leaf, Leaf) and leaf.decimal for leaf in leaves)


class _RepeatedError(ValueError):
    """A name stood twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise _RepeatedError(times.most_common(1)[0][0])


def _repeated(body: bytes) -> Wrong | None:
    """Look for a repeated name, which is told without its place: finding that is slow."""
    try:
        json.loads(body, object_pairs_hook=_pairs, parse_int=len, parse_float=len)
    except _RepeatedError as error:
        return Wrong("", f"the name {error.args[0]!r} is given more than once", pedantic=True)
    except UnicodeDecodeError as error:
        raise malformed(str(error)) from None
    return None


class _Shadows:
    """Builds the shadow of a shape; `literal`: it keeps all values as they were written."""

    def __init__(self) -> None:
        self.literal = True
        self._made: dict[int, Any] = {}

    def of(self, node: Node) -> Any:
        if isinstance(node, Leaf):
            return self._leaf(node)
        if isinstance(node, Array):
            return list[self.of(node.item)]  # type: ignore[misc]  # a type made at run time
        if isinstance(node, Table):
            self.literal = False
            return dict[str, self.of(node.value)]  # type: ignore[misc]  # a type made at run time
        if isinstance(node, Choice):
            return self._choice(node)
        return self._made.get(id(node)) or self._object(node)

    def _leaf(self, node: Leaf) -> Any:
        if not node.nested and not node.integer:
            return Raw
        self.literal = False
        return Any if node.nested else _Plain

    def _choice(self, node: Choice) -> Any:
        self.literal = False
        if node.rows:
            return Any
        kinds: Any = _Plain
        for member in (*node.objects.values(), *([node.array] if node.array else ())):
            kinds |= self.of(member)
        return kinds

    def _object(self, node: Object) -> Any:
        names = {f"field_{index}": name for index, name in enumerate(node.fields)}
        self.literal = self.literal and not any(":" in name for name in node.fields)
        tag_field, tag = node.tag or (None, None)
        made = msgspec.defstruct(
            "Shadow",
            [(alias, Any, UNSET) for alias in names],
            rename=names,
            forbid_unknown_fields=True,
            tag_field=tag_field,
            tag=tag,
            gc=False,
        )
        self._made[id(node)] = made
        # Filled in only now, before any decoder reads it: a type may contain itself.
        made.__annotations__.update(
            {alias: self.of(node.fields[name].node) for alias, name in names.items()}
        )
        return made
