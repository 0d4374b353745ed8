"""The peers that ours is measured beside: what they are installed with, and where they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from bench._harness.servers import Contender, Missing

__all__ = ["binary", "in_node", "in_python", "installed", "modules", "python"]

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parents[1]
_MODULES: Final = Path(sys.prefix) / "bench-node"
_PYTHON: Final = Path(sys.prefix) / "bench-python"


def in_node(name: str, script: str, env: Mapping[str, str] | None = None) -> Contender | Missing:
    """Return a peer that is a script of ours for Node."""
    found = modules(name)
    if found is None:
        return Missing(name, "there is no node and npm on the PATH")
    return Contender(name, ["node", str(_HERE / script)], {"NODE_PATH": str(found), **(env or {})})


def in_python(name: str, command: Sequence[str]) -> Contender | Missing:
    """Return a peer that runs in the peers' own environment; `command` follows `python -m`."""
    home = python()
    if home is None:
        return Missing(name, f"its environment could not be set up in {_PYTHON}")
    env = {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return Contender(name, [str(home / "python"), "-m", *command], env)


def binary(name: str, program: str) -> str | Missing:
    """Return where a program is: on the PATH, or in a wheel of the peers' environment."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is not None:
        return found
    home = python()
    if home is not None and (home / program).exists():
        return str(home / program)
    return Missing(name, f"{program} is neither on the PATH nor among the peers' wheels")


@cache
def python() -> Path | None:
    """Install the locked list of peers into an environment of its own, once per lock.

    Returns the folder of its programs; None where that failed, having said why.
    """
    command = [sys.executable, str(_ROOT / "tools" / "bring_up.py")]
    command += [str(_ROOT), str(_PYTHON), "bench"]
    if subprocess.run(command, check=False).returncode:
        return None
    return _PYTHON / "bin"


@cache
def modules(wanted: str) -> Path | None:
    """Install the locked npm packages into the virtual environment, once per lock.

    Returns their folder; None where there is no node and npm.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        print(f"no node and npm on the PATH: without {wanted}")
        return None
    if installed() is None:
        _MODULES.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_HERE / name, _MODULES / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=_MODULES, check=True)
    return installed()


def installed() -> Path | None:
    """Return the folder of the npm packages, if those of the lock are there."""
    copy, found = _MODULES / "package-lock.json", _MODULES / "node_modules"
    lock = (_HERE / "package-lock.json").read_bytes()
    return found if found.exists() and copy.exists() and copy.read_bytes() == lock else None
