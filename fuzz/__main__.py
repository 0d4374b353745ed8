"""`./dev fuzz [TARGET...]`: run inputs over the targets, and keep what they find.

Each target has a process of its own. At the end stands how many inputs each of them took; the exit
code is 1 where something was found. With --replay FILE... nothing is made: those inputs are run.
"""

import argparse
import hashlib
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from fuzz import corpus
from fuzz.shrink import shrink, slug
from fuzz.targets import TARGETS, Target

PATIENCE: Final = 120  # seconds that one input may take: a loaded machine must not look like a hang
MEMORY: Final = 1024  # MiB of a worker
_EXECUTED: Final = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_SHOWN: Final = 4000  # bytes at the end of what a worker said


class Plan(NamedTuple):
    """What a worker is to do: so many inputs, or seconds (0: no matter)."""

    inputs: int
    seconds: float
    seed: int
    root: Path


class Outcome(NamedTuple):
    """How a worker ended."""

    target: str
    inputs: int
    seconds: float
    found: list[Path]
    failed: str  # what it said where it ended without a finding


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument(
        "--inputs", type=int, default=0, help="in all, shared out by what each costs"
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="in all, shared out alike")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--keep", action="store_true", help="write the corpus anew")
    parser.add_argument("--corpus", type=Path, default=corpus.ROOT, help="another folder for it")
    parser.add_argument("--replay", type=Path, nargs="+", help="run these files of found/TARGET/")
    options = parser.parse_args()
    if options.replay:
        return _replay(options.replay)
    unknown = [name for name in options.target if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    if not options.inputs and not options.seconds:
        options.seconds = 4.0 * len(chosen)
    print("engine:", "atheris" if find_spec("atheris") else "blind (atheris is not installed)")
    shares = sum(target.share for target in chosen)

    def run(target: Target) -> Outcome:
        inputs = math.ceil(options.inputs * target.share / shares)
        plan = Plan(inputs, options.seconds / len(chosen), options.seed, options.corpus)
        return _fuzz(target, plan, keep=options.keep)

    with ThreadPoolExecutor(max_workers=options.jobs) as pool:
        return _tell(pool.map(run, chosen))


def _tell(outcomes: Iterator[Outcome]) -> int:
    began, total, bad = time.monotonic(), 0, 0
    for one in outcomes:
        rate = one.inputs / one.seconds if one.seconds else 0.0
        print(f"{one.target:16} {one.inputs:>9,} inputs {rate:>8,.0f}/s", flush=True)
        for path in one.found:
            print(f"  found: {path}\n  again: ./dev fuzz --replay {path}", flush=True)
        if one.failed:
            print(f"  the worker failed:\n{one.failed}", flush=True)
        total += one.inputs
        bad += bool(one.found or one.failed)
    spent = time.monotonic() - began
    print(
        f"{'total':16} {total:>9,} inputs in {spent:,.0f} s; {bad or 'no'} targets with a finding"
    )
    return 1 if bad else 0


def _fuzz(target: Target, plan: Plan, *, keep: bool) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        seeds, crashes = folder / "seeds", folder / "crashes"
        seeds.mkdir()
        crashes.mkdir()
        known = corpus.found(target.name, plan.root).values()
        for number, data in enumerate([*corpus.packed(target.name, plan.root), *known]):
            (seeds / f"{number:04}").write_bytes(data)
        flags = [f"-seed={plan.seed}", f"-artifact_prefix={crashes}/", f"-timeout={PATIENCE}"]
        flags += [f"-rss_limit_mb={MEMORY}", "-print_final_stats=1"]
        flags += [f"-runs={plan.inputs}"] if plan.inputs else []
        flags += [f"-max_total_time={max(1, int(plan.seconds))}"] if plan.seconds else []
        began = time.monotonic()
        done = _worker(target, [*flags, str(seeds)])
        spent = time.monotonic() - began
        executed = _EXECUTED.search(done.stdout)
        found = [
            _keep_found(target, path, plan.root, done.stdout) for path in sorted(crashes.iterdir())
        ]
        failed = ""
        if (done.returncode or executed is None) and not found:
            failed = done.stdout[-_SHOWN:].decode(errors="replace")
        if keep and not found and not failed:
            _merge(target, seeds, folder / "merged", plan.root)
        count = int(executed[1]) if executed is not None else 0
        return Outcome(target.name, count, spent, found, failed)


def _worker(target: Target, flags: list[str]) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "fuzz.worker", target.name, *flags]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def _merge(target: Target, seeds: Path, merged: Path, root: Path) -> None:
    """Keep what is needed to reach all that was reached; without atheris nobody can tell."""
    if find_spec("atheris") is None:
        return
    merged.mkdir()
    _worker(target, ["-merge=1", f"-timeout={PATIENCE}", str(merged), str(seeds)])
    corpus.pack(target.name, [path.read_bytes() for path in merged.iterdir()], root)


def _keep_found(target: Target, crash: Path, root: Path, said: bytes) -> Path:
    """Shrink what was found, and keep it under a name that says what it is."""
    data = crash.read_bytes()
    kind = crash.name.partition("-")[0]
    name = kind  # a hang, or memory without bound: not to be tried again here
    if kind == "crash":
        data = shrink(target.run, data)
        name = slug(target.run, data)
    folder = root / "found" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.bin"
    kept.write_bytes(data)
    print(said[-_SHOWN:].decode(errors="replace"), file=sys.stderr)
    return kept.relative_to(Path.cwd()) if kept.is_relative_to(Path.cwd()) else kept


def _replay(files: list[Path]) -> int:
    for file in files:
        print(f"{file}: {file.read_bytes()!r}")
        TARGETS[file.resolve().parent.name].run(file.read_bytes())
        print("  passes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
