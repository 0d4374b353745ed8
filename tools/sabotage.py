"""Break a copy of the code on purpose, one trap at a time, and see which test catches it.

A trap is a unified diff `sabotage/NN-name.patch` under a header of two kinds of line:

    Breaks: a permit is not given back when the work is cancelled
    Caught-by: tests/unit/core/test_stack.py::test_a_cancelled_call_returns_its_permit

`Caught-by` may stand several times and may name a whole file or folder. For each trap the tests
must first pass on an unbroken copy (the control), and then fail on the broken one. The working
tree is never touched. The exit code is 0 when every trap was caught.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIMIT: Final = 300.0
"""Seconds for the tests of one trap: a test that only hangs does not say what broke."""

BY_PRODUCTS: Final = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".switchgear", ".venv", "__pycache__", "build", "dist"
)
HUNK: Final = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class MisfitError(Exception):
    """The patch does not fit the tree as it is now."""


@dataclass(frozen=True)
class Trap:
    """One way to break the code, and the tests that ought to notice."""

    name: str
    breaks: str
    tests: tuple[str, ...]
    diff: str


@dataclass(frozen=True)
class Run:
    """How tests ended: pytest's exit code (None: out of time), and which of them failed."""

    code: int | None
    failed: tuple[str, ...]
    output: str


def read(path: Path) -> Trap:
    """Read a trap from its file."""
    header, mark, diff = path.read_text().partition("\n--- ")
    breaks = re.findall(r"^Breaks:\s*(.+)$", header, re.MULTILINE)
    tests = re.findall(r"^Caught-by:\s*(\S+)$", header, re.MULTILINE)
    if not (mark and breaks and tests):
        raise SystemExit(f"{path}: a trap needs 'Breaks:', 'Caught-by:' and a unified diff")
    return Trap(path.stem, breaks[0], tuple(tests), "--- " + diff)


def apply(diff: str, root: Path) -> None:
    """Apply a unified diff to existing files, or raise `MisfitError` and leave them as they were.

    The lines of a hunk must match exactly. They may have moved, as long as they stand in one place.
    """
    changed: dict[Path, list[str]] = {}
    lines = diff.split("\n")
    target, shift, at = Path(), 0, 0
    while at < len(lines):
        line, hunk = lines[at], HUNK.match(lines[at])
        at += 1
        if line.startswith("+++ "):
            target, shift = root / _name(line), 0
            if not target.is_file():
                raise MisfitError(f"{_name(line)} is not in the tree")
            changed.setdefault(target, target.read_text().split("\n"))
        elif hunk:
            old, new, at = _sides(lines, at, int(hunk[2] or 1), int(hunk[3] or 1))
            place = _place(changed[target], old, int(hunk[1]) - 1 + shift, line)
            changed[target][place : place + len(old)] = new
            shift = place - (int(hunk[1]) - 1) + len(new) - len(old)
    if not changed:
        raise MisfitError("the diff names no file")
    for path, text in changed.items():
        path.write_text("\n".join(text))


def _name(line: str) -> str:
    return line[4:].partition("\t")[0].strip().removeprefix("b/")


def _sides(lines: list[str], at: int, olds: int, news: int) -> tuple[list[str], list[str], int]:
    """Split a hunk of `olds` and `news` lines into what must be there and what shall be."""
    old: list[str] = []
    new: list[str] = []
    while len(old) < olds or len(new) < news:
        if at >= len(lines) or lines[at][:1] not in ("", " ", "-", "+", "\\"):
            raise MisfitError("a hunk ends before its time")
        sign, text = lines[at][:1] or " ", lines[at][1:]
        at += 1
        if sign in " -":
            old.append(text)
        if sign in " +":
            new.append(text)
    return old, new, at


def _place(text: list[str], old: list[str], wanted: int, title: str) -> int:
    """Find the one place where the old lines stand: where the hunk says, or else anywhere."""
    if text[wanted : wanted + len(old)] == old and wanted >= 0:
        return wanted
    places = [at for at in range(len(text)) if text[at : at + len(old)] == old]
    if len(places) != 1:
        raise MisfitError(f"{title.rstrip()} fits {len(places)} places")
    return places[0]


def run(tests: tuple[str, ...], root: Path) -> Run:
    """Run tests in a tree whose own `src` comes before any installed package."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    surroundings = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "1000"}
    try:
        done = subprocess.run(
            [*command, "--rootdir", str(root), *tests],
            cwd=root,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return Run(None, (), str(late))
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return Run(done.returncode, tuple(failed), done.stdout + done.stderr)


def copy(root: Path, parent: Path, name: str) -> Path:
    """Copy a tree without its by-products."""
    return Path(shutil.copytree(root, parent / name, ignore=BY_PRODUCTS, symlinks=True))


def spring(trap: Trap, root: Path, scratch: Path) -> tuple[bool, str]:
    """Apply one trap to a copy and run its tests; say whether it was caught, and by what."""
    tree = copy(root, scratch, trap.name)
    try:
        apply(trap.diff, tree)
    except MisfitError as error:
        return False, f"DOES NOT APPLY: {error}"
    ended = run(trap.tests, tree)
    shutil.rmtree(tree)
    if ended.code is None:
        return False, f"HUNG: its tests took more than {LIMIT:.0f} s and said nothing"
    if ended.code == 0:
        return False, "SURVIVED"
    if ended.code != 1 or not ended.failed:
        return False, f"DID NOT RUN: pytest ended with {ended.code}\n{ended.output}"
    more = f" (and {len(ended.failed) - 1} more)" if len(ended.failed) > 1 else ""
    return True, f"CAUGHT by {ended.failed[0]}{more}"


def judge(traps: list[Trap], root: Path) -> int:
    """Spring every trap, print the table, and return how many were not caught."""
    missed = 0
    controls: dict[tuple[str, ...], Run] = {}
    width = max(len(trap.name) for trap in traps)
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        unbroken = copy(root, Path(folder), "control")
        for trap in traps:
            if trap.tests not in controls:
                controls[trap.tests] = run(trap.tests, unbroken)
            control = controls[trap.tests]
            if control.code == 0:
                caught, words = spring(trap, root, Path(folder))
            else:
                caught, words = False, f"INVALID: unbroken, its tests fail\n{control.output}"
            missed += not caught
            print(f"{trap.name:<{width}}  {words}\n{'':<{width}}    {trap.breaks}", flush=True)
    print(f"{len(traps) - missed} of {len(traps)} caught")
    return missed


def main() -> int:
    """Read the command line, choose the traps, judge them."""
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(
        prog="./dev sabotage", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a trap's name")
    parser.add_argument("--root", type=Path, default=here, help="the tree to break a copy of")
    chosen = parser.parse_args()
    root = chosen.root.resolve()
    traps = [
        read(path)
        for path in sorted(root.glob("sabotage/*.patch"))
        if not chosen.names or any(name in path.stem for name in chosen.names)
    ]
    if not traps:
        print("there is no such trap in sabotage/", file=sys.stderr)
        return 2
    return 1 if judge(traps, root) else 0


if __name__ == "__main__":
    sys.exit(main())
