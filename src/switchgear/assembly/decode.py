"""Decoding: raw values from several sources against the types of the settings, leaf by leaf.

msgspec alone would stop at the first wrong value and could not say which file or variable it came
from; here every problem is gathered, each with its full path, its source and what would be right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from switchgear.assembly.secret import Secret
from switchgear.policy.duration import seconds

__all__ = ["Layer", "Leaf", "Problem", "SettingsError", "Steps", "converted", "leaves", "shown"]

Steps = tuple[str, ...]
"""A path into the tree, a name per step."""

_NO_TIMES: Final = frozenset({"rate", "burst", "ratio", "share", "idle_reuse"})
"""Every other setting that is a float is a duration: seconds, as everywhere."""


class Layer(NamedTuple):
    """The values of one source. `textual`: they are text, as a variable or a flag gives them.

    `name` tells where the value of a path came from.
    """

    values: Mapping[str, Any]
    name: Callable[[Steps], str]
    textual: bool = False


class Leaf(NamedTuple):
    """One raw value at its place."""

    path: Steps
    kind: inspect.Type
    value: Any
    source: str
    textual: bool

    @property
    def timed(self) -> bool:
        """Whether it may be written as a duration: one that is a number, and no rate."""
        return isinstance(_bare(self.kind), inspect.FloatType) and self.path[-1] not in _NO_TIMES


class Problem(NamedTuple):
    """One thing that is wrong, in words that say what would be right."""

    path: str
    text: str
    source: str = ""

    def __str__(self) -> str:
        where = f" (from {self.source})" if self.source else ""
        return f"{self.path}: {self.text}{where}" if self.path else f"{self.text}{where}"


class SettingsError(Exception):
    """The configuration is wrong: every problem that was found, one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def leaves(kind: inspect.Type, layer: Layer, problems: list[Problem]) -> Iterator[Leaf]:
    """Walk a layer's values along the types; what has no place there is a problem."""
    yield from _walk(kind, layer.values, (), layer, problems)


def _walk(
    kind: inspect.Type, value: Any, path: Steps, layer: Layer, problems: list[Problem]
) -> Iterator[Leaf]:
    inner = _branch(kind)
    if inner is None:
        yield Leaf(path, kind, value, layer.name(path), layer.textual)
        return
    if layer.textual and isinstance(value, str):
        value = _inline(value)
    if not isinstance(value, Mapping):
        text = f"found {shown(value)}, where a group of settings would be right"
        if isinstance(inner, inspect.StructType):
            text += f": {', '.join(field.name for field in inner.fields)}"
        problems.append(Problem(".".join(path), text, layer.name(path)))
        return
    for key, member in value.items():
        below = (*path, key)
        if isinstance(inner, inspect.DictType):
            yield from _walk(inner.value_type, member, below, layer, problems)
            continue
        found = next((field for field in inner.fields if field.name == key), None)
        if found is None:
            text = _unknown(key, inner.fields, layer.textual)
            problems.append(Problem(".".join(below), text, layer.name(below)))
        else:
            yield from _walk(found.type, member, below, layer, problems)


def _branch(kind: inspect.Type) -> inspect.StructType | inspect.DictType | None:
    """Return the type to walk into, or None at a leaf. A secret's reference is one leaf."""
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType) and not issubclass(kind.cls, Secret):
        return kind
    return kind if isinstance(kind, inspect.DictType) else None


def _bare(kind: inspect.Type) -> inspect.Type:
    """Strip metadata and the `| None` of an optional setting."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        rest = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return _bare(rest[0]) if len(rest) == 1 else kind
    return kind


def _unknown(key: str, fields: Sequence[inspect.Field], textual: bool) -> str:
    if meant := _stepped(key, fields):
        dot = ", whose dot is __ in a variable's name" if textual else ""
        return f"there is no such setting; did you mean {meant!r}{dot}?"
    choices = [field.name for field in fields]
    close = get_close_matches(key, choices, 1, 0.6)
    if close:
        return f"there is no such setting; did you mean {close[0]!r}?"
    return f"there is no such setting; there are: {', '.join(choices)}"


def _stepped(key: str, fields: Sequence[inspect.Field]) -> str:
    """Find what a name means that steps into a group by one underscore; nothing where none does."""
    for field in fields:
        inner, rest = _branch(field.type), key.removeprefix(f"{field.name}_")
        if isinstance(inner, inspect.StructType) and rest != key:
            here = any(one.name == rest for one in inner.fields)
            if below := rest if here else _stepped(rest, inner.fields):
                return f"{field.name}.{below}"
    return ""


def converted(leaf: Leaf, annotation: Any) -> Any:
    """Convert one leaf to its type.

    Raises:
        ValueError: it does not fit; the message says what was found and what would be right.
    """
    kind, value = _bare(leaf.kind), leaf.value
    if isinstance(kind, inspect.StructType) and issubclass(kind.cls, Secret):
        return _secret(kind.cls, value)
    if leaf.timed and isinstance(value, str):
        value = _duration(value)
    elif leaf.textual and isinstance(value, str):
        value = _text(kind, value)
    right = _right(leaf.kind, leaf.timed)
    try:
        found = msgspec.convert(value, annotation, strict=not leaf.textual)
    except msgspec.ValidationError:
        raise ValueError(f"found {shown(leaf.value)}, where {right} would be right") from None
    if any("\0" in text for text in _texts(found)):  # the system takes none: no path, no name
        raise ValueError(f"found {shown(leaf.value)}, where {right} without NUL would be right")
    if isinstance(found, float) and not isfinite(found):  # no JSON: no process could be told of it
        right = right.replace("a number", "a finite number", 1)
        raise ValueError(f"found {shown(leaf.value)}, where {right} would be right")
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _texts(one)


def _secret(cls: type[Secret], value: Any) -> Secret:
    if isinstance(value, str):
        value = _inline(value) if value.startswith("{") else value
    if isinstance(value, str):
        return cls.written(value)
    if not isinstance(value, Mapping) or not value or set(value) - {"env", "file"}:
        raise ValueError('a secret is referred to by {env = "VARIABLE"} or {file = "/path"}')
    return msgspec.convert(value, cls)


def _text(kind: inspect.Type, value: str) -> Any:
    """Read a variable's or flag's text as the setting's type wants it."""
    if isinstance(kind, inspect.BoolType):
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value, value)
    listing = isinstance(
        kind, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
    )
    if listing and not value.startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    return _inline(value) if listing else value


def _duration(value: str) -> Any:
    """Read "250ms" as 0.25; what is no duration is left for the type to refuse."""
    try:
        return seconds(value)
    except ValueError:
        return value


def _inline(value: str) -> Any:
    """Read a list or a table as TOML writes it, which JSON's lists and empty tables are too."""
    import tomllib

    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def shown(value: Any) -> str:
    """Show a wrong value to a person."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    return f"{'the text ' if isinstance(value, str) else ''}{value!r}"


def _right(kind: inspect.Type, timed: bool = False) -> str:
    """Say what a type takes, in words."""
    optional = isinstance(kind, inspect.UnionType)
    kind = _bare(kind)
    words = "a value of another form"
    if isinstance(kind, inspect.IntType):
        words = f"a whole number{_range(kind)}"
    elif isinstance(kind, inspect.FloatType):
        how = ' (a duration in seconds, or such as "250ms")' if timed else ""
        words = f"a number{_range(kind)}{how}"
    elif isinstance(kind, inspect.BoolType):
        words = "true or false"
    elif isinstance(kind, inspect.StrType):
        words = "a text"
    elif isinstance(kind, inspect.LiteralType):
        words = f"one of {', '.join(map(repr, kind.values))}"
    elif isinstance(kind, (inspect.ListType, inspect.VarTupleType, inspect.SetType)):
        words = f"a list, each item {_right(kind.item_type)},"
    return f"{words} or nothing" if optional else words


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low, above, high = kind.ge, kind.gt, kind.le
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    if low is not None:
        return f" of at least {low:.15g}"
    if above is not None:
        return f" above {above:.15g}" + ("" if high is None else f", up to {high:.15g}")
    return ""
