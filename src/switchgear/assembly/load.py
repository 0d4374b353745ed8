"""Load the settings: defaults < `switchgear.toml` < `SWITCHGEAR_A__B=...` < flags.

Three stages: decode (this file and `decode`), validate (each part's own `problems()`, and whether
every secret is where it should be), build (the roles). `switchgear check` runs the first two.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import inspect

from switchgear.assembly.decode import (
    Layer,
    Leaf,
    Problem,
    SettingsError,
    Steps,
    converted,
    leaves,
)
from switchgear.assembly.secret import Secret

__all__ = [
    "FILE",
    "Loaded",
    "describe",
    "environment_layer",
    "file_layer",
    "find_file",
    "flag_layer",
    "load",
    "validate",
]

FILE: Final = "switchgear.toml"
PREFIX: Final = "SWITCHGEAR_"
Tree = TypeVar("Tree", bound=msgspec.Struct)
Tree_co = TypeVar("Tree_co", bound=msgspec.Struct, covariant=True)


class Loaded(msgspec.Struct, Generic[Tree_co], frozen=True):
    """The settings, and for each value that is not a default the source that gave it."""

    settings: Tree_co
    sources: Mapping[str, str]


def file_layer(path: Path) -> Layer:
    """Read a TOML file.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))  # some editors begin with a mark
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([Problem("", f"{path} is not TOML: {error}")]) from None
    except UnicodeDecodeError:
        raise SettingsError([Problem("", f"{path} is not UTF-8 text")]) from None
    except OSError as error:
        raise SettingsError([Problem("", f"cannot read {path}: {error.strerror}")]) from None
    return Layer(values, lambda _: str(path))


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Gather the variables `SWITCHGEAR_A__B`; two underscores step into a group.

    Raises:
        SettingsError: two variables contradict each other.
    """
    values: dict[str, Any] = {}
    names: dict[Steps, str] = {}
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX):
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            names[path] = name
            _put(values, path, value, name)
    return Layer(values, lambda path: _named(path, names, PREFIX), textual=True)


def flag_layer(pairs: Sequence[tuple[str, str, str]]) -> Layer:
    """Gather flags: each is (dotted path, value, the flag's name as it was written).

    Raises:
        SettingsError: two flags contradict each other.
    """
    values: dict[str, Any] = {}
    names: dict[Steps, str] = {}
    for dotted, value, name in pairs:
        path = tuple(dotted.split("."))
        names[path] = name
        _put(values, path, value, name)
    return Layer(values, lambda path: _named(path, names, "a flag"), textual=True)


def load(kind: type[Tree], layers: Sequence[Layer]) -> Loaded[Tree]:
    """Decode the layers, later ones over earlier ones, into a tree of the given type.

    Raises:
        SettingsError: with every problem that was found.
    """
    problems: list[Problem] = []
    chosen: dict[Steps, Leaf] = {}
    shape = inspect.type_info(kind)
    for layer in layers:
        for leaf in leaves(shape, layer, problems):
            chosen[leaf.path] = leaf
    tree = _build(kind, None, (), chosen, problems)
    if problems or tree is None:
        raise SettingsError(problems)
    return Loaded(tree, {".".join(path): leaf.source for path, leaf in chosen.items()})


def validate(loaded: Loaded[Tree]) -> Loaded[Tree]:
    """Check what no single value can tell: contradictions between settings, missing secrets.

    Raises:
        SettingsError: with every problem that was found.
    """
    problems = list(_contradictions(loaded.settings, ""))
    if problems:
        raise SettingsError(
            [one._replace(source=loaded.sources.get(one.path, "")) for one in problems]
        )
    return loaded


def describe(loaded: Loaded[Any]) -> list[tuple[str, str, str]]:
    """Return every setting as (path, value, source); a secret is shown as the place where it is."""
    return list(_described(loaded.settings, "", loaded.sources))


def _put(values: dict[str, Any], path: Steps, value: str, name: str) -> None:
    for step in path[:-1]:
        below = values.setdefault(step, {})
        if not isinstance(below, dict):
            raise SettingsError([Problem(".".join(path), f"{step!r} is set as a whole, too", name)])
        values = below
    if isinstance(values.get(path[-1]), dict):
        raise SettingsError([Problem(".".join(path), "parts of it are set, too", name)])
    values[path[-1]] = value


def _named(path: Steps, names: Mapping[Steps, str], default: str) -> str:
    """Return the name that gave this path, or a part of it (a secret's `env`)."""
    if path in names:
        return names[path]
    return next((name for one, name in names.items() if one[: len(path)] == path), default)


def _build(
    kind: type[Tree],
    base: Tree | None,
    path: Steps,
    chosen: Mapping[Steps, Leaf],
    problems: list[Problem],
) -> Tree | None:
    """Build one struct: what is chosen below its path, over `base`. None when it is wrong."""
    hints = get_type_hints(kind, include_extras=True)
    before = len(problems)
    below = [one for one in chosen if one[: len(path)] == path]
    values = {
        name: _value(hints[name], _default(kind, base, name), (*path, name), chosen, problems)
        for name in sorted({one[len(path)] for one in below})
    }
    if len(problems) > before:
        return None
    try:
        return kind(**values) if base is None else msgspec.structs.replace(base, **values)
    except (TypeError, ValueError) as error:  # a required setting, a part's own __post_init__
        problems.append(_own(kind, path, str(error), {one: chosen[one] for one in below}))
        return None


def _own(kind: type[Any], path: Steps, text: str, below: Mapping[Steps, Leaf]) -> Problem:
    """Tell a part's own refusal of the setting that it names, in the words of `ranges`."""
    name, said, rest = text.removeprefix(f"{kind.__name__}.").partition(" is ")
    leaf = below.get((*path, name))
    if leaf is not None and said and text.startswith(kind.__name__):
        return Problem(".".join(leaf.path), f"found {rest}", leaf.source)
    sources = sorted({one.source for one in below.values()})
    return Problem(".".join(path), text, ", ".join(sources))


def _value(
    hint: Any, base: Any, path: Steps, chosen: Mapping[Steps, Leaf], problems: list[Problem]
) -> Any:
    leaf = chosen.get(path)
    if leaf is not None:
        try:
            return converted(leaf, hint)
        except ValueError as error:
            problems.append(Problem(".".join(path), str(error), leaf.source))
            return None
    table, inner = _inside(hint)
    if not table:
        return _build(inner, base, path, chosen, problems)
    values = dict(base or {})
    for name in sorted({one[len(path)] for one in chosen if one[: len(path)] == path}):
        values[name] = _value(inner, values.get(name), (*path, name), chosen, problems)
    return values


def _default(kind: type[Tree], base: Tree | None, name: str) -> Any:
    if base is not None:
        return getattr(base, name)
    field = next(one for one in msgspec.structs.fields(kind) if one.name == name)
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _inside(hint: Any) -> tuple[bool, Any]:
    """Return (False, the struct) that a hint holds, or (True, the value type) of a table."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return False, hint
    arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) in (dict, Mapping):
        return True, arguments[1]
    return next(_inside(one) for one in arguments if one is not type(None))


def _contradictions(part: msgspec.Struct, path: str) -> Iterator[Problem]:
    if isinstance(part, Secret):
        try:
            part.reveal()
        except ValueError as error:
            yield Problem(path, str(error))
        return
    check = getattr(part, "problems", None)
    if check is not None:
        yield from (Problem(path, text) for text in check())
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if isinstance(value, msgspec.Struct):
            yield from _contradictions(value, f"{path}.{name}" if path else name)


def _described(value: Any, path: str, sources: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Secret):
        for name in value.__struct_fields__:
            below = f"{path}.{name}" if path else name
            yield from _described(getattr(value, name), below, sources)
    elif isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _described(member, f"{path}.{name}", sources)
    else:
        shown = value.place if isinstance(value, Secret) else repr(value)
        yield path, shown, sources.get(path, "default")


def find_file(folder: Path) -> Path | None:
    """Return the configuration file of a folder, if it has one.

    One that cannot be read is returned, too: to pass it over would be to run without it.
    """
    path = folder / FILE
    return path if os.path.lexists(path) else None
