"""Strictness: what a typed decoder lets pass, noticed at the price of two counts.

msgspec passes over unknown names unless the type forbids them, takes the last of
repeated names, and reads integers of any length and strings with a NUL (which no PostgreSQL
text can hold). All of these are refused here, and the usual body must not pay for it.

The trick: outside of strings, a JSON document has exactly one colon per member. A body that was
decoded as a flat object with `n` required fields has at least `n` colons; if it has exactly `n`,
there is no further member, known, unknown or repeated. Only where the count differs (an
optional field is present, a value holds a colon) is a second decoding made, into a shadow: the same
names with raw values. Written back, the shadow has as many colons as the body, unless a name
was unknown or repeated. Rejected: re-reading every body by `json.loads(object_pairs_hook=...)`,
six times the price of the decode itself.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw

from switchgear.binding.shape import Array, Choice, Leaf, Node, Object, Table

__all__ = ["INT64", "Scrutiny"]

INT64: Final = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_LOW: Final = -(2**63)
_HIGH: Final = 2**63 - 1
_Plain: Final = str | INT64 | float | bool | None


class Scrutiny:
    """Say whether a body that was decoded to `value` deserves the slow look.

    A body with exactly `colons` colons and no backslash surely does not; -1 where no count says so.
    """

    __slots__ = ("_blind", "_decode", "_encode", "_floor", "_integers", "_literal", "colons")

    def __init__(self, node: Node) -> None:
        colons = -1
        self._integers: tuple[str, ...] = ()
        if isinstance(node, Object) and _flat(node):
            fields = node.fields.values()
            colons = sum(field.required for field in fields) + (node.tag is not None)
            self._integers = tuple(field.attribute for field in fields if _integer(field.node))
        self.colons = -1 if self._integers else colons
        self._floor = colons
        shadows = _Shadows()
        self._decode = msgspec.json.Decoder(shadows.of(node)).decode
        self._encode = msgspec.json.Encoder().encode
        self._literal = shadows.literal
        self._blind = shadows.recursive

    def suspects(self, body: bytes, value: Any) -> bool:
        """Return True where the body may hold what must be refused (never False wrongly)."""
        escaped = b"\\" in body
        if escaped and b"\\u0000" in body:
            return True
        colons = body.count(b":")
        if colons == self._floor:
            for name in self._integers:
                number = value.get(name) if type(value) is dict else getattr(value, name)
                if type(number) is int and not _LOW <= number <= _HIGH:
                    return True
            return False
        if self._blind or (escaped and not self._literal):
            return True  # an escaped colon in a value would stand in for a repeated member's
        try:
            return bool(self._encode(self._decode(body)).count(b":") != colons)
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError):
            return True


def _flat(node: Object) -> bool:
    return all(
        isinstance(field.node, Leaf) and not field.node.nested for field in node.fields.values()
    )


def _integer(node: Node) -> bool:
    return isinstance(node, Leaf) and node.integer


class _Shadows:
    """Builds the shadow of a shape.

    `literal`: it keeps all values as they were written. `recursive`: a type within itself, whose
    shadow cannot be named before it is made; what holds one is always looked at slowly.
    """

    def __init__(self) -> None:
        self.literal = True
        self.recursive = False
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
        return self._object(node)

    def _leaf(self, node: Leaf) -> Any:
        if not node.nested and not node.integer:
            return Raw
        self.literal = False
        return Any if node.nested else _Plain

    def _choice(self, node: Choice) -> Any:
        self.literal = False
        kinds: Any = _Plain
        for member in (*node.objects.values(), *([node.array] if node.array else ())):
            shadow = self.of(member)
            if shadow is Any:
                return Any
            kinds |= shadow
        return kinds

    def _object(self, node: Object) -> Any:
        if id(node) in self._made:
            made = self._made[id(node)]
            if made is None:
                self.recursive = True
                return Any
            return made
        self._made[id(node)] = None
        names = {f"field_{index}": name for index, name in enumerate(node.fields)}
        fields = [(alias, self.of(node.fields[name].node), UNSET) for alias, name in names.items()]
        field, tag = node.tag or (None, None)
        made = msgspec.defstruct("Shadow", fields, rename=names, tag_field=field, tag=tag)
        self._made[id(node)] = made
        return made
