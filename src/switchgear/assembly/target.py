"""The APP of the command line: a folder, `module:app`, or a file; and how it is imported."""

import importlib
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from inspect import iscoroutinefunction
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import ModuleType
from typing import Any, Final

import msgspec

from switchgear.assembly.elsewhere import MODULES
from switchgear.assembly.failures import StartError, told, user_trace
from switchgear.assembly.foreign import misshapen
from switchgear.assembly.made import Making, gathered

__all__ = ["Target", "find_target", "load_object", "load_target"]

_FILES: Final = ("app.py", "main.py")
_ATTRIBUTE: Final = "app"


class Target(msgspec.Struct, frozen=True):
    """Where an application is: import `module` with `root` on the path, take `attribute`."""

    root: str
    module: str
    attribute: str = _ATTRIBUTE

    @property
    def spec(self) -> str:
        """The module and attribute, as Python people write it."""
        return f"{self.module}:{self.attribute}"

    @property
    def folder(self) -> Path:
        """Where the application's own files stand, its configuration among them."""
        return Path(self.root)


def find_target(text: str, here: Path) -> Target:
    """Find the application without importing it.

    Raises:
        StartError: there is none.
    """
    head, _, attribute = text.partition(":")
    try:
        return _found(text, head, attribute or _ATTRIBUTE, here)
    except OSError as error:  # a folder that is closed to us, a circle of links
        raise StartError(f"cannot look for an app at {text!r}: {told(error)}") from None


def _found(text: str, head: str, attribute: str, here: Path) -> Target:
    there = _mode(here / head)
    path = (here / head).resolve()
    if S_ISDIR(there):
        return _in_folder(path, text, attribute)
    if head.endswith(".py") or "/" in head:
        if not S_ISREG(there):
            near = path.with_name(f"{path.name}.py")
            hint = f"; did you mean {head}.py?" if near.is_file() else ""
            raise StartError(f"there is no app at {text!r}: {path} does not exist{hint}")
        return Target(str(path.parent), path.stem, attribute)
    if not all(part.isidentifier() for part in head.split(".")):
        raise StartError(
            f"{text!r} names no app: give a folder with an app.py, or module:attribute"
        )
    return Target(str(here.resolve()), head, attribute)


def _in_folder(path: Path, text: str, attribute: str) -> Target:
    for name in _FILES:
        if S_ISREG(_mode(path / name)):
            return Target(str(path), name.removesuffix(".py"), attribute)
    if S_ISREG(_mode(path / "__init__.py")):
        return Target(str(path.parent), path.name, attribute)
    raise StartError(f"there is no app in the folder {text!r}: it has neither app.py nor main.py")


def _mode(path: Path) -> int:
    """Return the mode of what is there, or 0. Raises OSError where that cannot be seen.

    From Python 3.14 on, `is_file` and `is_dir` keep a closed folder and a circle of links to
    themselves.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def load_target(target: Target) -> Any:
    """Import the application.

    Raises:
        StartError: it cannot be imported, or is not there; with the user's part of the traceback.
    """
    if target.root not in sys.path:
        sys.path.insert(0, target.root)
    try:
        with gathered() as made:
            loaded = load_object(target.spec, what="the app", nor=", and no such folder")
    except StartError as error:
        if isinstance(error.__cause__, ImportError) and (hint := _packaged(target)):
            raise StartError(f"{error.sentence}; {hint}", error.trace) from error.__cause__
        raise
    _check_whole(target, loaded)
    _check_alone(target, loaded, made)
    return loaded


def _check_whole(target: Target, loaded: Any) -> None:
    """Refuse an app that its own modules import by another name: that is one more, and has theirs.

    Python knows a module by its name: `app` and `shop.app`, of one file, are two.
    """
    mine = sys.modules.get(target.module)
    for name, module in list(sys.modules.items()):
        if module is mine or _file(module) != _file(mine):
            continue
        lost = _declared(getattr(module, target.attribute, None)) - _declared(loaded)
        if lost:
            raise StartError(
                f"the app {target.spec!r} is imported once more by its own modules, as {name!r}:"
                f" {min(lost)} is declared on that one alone; {_one_name(target, name)}"
            )


def _check_alone(target: Target, loaded: Any, made: list[Making]) -> None:
    """Refuse an app that was made with others which declare something: they would not be served.

    One made at the same line is mostly the same file's under another name, and lacks nothing.
    """
    if not _is_ours(loaded):
        return
    mine = {where for app, where in made if app is loaded}
    for app, where in made:
        lost = _declared(app) - (_declared(loaded) if where in mine else set())
        if lost:
            raise StartError(
                f"the app {target.spec!r} serves what is declared on it, and {min(lost)} is"
                f" declared on another App, {app.name!r}, made at {where}: {MODULES}"
            )


def _one_name(target: Target, other: str) -> str:
    """Say how an app comes to one name: by the longer of two, which Python finds from above."""
    further = other.count(".") - target.module.count(".")
    if further <= 0:
        return f"have them import {target.module!r}"
    return f"give it as {other}:{target.attribute} from {Path(target.root).parents[further - 1]}"


def _file(module: Any) -> Any:
    """Return a module's file, without waking one that is only loaded when it is used."""
    try:
        return object.__getattribute__(module, "__dict__").get("__file__", module)
    except AttributeError:  # anybody may put anything there
        return module


def _declared(app: Any) -> set[str]:
    """Return what is declared on an app of ours; of another's it is not known."""
    if not _is_ours(app):
        return set()
    topics = {f"the consumer of {one.topic}" for one in app.subscriptions}
    return {one.name for one in (*app.endpoints, *app.mounts)} | topics


def _packaged(target: Target) -> str:
    """Say how the module of a package is given, whose relative imports need it to be one."""
    folder, module = Path(target.root), target.module
    while (folder / "__init__.py").is_file():
        folder, module = folder.parent, f"{folder.name}.{module}"
    if module == target.module:
        return ""
    return f"it is of a package, and is {module}:{target.attribute} from {folder}"


def load_object(spec: str, *, what: str = "the role", nor: str = "") -> Any:
    """Import "package.module:attribute"; `nor` says what else there is not where it is missing.

    Raises:
        StartError: it cannot be imported, or is not there.
    """
    name, _, attribute = spec.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise StartError(
                f"cannot import {what} {spec!r}: there is no module {name!r}{nor}"
            ) from None
        raise _failed(spec, what, error) from error
    except KeyboardInterrupt:  # whoever started it ends it
        raise
    except BaseException as error:  # user code may raise anything, and some call exit()
        raise _failed(spec, what, error) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        meant = _meant(attribute, vars(module))
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise StartError(
            f"cannot load {what} {spec!r}: the module {name!r} has no {attribute!r}{hint}"
        ) from None


def _meant(attribute: str, held: Mapping[str, Any]) -> str:
    """Find an app, or else the name that is near; classes and modules were imported."""
    choices = {
        name: value
        for name, value in held.items()
        if name[0] != "_" and not isinstance(value, (type, ModuleType))
    }
    apps = list(filter(lambda name: _is_app(choices[name]), choices))
    near = get_close_matches(attribute, apps, 1, 0.6) or apps[:1]
    return next(iter(near or get_close_matches(attribute, choices, 1, 0.6)), "")


def _is_app(value: object) -> bool:
    if _is_ours(value):
        return True
    return callable(value) and iscoroutinefunction(type(value).__call__) and not misshapen(value)


def _is_ours(value: object) -> bool:
    declaring = sys.modules.get("switchgear.assembly.app")  # whoever has made one has imported it
    return declaring is not None and isinstance(value, declaring.App)


def _failed(spec: str, what: str, error: BaseException) -> StartError:
    said = str(error).splitlines()
    summary = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return StartError(f"cannot import {what} {spec!r}: {summary}", user_trace(error))
