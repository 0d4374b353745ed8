"""Keep a compiled build beside the sources, as a user would have it installed.

`python tools/compiled.py FOLDER`: build the wheel anew where anything of it has changed, unpack it
into FOLDER, and print where it is. It takes three minutes, and needs a C compiler and Python's
headers. Exit code 3: one of them is missing, and the reason is said.
"""

import os
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from fcntl import LOCK_EX, flock
from hashlib import sha256
from pathlib import Path
from shutil import rmtree, which
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).parents[1]
IMPOSSIBLE: Final = 3


def lacking() -> str:
    """Say what compiling lacks here, or nothing."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if which(compiler) is None:
        return f"there is no C compiler: {compiler!r} is not on the PATH (on Debian: gcc)"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return f"Python's headers are missing: there is no {header} (on Debian: python3-dev)"
    return ""


def mark() -> str:
    """Return what stands for everything that the build is made of."""
    seen = sha256(f"{sys.version} {sys.executable}\n".encode())
    for path in [
        ROOT / "pyproject.toml",
        ROOT / "requirements/dev.txt",
        ROOT / "tools/native.py",
        ROOT / "tools/compiling.py",
        ROOT / "tools/quick.h",
        *sorted((ROOT / "src").rglob("*")),
    ]:
        if path.is_file() and path.suffix not in {".pyc", ".so"}:
            seen.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
            seen.update(path.read_bytes())
    return seen.hexdigest()


def build(folder: Path) -> None:
    """Build and unpack.

    Raises subprocess.CalledProcessError where it fails; what failed has been said by then.
    """
    with TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", scratch],
            cwd=ROOT,
            env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"},
            stdout=sys.stderr,
            check=True,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        rmtree(folder, ignore_errors=True)
        with ZipFile(wheel) as archive:
            archive.extractall(folder)


def main(folder: Path) -> int:
    """Bring the build in `folder` up to date; return the exit code."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        lock = held.enter_context(folder.with_suffix(".lock").open("w"))
        flock(lock, LOCK_EX)  # two benchmarks at once build once
        stamp = folder / ".stamp"
        wanted = mark()
        if not stamp.is_file() or stamp.read_text("ascii") != wanted:
            reason = lacking()
            if reason:
                print(f"dev: nothing is compiled here: {reason}", file=sys.stderr)
                return IMPOSSIBLE
            print("dev: compiling, which takes about three minutes ...", file=sys.stderr)
            try:
                build(folder)
            except subprocess.CalledProcessError:
                return 1
            stamp.write_text(wanted, "ascii")
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
