"""Bring a virtual environment up to one of the locked lists: `bring_up.py ROOT VENV LIST`.

Called by `./dev`, by the bare Python of the machine, so it needs nothing but the standard library.
A file lock makes concurrent first uses safe, and ends with its holder, however that dies. The
stamp is written last and removed first: an interrupted set-up is done again.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import IO

LOCK = ".lock"
STAMP = ".stamp"


class SetupError(Exception):
    """The environment cannot be set up; the message is for whoever typed the command."""


def stamp(root: Path, name: str) -> bytes:
    """Return what `./dev` compares word for word: the list, the checkout, and both files."""
    head = f"{name} {root}\n".encode()
    files = (root / "pyproject.toml", root / "requirements" / f"{name}.txt")
    return head + b"".join(file.read_bytes() for file in files)


def holds(home: Path, wanted: bytes) -> bool:
    """Say whether the environment was brought to `wanted`, and its Python runs."""
    try:
        return runs(home) and (home / STAMP).read_bytes() == wanted
    except FileNotFoundError:
        return False


def runs(home: Path) -> bool:
    """Say whether the environment's Python starts and is new enough."""
    probe = [str(home / "bin" / "python"), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def claim(home: Path) -> IO[str]:
    """Take the lock, waiting for whoever has it; it is kept by keeping it open."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / LOCK).open("w")
    except PermissionError:
        raise SetupError(foreign(home)) from None
    except OSError as error:
        raise SetupError(f"{home} cannot be set up: {error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another ./dev that is setting up {home}")
        fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.access(home, os.W_OK):
        raise SetupError(foreign(home))
    return lock


def foreign(home: Path) -> str:
    """Tell an ordinary user what to do about somebody else's environment."""
    nearest = next(path for path in (home, *home.parents) if path.exists())
    uid = nearest.stat().st_uid
    return (
        f"{home} needs to be set up, but {nearest} belongs to user {uid} and you, user"
        f" {os.geteuid()}, may not write there. Let them run the same command, or name a folder"
        " of your own: DEV_VENV=FOLDER ./dev ..."
    )


def clear(home: Path) -> None:
    """Empty a folder whose Python no longer runs, but for the lock that we hold."""
    for entry in home.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def install(home: Path, root: Path, name: str) -> None:
    """Install the list, every hash checked, and then the project itself, in place."""
    python = str(home / "bin" / "python")
    locked = ["--require-hashes", "-r", str(root / "requirements" / f"{name}.txt")]
    itself = ["--no-deps", "--no-build-isolation", "-e", str(root)]
    uv = shutil.which("uv")
    if uv:
        tool = [uv, "pip", "install", "--quiet", "--python", python]
        if all(succeeds([*tool, *what]) for what in (locked, itself)):
            return
        say("uv could not; trying pip, which has settings of its own")
    if not succeeds([python, "-c", "import pip"], quiet=True):
        require([python, "-m", "ensurepip"], quiet=True)
    tool = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    require([*tool, *locked])
    require([*tool, *itself])


def succeeds(command: list[str], *, quiet: bool = False) -> bool:
    """Run a command; quiet ones are questions, whose answer is the exit code."""
    return subprocess.run(command, capture_output=quiet, check=False).returncode == 0


def require(command: list[str], *, quiet: bool = False) -> None:
    """Run a command that has no alternative."""
    if not succeeds(command, quiet=quiet):
        raise SetupError(f"this command failed: {' '.join(command)}")


def say(text: str) -> None:
    """Tell the person at the terminal; standard output belongs to the command itself."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def bring_up(root: Path, home: Path, name: str) -> None:
    """Make the environment hold the list, doing nothing where it does."""
    with claim(home):
        wanted = stamp(root, name)
        if holds(home, wanted):
            return
        say(f"setting up {home} from requirements/{name}.txt")
        (home / STAMP).unlink(missing_ok=True)
        if not runs(home):
            clear(home)
            venv.create(home, symlinks=True)
        install(home, root, name)
        fresh = home / f"{STAMP}.new"
        fresh.write_bytes(wanted)
        fresh.replace(home / STAMP)


def main() -> int:
    """Run, and turn what cannot be helped into one line instead of a traceback."""
    try:
        bring_up(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    except SetupError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
