"""Shapes: what an annotation admits as JSON, as a small tree of our own.

The decoder of msgspec stops at the first wrong field and, for types that do not say
otherwise, passes over unknown names. To list everything that is wrong, and to refuse
unknown names for every type, the tree names each object's fields and which of them must be there.
"""

import types
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from typing import (
    Annotated,
    Any,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import inspect, structs

from switchgear.binding.foreign import named, theirs, unread
from switchgear.binding.hints import filled_in, unmarked, unreadable
from switchgear.binding.records import is_record, members_of

__all__ = [
    "Array",
    "Choice",
    "Field",
    "Leaf",
    "Node",
    "Object",
    "Row",
    "Table",
    "bare",
    "kinds_of",
    "shape_of",
]

_LISTS = (list, set, frozenset, Sequence, MutableSequence, AbstractSet)
_DICTS = (dict, Mapping, MutableMapping)
_FEW = 20  # values that a message lists


class Leaf:
    """What msgspec judges as a whole.

    `integer`: may hold an int without bounds of its own. `decimal`, `real`: may hold decimals,
    floats. `nested`: may hold objects. `expected`: the type's own words for what it admits, from
    `Meta(extra={"expected": "an email address"})`; of a few values, those.
    """

    __slots__ = ("annotation", "decimal", "decode", "expected", "integer", "nested", "real")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(annotation).decode
        metas = (extra.extra for extra in bare(annotation)[1] if isinstance(extra, msgspec.Meta))
        words = [f"expected {meta['expected']}" for meta in metas if meta and "expected" in meta]
        info = inspect.type_info(annotation)
        if foreign := _foreign(info):
            raise TypeError(f"no JSON is known for {foreign}")
        kinds = kinds_of(info)
        self.expected = words[-1] if words else _choices(kinds)
        self.decimal = _holds(info, inspect.DecimalType)
        self.real = _holds(info, inspect.FloatType, inspect.AnyType)
        self.integer = any(isinstance(kind, inspect.IntType) and _endless(kind) for kind in kinds)
        self.nested = not all(isinstance(kind, _PLAIN) for kind in kinds)


class Field:
    """One named member of an object."""

    __slots__ = ("attribute", "name", "node", "required")

    def __init__(self, name: str, attribute: str, node: "Node", required: bool) -> None:
        self.name = name
        self.attribute = attribute
        self.node = node
        self.required = required


class Object:
    """A JSON object with known names."""

    __slots__ = ("annotation", "fields", "tag", "title")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.title: str = getattr(annotation, "__name__", str(annotation))
        self.fields: dict[str, Field] = {}  # filled later: a type may contain itself
        self.tag: tuple[str, str | int] | None = None


class Array:
    """A JSON array whose items share one shape; `whole` judges its length."""

    __slots__ = ("annotation", "item", "whole")

    def __init__(self, annotation: Any, item: "Node") -> None:
        self.annotation = annotation
        self.item = item
        self.whole = Leaf(_emptied(annotation, list[msgspec.Raw]))


class Table:
    """A JSON object with free names; `whole` judges their number and form."""

    __slots__ = ("key", "value", "whole")

    def __init__(self, annotation: Any, value: "Node", key: Any) -> None:
        self.key = key
        self.value = value
        self.whole = Leaf(_emptied(annotation, dict[key, msgspec.Raw]))


class Row(Leaf):
    """A JSON array each place of which has a shape of its own: a leaf where it is read.

    It is written from a `kind`: a tuple of `items`, or a structure with these `attributes`, behind
    its `tag`.
    """

    __slots__ = ("attributes", "items", "kind", "tag")

    def __init__(self, annotation: Any, kind: type[Any]) -> None:
        super().__init__(annotation)
        self.kind = kind
        self.items: list[Node] = []  # filled later: a type may contain itself
        self.attributes: tuple[str, ...] = ()
        self.tag: str | int | None = None


class Choice:
    """A union: objects are told apart by their tag, everything else by its JSON type.

    `rows` are the classes in it that are written as arrays.
    """

    __slots__ = ("array", "leaf", "nullable", "objects", "rows", "tag_field")

    def __init__(self, annotation: Any) -> None:
        self.leaf = Leaf(annotation)
        self.nullable = False
        self.tag_field = ""
        self.objects: dict[str | int | None, Node] = {}
        self.array: Node | None = None
        self.rows: list[Row] = []


Node = Leaf | Object | Array | Table | Choice

_PLAIN = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.LiteralType,
)


def bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Strip names and wrappers from an annotation: the type beneath, and its `Annotated` extras."""
    extras: tuple[Any, ...] = ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *own = get_args(annotation)
            extras = (*own, *extras)
        elif origin in (Required, NotRequired):
            (annotation,) = get_args(annotation)
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = ...` of Python 3.12
            annotation = annotation.__value__
        else:
            return annotation, extras


def shape_of(annotation: Any, known: dict[Any, Node] | None = None) -> Node:
    """Build the shape of `annotation`, a type that msgspec can decode.

    Raises TypeError where msgspec cannot, and for what another framework would read of it.
    """
    if known is not None:
        return _shape_of(annotation, known)
    try:
        return _shape_of(annotation, {})
    except TypeError:
        raise
    except Exception as error:  # of a field's annotation, which is evaluated only now
        raise TypeError(unreadable(annotation, error)) from error


def _shape_of(annotation: Any, known: dict[Any, Node]) -> Node:
    stripped, extras = bare(annotation)
    for extra in extras:
        if theirs(extra):
            raise TypeError(unread(extra))
    try:
        seen = known.get(stripped) if not extras else None
    except TypeError:  # an unhashable annotation (a Literal of lists, say) is never shared
        seen = None
    if seen is not None:
        return seen
    origin = get_origin(stripped) or stripped
    arguments = get_args(stripped)
    if origin in (Union, types.UnionType):
        return _choice(annotation, arguments, known)
    if origin in _LISTS and arguments:
        return Array(annotation, shape_of(arguments[0], known))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Array(annotation, shape_of(arguments[0], known))
    if origin in _DICTS and arguments:
        return Table(annotation, shape_of(arguments[1], known), arguments[0])
    if origin is tuple:
        return _tuple(annotation, arguments, known)
    if isinstance(origin, type):
        if issubclass(origin, msgspec.Struct):
            return _struct(stripped, origin, known)
        if is_record(origin):
            return _record(stripped, origin, known)
        if issubclass(origin, tuple) and hasattr(origin, "_fields"):
            return _named_tuple(annotation, stripped, origin, known)
    return Leaf(annotation)


def _tuple(annotation: Any, arguments: tuple[Any, ...], known: dict[Any, Node]) -> Node:
    items = [shape_of(argument, known) for argument in arguments]
    if all(type(item) is Leaf for item in items):
        return Leaf(annotation)
    row = Row(annotation, tuple)
    row.items = items
    return row


def _named_tuple(annotation: Any, stripped: Any, origin: Any, known: dict[Any, Node]) -> Row:
    row = known[stripped] = Row(annotation, origin)
    filled = dict(zip(getattr(origin, "__parameters__", ()), get_args(stripped), strict=False))
    hints = get_type_hints(origin, include_extras=True)
    for name in origin._fields:
        row.items.append(shape_of(filled_in(hints.get(name, Any), filled), known))
    return row


def _struct(annotation: Any, origin: type[msgspec.Struct], known: dict[Any, Node]) -> Node:
    config = origin.__struct_config__
    if config.array_like:
        row = known[annotation] = Row(annotation, origin)
        row.tag = config.tag
        for field in structs.fields(annotation):
            row.items.append(shape_of(_present(field.type), known))
        row.attributes = tuple(field.name for field in structs.fields(annotation))
        return row
    node = known[annotation] = Object(annotation)
    if config.tag is not None and config.tag_field is not None:
        node.tag = (config.tag_field, config.tag)
    for field in structs.fields(annotation):
        hint = _present(field.type)
        child = _member(origin, field.name, hint, field.default, known)
        name = field.encode_name
        node.fields[name] = Field(name, field.name, child, field.required)
    return node


def _record(annotation: Any, origin: type, known: dict[Any, Node]) -> Object:
    """Build the shape of a record, also of a generic one."""
    node = known[annotation] = Object(annotation)
    filled = dict(zip(getattr(origin, "__parameters__", ()), get_args(annotation), strict=False))
    hints = {
        name: filled_in(unmarked(hint), filled)
        for name, hint in get_type_hints(origin, include_extras=True).items()
    }
    for name, member in members_of(origin, hints).items():
        child = _member(origin, name, hints.get(name, Any), member.default, known)
        node.fields[name] = Field(name, name, child, member.required)
    return node


def _member(owner: type, name: str, hint: Any, default: Any, known: dict[Any, Node]) -> Node:
    """Build the shape of one member, if neither it nor its default is for another framework."""
    for mark in (*bare(hint)[1], default):
        if theirs(mark):
            raise TypeError(unread(mark, f"`{owner.__name__}.{name}`"))
    if default is ...:
        raise TypeError(f"`...` is the default of `{owner.__name__}.{name}`: leave it out")
    return shape_of(hint, known)


def _choice(annotation: Any, arguments: tuple[Any, ...], known: dict[Any, Node]) -> Node:
    kinds = [kind for kind in arguments if kind is not types.NoneType]
    nullable = len(kinds) < len(arguments)
    if len(kinds) == 1 and not nullable:
        return shape_of(kinds[0], known)
    choice = Choice(annotation)
    choice.nullable = nullable
    for kind in kinds:
        node = shape_of(kind, known)
        if isinstance(node, Object):
            choice.objects[node.tag[1] if node.tag else None] = node
            choice.tag_field = node.tag[0] if node.tag else ""
        elif isinstance(node, Table):
            choice.objects[None] = node
        elif isinstance(node, Row) and node.kind is not tuple:
            choice.rows.append(node)
        elif isinstance(node, (Array, Row)):
            choice.array = node
    return choice if choice.objects or choice.array or choice.rows else choice.leaf


def _present(annotation: Any) -> Any:
    """Drop `UnsetType` from a field's type: it says that the field may be absent, no more."""
    stripped, extras = bare(annotation)
    if get_origin(stripped) not in (Union, types.UnionType):
        return annotation
    kinds = tuple(kind for kind in get_args(stripped) if kind is not msgspec.UnsetType)
    kept: Any = Union[kinds]  # noqa: UP007 - the members are known only now
    for extra in extras:
        kept = Annotated[kept, extra]
    return kept


def _emptied(annotation: Any, container: Any) -> Any:
    """Keep an annotation's constraints and drop what it says about the members."""
    for extra in bare(annotation)[1]:
        container = Annotated[container, extra]
    return container


def kinds_of(info: inspect.Type) -> list[inspect.Type]:
    """Return the alternatives of a type, without their annotations."""
    if isinstance(info, inspect.Metadata):
        return kinds_of(info.type)
    if isinstance(info, inspect.UnionType):
        return [kind for member in info.types for kind in kinds_of(member)]
    return [info]


def _foreign(info: inspect.Type) -> str:
    """Name a class that msgspec knows no JSON for, or nothing."""
    if isinstance(info, inspect.CustomType):
        return named(info.cls)
    return next((name for member in _within(info) if (name := _foreign(member))), "")


def _holds(info: inspect.Type, *kinds: type[inspect.Type]) -> bool:
    return isinstance(info, kinds) or any(_holds(one, *kinds) for one in _within(info))


def _within(info: inspect.Type) -> list[inspect.Type]:
    """Return the types that a type is made of."""
    members = [
        getattr(info, name, None) for name in ("item_type", "key_type", "value_type", "type")
    ]
    members += [*getattr(info, "item_types", ()), *getattr(info, "types", ())]
    return [member for member in members if isinstance(member, inspect.Type)]


def _choices(kinds: list[inspect.Type]) -> str:
    """Return the words for a type of a few values, or nothing."""
    values: list[Any] = []
    for kind in kinds:
        if isinstance(kind, inspect.EnumType):
            values += [member.value for member in kind.cls]
        elif isinstance(kind, inspect.LiteralType):
            values += kind.values
        elif not isinstance(kind, inspect.NoneType):
            return ""
    if not 0 < len(values) <= _FEW:
        return ""
    shown = ", ".join(msgspec.json.encode(value).decode() for value in values)
    return f"expected {'one of ' if len(values) > 1 else ''}{shown}"


def _endless(kind: inspect.IntType) -> bool:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    return low is None or high is None
