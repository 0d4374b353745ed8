"""Encoders: a handler's result as JSON, holding the fields of its annotation and no others.

The annotation is an allow-list. A handler that declares `-> User` and returns a
`UserRow` with a password hash must not leak it, so a value of another type is first
trimmed to the declared one.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, get_args, is_typeddict

import msgspec

from switchgear.binding.finite import may_hold, unfinite
from switchgear.binding.models import holds_model, model_data, model_encoder
from switchgear.binding.parameters import ABSENT
from switchgear.binding.shape import Array, Choice, Leaf, Node, Object, Row, Table, bare, shape_of

__all__ = ["Encode", "encoder"]

Encode = Callable[[Any], bytes | None]
"""Writes a result; None where there is nothing to say (a 204 at an HTTP edge)."""

_Later = list[tuple[Any, Any]]  # checks, and what they are to look at yet
_Fits = Callable[[Any, _Later], bool]


def encoder(annotation: Any, subject: str) -> Encode:
    """Compile the encoder for a result annotation; `ABSENT` and `Any` are written as they come.

    The encoder raises TypeError, a defect of the function, for a result that does not fit.
    """
    if annotation in (ABSENT, Any, object):
        plain = _finite(_writer(subject), subject)
        return lambda value: None if value is None else plain(value)
    if bare(annotation)[0] in (None, type(None)):
        return _nothing(subject)
    if holds_model(annotation):
        return _modelled(annotation, subject)
    return _declared(annotation, subject)


def _writer(subject: str) -> Callable[[Any], bytes]:
    """Return what writes JSON, with models where the place is of free form."""

    def held(value: Any) -> Any:
        try:
            return model_data(value)
        except TypeError as error:
            raise TypeError(f"{subject} returned what cannot be JSON: {error}") from error

    return msgspec.json.Encoder(enc_hook=held).encode


def _finite(write: Callable[[Any], bytes], subject: str) -> Callable[[Any], bytes]:
    """Return what writes the same, and refuses a number that it would make null of."""

    def finite(value: Any) -> bytes:
        written = write(value)
        if found := unfinite(value, written):
            raise TypeError(f"{subject} returned what cannot be JSON: {found}")
        return written

    return finite


def _nothing(subject: str) -> Encode:
    def encode(value: Any) -> bytes | None:
        if value is not None:
            raise TypeError(f"{subject} declares -> None but returned a {type(value).__name__}")
        return None

    return encode


def _modelled(annotation: Any, subject: str) -> Encode:
    dump = _finite(model_encoder(annotation), subject)
    optional = _optional(annotation)

    def encode(value: Any) -> bytes | None:
        if value is None:
            if not optional:
                raise _missing(subject)
            return None
        try:
            return dump(value)
        except ValueError as error:  # pydantic's
            raise TypeError(f"{subject} returned what does not fit: {error}") from error

    return encode


def _optional(annotation: Any) -> bool:
    return type(None) in get_args(bare(annotation)[0])


def _missing(subject: str) -> TypeError:
    return TypeError(f"{subject} returned None, which its annotation does not allow")


def _declared(annotation: Any, subject: str) -> Encode:
    node = shape_of(annotation)
    fits = _Fitting().of(node)
    write = _writer(subject)
    if may_hold(node):
        write = _finite(write, subject)
    optional = _optional(annotation)

    def encode(value: Any) -> bytes | None:
        if value is None:
            if not optional:
                raise _missing(subject)
            return None
        if not fits(value):
            try:
                value = _trimmed(node, value)
            except TypeError as error:
                raise TypeError(f"{subject} returned what does not fit: {error}") from error
        return write(value)

    return encode


def _trimmed(node: Node, value: Any) -> Any:
    """Copy `value` as plain containers that hold what its shape declares and nothing else."""
    if value is None:
        return value
    if isinstance(node, Row):
        return _places(node, value)
    if isinstance(node, Leaf):
        return value
    if isinstance(node, Choice):
        chosen = _chosen(node, value)
        return value if chosen is None else _trimmed(chosen, value)
    if isinstance(node, Array):
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return [_trimmed(node.item, item) for item in value]
    if isinstance(node, Table):
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping, got {type(value).__name__}")
        return {name: _trimmed(node.value, member) for name, member in value.items()}
    return _members(node, value)


def _places(node: Row, value: Any) -> list[Any]:
    """Read what stands in the places of an array: by attribute from a structure, else in order."""
    if node.attributes:
        held = [getattr(value, name, msgspec.UNSET) for name in node.attributes]
    elif isinstance(value, (tuple, list)):
        held = list(value)
    else:
        raise TypeError(f"expected a {node.kind.__name__}, got {type(value).__name__}")
    if len(held) != len(node.items) or msgspec.UNSET in held:
        raise TypeError(f"expected {len(node.items)} members, got a {type(value).__name__}")
    members = [_trimmed(item, member) for item, member in zip(node.items, held, strict=True)]
    return members if node.tag is None else [node.tag, *members]


def _members(node: Object, value: Any) -> dict[str, Any]:
    """Read the declared fields, by name from a mapping and by attribute from anything else."""
    held: dict[str, Any] = {node.tag[0]: node.tag[1]} if node.tag else {}
    for name, field in node.fields.items():
        if isinstance(value, Mapping):
            member = value.get(name, msgspec.UNSET)
        else:
            member = getattr(value, field.attribute, msgspec.UNSET)
        if member is not msgspec.UNSET:
            held[name] = _trimmed(field.node, member)
        elif field.required:
            raise TypeError(f"{type(value).__name__} has no `{name}`, which {node.title} declares")
    return held


def _chosen(node: Choice, value: Any) -> Node | None:
    """Return the member of a union that `value` belongs to; None for a bare scalar."""
    if isinstance(value, _BARE):
        return None
    for row in node.rows:
        if isinstance(value, row.kind):
            return row
    if isinstance(value, (list, tuple, set, frozenset)) and node.array is not None:
        return node.array
    for member in node.objects.values():
        kind = _origin(member) if isinstance(member, Object) else dict
        if len(node.objects) == 1 or isinstance(value, kind):
            return member
    raise TypeError(f"{type(value).__name__} is no member of the union")


def _origin(node: Object) -> type[Any]:
    """Return the class of an object, of a TypedDict its dict."""
    origin: type[Any] = getattr(node.annotation, "__origin__", node.annotation)
    return dict if is_typeddict(origin) else origin


class _Fitting:
    """Builds the check that a value holds nothing but the classes its shape declares.

    Only classes matter, for only they carry further fields; a leaf of a wrong scalar type leaks
    nothing. None stands for "everything fits", and costs nothing. What a value holds is put off,
    not gone down into: a client may have sent as deep a tree as can be read.
    """

    def __init__(self) -> None:
        self._made: dict[int, _Fits] = {}

    def of(self, node: Node) -> Callable[[Any], bool]:
        check = self._check(node)
        if check is None:
            return _anything
        if isinstance(node, Object) and _origin(node) is not dict and not self._inner(node):
            return partial(_exactly, _origin(node))
        return partial(_whole, check)

    def _check(self, node: Node) -> _Fits | None:
        if isinstance(node, Row):
            return self._row(node)
        if isinstance(node, Leaf):
            return None
        if isinstance(node, Array):
            return _every(self._check(node.item), list)
        if isinstance(node, Table):
            return _every(self._check(node.value), dict)
        if isinstance(node, Choice):
            return self._choice(node)
        return self._object(node)

    def _object(self, node: Object) -> _Fits:
        made = self._made.get(id(node))
        if made is not None:
            return made
        inner: list[tuple[str, _Fits]] = []
        origin = _origin(node)
        names = frozenset(node.fields)

        def fits(value: Any, later: _Later) -> bool:
            if type(value) is not origin:
                return False
            for name, check in inner:
                later.append((check, getattr(value, name)))
            return True

        def mapped(value: Any, later: _Later) -> bool:
            if type(value) is not dict or not names >= value.keys():
                return False
            for name, check in inner:
                if name in value:
                    later.append((check, value[name]))
            return True

        made = self._made[id(node)] = mapped if origin is dict else fits
        inner += self._inner(node)
        return made

    def _row(self, node: Row) -> _Fits:
        made = self._made.get(id(node))
        if made is not None:
            return made
        inner: list[tuple[int, _Fits]] = []
        kind, names, size = node.kind, node.attributes, len(node.items)

        def fits(value: Any, later: _Later) -> bool:
            if type(value) is not kind or (not names and len(value) != size):
                return False
            for place, check in inner:
                later.append((check, getattr(value, names[place]) if names else value[place]))
            return True

        made = self._made[id(node)] = fits
        for place, item in enumerate(node.items):
            check = self._check(item)
            if check is not None:
                inner.append((place, check))
        return made

    def _inner(self, node: Object) -> list[tuple[str, _Fits]]:
        """Return the attributes that must be looked at, with their checks."""
        checks = [(field.attribute, self._check(field.node)) for field in node.fields.values()]
        return [(name, check) for name, check in checks if check is not None]

    def _choice(self, node: Choice) -> _Fits | None:
        members = (*node.objects.values(), *node.rows)
        checks = [check for member in members if (check := self._check(member))]
        rows = tuple(row.kind for row in node.rows)
        listed = self._check(node.array) if node.array else None
        if not checks and listed is None:
            return None

        def fits(value: Any, later: _Later) -> bool:
            if isinstance(value, (list, tuple, set, frozenset)) and not isinstance(value, rows):
                return listed is None or listed(value, later)
            if isinstance(value, _BARE):
                return True
            for check in checks:  # noqa: SIM110 - a generator would cost as much as the check
                if check(value, later):
                    return True
            return False

        return fits


_BARE = (str, int, float, bytes, type(None))


def _anything(value: Any) -> bool:
    return True


def _exactly(kind: type[Any], value: Any) -> bool:
    return type(value) is kind


def _whole(check: _Fits, value: Any) -> bool:
    later: _Later = []
    if not check(value, later):
        return False
    while later:
        check, value = later.pop()
        if not check(value, later):
            return False
    return True


def _every(check: _Fits | None, kind: type[Any]) -> _Fits | None:
    if check is None:
        return None

    def fits(value: Any, later: _Later) -> bool:
        if type(value) is not kind:
            return False
        for member in value.values() if kind is dict else value:  # noqa: SIM110 - as above
            if not check(member, later):
                return False
        return True

    return fits
