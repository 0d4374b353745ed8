"""Our own lint: what ruff and mypy cannot know about this repository.

- Files in src stay below 400 lines.
- No lock or configuration file names a host to fetch from, nor a folder of somebody's machine:
  either would make the checkout work in one place only.
- The runtime lock agrees with the dev lock, which claims to hold all of it.
- A `type: ignore` or `noqa` carries its reason on its line; nothing is left to be done later.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST: Final = 400
SKIPPED: Final = {".git", ".venv", "__pycache__", "build", "dist", "node_modules"}
SETTINGS: Final = re.compile(
    r"(^|/)(requirements/.*\.txt|.*\.lock|.*lock\.json|\.npmrc|\.?pip\.conf|.*\.toml|.*\.cfg|.*\.ini"
    r"|.*\.ya?ml|dev|\.ci/.*|Dockerfile.*)$"
)
LOCKS: Final = re.compile(
    r"(^|/)(requirements/.*\.txt|.*\.lock|.*lock\.json|\.npmrc|\.?pip\.conf)$"
)
HOST: Final = re.compile(r"https?://|--(extra-)?index-url|--find-links|(?<!\w)resolved\b")
MACHINE: Final = re.compile(r"file://|(?<![\w$./}])/(home|root|Users|work|farm|opt|private)/")
LATER: Final = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X)\b")
SILENCED: Final = re.compile(
    r"#\s*(noqa|type:\s*ignore)\b(:\s*[A-Z0-9, ]+|\[[\w, -]+\])?(?P<rest>.*)"
)
PIN: Final = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def tracked(root: Path) -> list[str]:
    """List what is or will be committed; without git, all that is no by-product."""
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        names = [name for name in answer.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return [
        name
        for name in names
        if not SKIPPED.intersection(Path(name).parts) and (root / name).is_file()
    ]


def complaints(root: Path, name: str) -> Iterator[str]:
    """Say what is wrong with one file, as `path:line: what`."""
    try:
        lines = (root / name).read_text().splitlines()
    except UnicodeDecodeError:
        return
    if name.startswith("src/") and name.endswith(".py") and len(lines) > LONGEST:
        yield f"{name}: {len(lines)} lines, and {LONGEST} are too many: split it by concern"
    for number, line in enumerate(lines, 1):
        for what in _wrong(name, line):
            yield f"{name}:{number}: {what}"


def _wrong(name: str, line: str) -> Iterator[str]:
    if LOCKS.search(name) and HOST.search(line):
        yield "names a host to fetch from"
    if SETTINGS.search(name) and MACHINE.search(line):
        yield "names a folder of one machine"
    if not name.endswith(".py"):
        return
    if LATER.search(line):
        yield "leaves something to be done later"
    silenced = SILENCED.search(line)
    if silenced and not re.search(r"[a-z]{3}", silenced["rest"]):
        yield "silences a check without its reason"


def disagreements(root: Path) -> Iterator[str]:
    """Say which pins of the runtime lock the dev lock does not share."""
    runtime, dev = (
        dict(PIN.findall((root / "requirements" / f"{name}.txt").read_text()))
        for name in ("runtime", "dev")
    )
    for package, version in runtime.items():
        if dev.get(package) != version:
            yield f"requirements: {package} {version} in runtime.txt, {dev.get(package)} in dev.txt"


def main(root: Path) -> int:
    """Print every complaint; exit with 1 where there is one."""
    found = [what for name in tracked(root) for what in complaints(root, name)]
    found += disagreements(root)
    for what in found:
        print(what)
    print("our own checks: " + (f"{len(found)} complaints" if found else "nothing to complain of"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
