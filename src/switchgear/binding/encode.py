"""Encoders: a handler's result as JSON, holding the fields of its annotation and no others.

The annotation is an allow-list. A handler that declares `-> User` and returns a
`UserRow` with a password hash must not leak it, so a value of another type is first
trimmed to the declared one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, is_typeddict

import msgspec

from switchgear.binding.models import holds_model, model_encoder
from switchgear.binding.parameters import ABSENT
from switchgear.binding.shape import Array, Choice, Leaf, Node, Object, Table, bare, shape_of

__all__ = ["Encode", "encoder"]

Encode = Callable[[Any], bytes | None]
"""Writes a result; None where there is nothing to say (a 204 at an HTTP edge)."""

_Fits = Callable[[Any], bool]


def encoder(annotation: Any, subject: str) -> Encode:
    """Compile the encoder for a result annotation; `ABSENT` and `Any` are written as they come.

    The encoder raises TypeError, a defect of the function, for a result that does not fit.
    """
    if annotation in (ABSENT, Any, object):
        plain = msgspec.json.Encoder().encode
        return lambda value: None if value is None else plain(value)
    if bare(annotation)[0] in (None, type(None)):
        return _nothing(subject)
    if holds_model(annotation):
        dump = model_encoder(annotation)
        return lambda value: None if value is None else dump(value)
    return _declared(annotation, subject)


def _nothing(subject: str) -> Encode:
    def encode(value: Any) -> bytes | None:
        if value is not None:
            raise TypeError(f"{subject} declares -> None but returned a {type(value).__name__}")
        return None

    return encode


def _declared(annotation: Any, subject: str) -> Encode:
    node = shape_of(annotation)
    fits = _Fitting().of(node)
    write = msgspec.json.Encoder().encode
    optional = type(None) in get_args(bare(annotation)[0])

    def encode(value: Any) -> bytes | None:
        if value is None:
            if not optional:
                raise TypeError(f"{subject} returned None, which its annotation does not allow")
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
    if isinstance(node, Leaf) or value is None:
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
    nothing. None stands for "everything fits", and costs nothing.
    """

    def __init__(self) -> None:
        self._made: dict[int, _Fits] = {}

    def of(self, node: Node) -> _Fits:
        return self._check(node) or _anything

    def _check(self, node: Node) -> _Fits | None:
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

        def fits(value: Any) -> bool:
            if type(value) is not origin:
                return False
            return not inner or all(check(getattr(value, name)) for name, check in inner)

        def mapped(value: Any) -> bool:
            return (
                type(value) is dict
                and names >= value.keys()
                and all(check(value[name]) for name, check in inner if name in value)
            )

        made = self._made[id(node)] = mapped if origin is dict else fits
        for field in node.fields.values():
            check = self._check(field.node)
            if check is not None:
                inner.append((field.attribute, check))
        return made

    def _choice(self, node: Choice) -> _Fits | None:
        checks = [check for member in node.objects.values() if (check := self._check(member))]
        listed = self._check(node.array) if node.array else None
        if not checks and listed is None:
            return None

        def fits(value: Any) -> bool:
            if isinstance(value, (list, tuple, set, frozenset)):
                return listed is None or listed(value)
            return isinstance(value, _BARE) or any(check(value) for check in checks)

        return fits


_BARE = (str, int, float, bytes, type(None))


def _anything(value: Any) -> bool:
    return True


def _every(check: _Fits | None, kind: type[Any]) -> _Fits | None:
    if check is None:
        return None

    def fits(value: Any) -> bool:
        if type(value) is not kind:
            return False
        return all(check(member) for member in (value.values() if kind is dict else value))

    return fits
