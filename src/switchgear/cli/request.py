"""What a command was asked, and how every command that starts something begins."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from switchgear.assembly.decode import Layer, Problem, SettingsError
from switchgear.assembly.failures import StartError, told
from switchgear.assembly.load import (
    Loaded,
    environment_layer,
    file_layer,
    find_file,
    flag_layer,
    load,
    validate,
)
from switchgear.assembly.settings import Settings
from switchgear.assembly.target import Target, find_target

__all__ = ["ADDRESS", "WRONG", "Request", "complain", "configured", "flags", "guarded"]

ADDRESS: Final = "--admin"
"""The flag whose value is HOST:PORT, or a port alone."""

WRONG: Final = 2  # the exit code for what whoever typed the command must change


class Request(NamedTuple):
    """The command line, read: the APP, the flags as (path, value, flag), the configuration file."""

    app: str | None
    flags: list[tuple[str, str, str]]
    config: str | None = None
    planner: str = ""

    def target(self) -> Target:
        """Find the application.

        Raises:
            StartError: there is none.
        """
        target = find_target(self.app or ".", _here())
        _check_text(f"{target.root}:{target.spec}")
        return target


def configured(
    request: Request, target: Target | None, base: Layer | None = None
) -> Loaded[Settings]:
    """Load and validate the settings; the data folder's path becomes absolute.

    Raises:
        StartError: the folder that the command was given in is gone, or the data folder's path
            is no text.
        SettingsError: something in them is wrong.
    """
    layers = [base] if base is not None else []
    folder = target.folder if target is not None else _here()
    path = Path(request.config) if request.config else find_file(folder)
    if path is not None:
        layers.append(file_layer(path))
    layers += [environment_layer(os.environ), flag_layer(request.flags)]
    loaded = validate(load(Settings, layers))
    try:
        data = str(Path(loaded.settings.data).expanduser().absolute())
    except RuntimeError:  # "~somebody", who is not known here
        wrong = f"there is no home folder for {loaded.settings.data!r}"
        raise SettingsError([Problem("data", wrong, loaded.sources.get("data", ""))]) from None
    _check_text(data)
    settings = msgspec.structs.replace(loaded.settings, data=data)
    return Loaded(settings, loaded.sources)


def _check_text(path: str) -> None:
    """Refuse what no other process could be told: bytes that are no text, or not in this locale."""
    try:
        path.encode()
    except UnicodeEncodeError:
        remedy = "rename it, or choose a locale of UTF-8 (LC_ALL=C.UTF-8)"
        raise StartError(f"the path {path!a} is not in UTF-8: {remedy}") from None


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise StartError(f"cannot tell the working directory: {told(error)}") from None


def flags(named: dict[str, tuple[str, str | None]], pairs: list[str]) -> list[tuple[str, str, str]]:
    """Gather flags: `named` maps each flag to its path and value, `pairs` are `--set a.b=value`.

    Raises:
        SettingsError: a pair is none.
    """
    found = []
    for flag, (path, value) in named.items():
        if flag == ADDRESS and value is not None:
            host, _, port = value.rpartition(":")
            found += [(f"{path}.host", host, flag)] if host else []
            found.append((f"{path}.port", port, flag))
        elif value is not None:
            found.append((path, value, flag))
    for pair in pairs:
        path, sign, value = pair.partition("=")
        if not sign or not path:
            problem = Problem("", f"--set {pair}: write it as --set path.to.setting=value")
            raise SettingsError([problem])
        found.append((path.strip(), value, f"--set {path}"))
    return found


def guarded(work: Callable[[], int]) -> int:
    """Run a command; what its caller must change is one clear message and exit code 2."""
    try:
        return work()
    except SettingsError as error:
        for problem in error.problems:
            complain(f"configuration: {problem}")
    except StartError as error:
        if error.trace:
            complain(error.trace, mark="")
        complain(error.sentence)
    return WRONG


def complain(text: str, mark: str = "switchgear: ") -> None:
    """Say what is wrong on standard error, where it can be said: the exit code tells it, too."""
    with suppress(OSError):
        print(f"{mark}{text}", file=sys.stderr, flush=True)
