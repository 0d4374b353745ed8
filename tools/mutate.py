"""Break each place of the policies in turn, in memory, and see whether a test notices.

For every mutant (`tools/mutants.py`) the tests of its module run in a forked process that has
pytest loaded already and imports the broken module in place of the real one. The tests are those
of the same name, `tests/unit/policy/test_<module>.py` and `tests/property/test_<module>*.py`, and
what `ALSO` adds. At least 95 % of the mutants must be noticed, and each of the others must stand in
`tests/mutants.toml` with the reason why it changes nothing that anybody could see:

    [[survivor]]
    module = "window"
    within = "Window.add"
    line = "if now >= self.edge:"
    change = "now >= self.edge -> True"
    reason = "turning to the bucket that is the newest already does nothing: it only costs time"

Source and tests are copied first, so that the tree may change meanwhile. The mutants of a run are
the same each time, and so are the examples of the property tests. Ctrl-C ends it, and what was
found by then is printed.

mutmut 3.8 and cosmic-ray 8.7 were tried first. The one mutates functions only: no default of a
settings field, no table, no property. The other starts an interpreter per mutant (3 s each), and
mutates annotations. Neither checks its survivors against a list with reasons.
"""

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import hypothesis
import pytest

from tools.mutants import Mutant, mutants

ROOM: Final = "switchgear.policy"
FOLDER: Final = Path("src/switchgear/policy")
KNOWN: Final = Path("tests/mutants.toml")
LEAST: Final = 0.95
"""The share of all mutants that the tests must notice."""

DEFAULTS: Final = "tests/unit/policy/test_defaults.py"
"""The one table of defaults belongs to every module."""

_BY_HAND: Final = "tests/property/test_express_parts.py"
_FORKED: Final = "tests/unit/policy/test_vacate.py"
_OTHERS: Final = ("tests/unit/policy/test_foreign.py", "tests/unit/policy/test_foreign_clients.py")

ALSO: Final[dict[str, tuple[str, ...]]] = {
    "adaptive": (_FORKED,),
    "balance": (_BY_HAND,),
    "borne": _OTHERS,
    "breaker": (_FORKED,),
    "bucket": (_BY_HAND, _FORKED),
    "bulkhead": (
        "tests/unit/policy/test_reserve.py",
        "tests/property/test_reserve_model.py",
        _FORKED,
    ),
    "codec": ("tests/property/test_fault_codec.py",),
    "crossing": ("tests/unit/policy/test_foreign.py",),
    "foreign": _OTHERS[1:],
    "gate": (_FORKED,),
    "meanings": _OTHERS,
    "observing": (_FORKED,),
    "probes": (_FORKED,),
    "route": (_BY_HAND,),
    "shedder": (_BY_HAND,),
}
"""The tests of a module that do not bear its name."""

LOADED: Final = ("asyncio", "hypothesis.stateful", "_hypothesis_pytestplugin", "msgspec", "uvloop")
"""What workers need and is not ours: loaded once, before they are forked."""

MEMORY: Final = 2**31
"""Bytes that a worker may address: a mutant that never stops collecting must not take the rest."""


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test needs to notice, and why."""

    module: str
    within: str
    line: str
    change: str
    reason: str


@dataclass
class Module:
    """One module under test: its mutants, its tests, and how it went."""

    name: str
    path: Path
    original: CodeType
    mutants: list[Mutant]
    tests: list[str]
    seconds: int = 10
    survived: set[Mutant] = field(default_factory=set)
    done: int = 0

    def known(self, mutant: Mutant, known: Sequence[Survivor]) -> list[Survivor]:
        """Return the entries of the list that speak of a mutant."""
        key = (self.name, mutant.within, mutant.line, mutant.change)
        return [one for one in known if (one.module, one.within, one.line, one.change) == key]

    def unlisted(self, known: Sequence[Survivor]) -> list[Mutant]:
        """Return the survivors that the list does not know, by their lines."""
        return [
            each for each in self.mutants if each in self.survived and not self.known(each, known)
        ]


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import one module from a code object instead of from its file."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim the one module."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run the code as the module's."""
        exec(self._code, module.__dict__)  # noqa: S102 - it is the code of this repository


def start(module: Module, code: CodeType, seconds: int, output: Path | None = None) -> int:
    """Fork a worker that tests a module with the given code, and return its process id.

    It ends with pytest's exit code. When its time is over, the kernel ends it: it gets `seconds`
    of the processor, and ten times that by the clock, for it may have to share the processor.
    """
    if child := os.fork():
        return child
    try:
        os.setpgid(0, 0)  # a Ctrl-C is the parent's to handle
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(10 * seconds)
        sink = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.meta_path.insert(0, Instead(f"{ROOM}.{module.name}", module.path, code))
        hypothesis.settings.load_profile("mutate")
        flags = ["-x", "-q", "--assert=plain", "--tb=short", "-p", "no:cacheprovider"]
        flags += ["-p", "_hypothesis_pytestplugin"]
        code_of_pytest = int(pytest.main([*flags, *module.tests]))
        if f"{ROOM}.{module.name}" not in sys.modules:
            print(f"the tests of {module.name} do not import it")
            code_of_pytest = 2
        os._exit(code_of_pytest)
    finally:
        os._exit(70)


def control(module: Module, folder: Path) -> bool:
    """Run the tests on the code as it is: they must pass. Their time is the measure for mutants."""
    if len(module.tests) < 2:
        print(f"{module.name}: there is no tests/unit/policy/test_{module.name}.py")
        return False
    output = folder / "control.txt"
    child = start(module, module.original, 600, output)
    _, status, usage = os.wait4(child, 0)
    said = output.read_text()
    output.unlink()
    if status != 0:
        print(f"{module.name}: its tests fail on the code as it is\n{said}")
        return False
    module.seconds = 5 + int(5 * (usage.ru_utime + usage.ru_stime))
    return True


class Progress:
    """One line that says how far it is: rewritten on a terminal, else said every half minute."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = self._said = time.monotonic()
        self._rewrites = sys.stderr.isatty()

    def show(self, done: int, module: Module) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if now - self._said < (0.2 if self._rewrites else 30.0):
            return
        self._said = now
        left = (now - self._began) / max(done, 1) * (self._total - done)
        line = f"{done} of {self._total} mutants, at {module.name}, {left / 60:.1f} min to go"
        print(f"\r\033[K{line}" if self._rewrites else line, end="", file=sys.stderr)
        print(end="" if self._rewrites else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._rewrites:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def test(modules: list[Module], jobs: int) -> Iterator[Module]:
    """Test every mutant, so many at a time; yield each module when it is done."""
    progress = Progress(sum(len(module.mutants) for module in modules))
    waiting = iter([(module, mutant) for module in modules for mutant in module.mutants])
    running: dict[int, tuple[Module, Mutant]] = {}
    done = 0
    try:
        while True:
            while len(running) < jobs and (following := next(waiting, None)):
                module, mutant = following
                running[start(module, mutant.code, module.seconds)] = following
            if not running:
                return
            child, status = os.wait()
            module, mutant = running.pop(child)
            if status == 0:
                module.survived.add(mutant)
            module.done += 1
            done += 1
            progress.show(done, module)
            if module.done == len(module.mutants):
                progress.clear()
                yield module
    finally:
        progress.clear()
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def report(module: Module, known: Sequence[Survivor]) -> bool:
    """Print how a module went; say whether every survivor is on the list."""
    total, killed = len(module.mutants), len(module.mutants) - len(module.survived)
    unlisted = module.unlisted(known)
    words = f"  {len(unlisted)} NOT LISTED" if unlisted else ""
    head = f"{module.name:<18}{total:>5} mutants{killed:>6} killed  {share(killed, total)}"
    print(f"{head}{len(module.survived) - len(unlisted):>4} change nothing{words}")
    for each in unlisted:
        before, _, after = each.change.partition(" -> ")
        print(f"  {FOLDER / module.name}.py:{each.row} in {each.within or 'the module'}")
        print(f"      {each.line}\n    - {before}\n    + {after}")
    survived = [one for each in module.survived for one in module.known(each, known)]
    exist = [one for each in module.mutants for one in module.known(each, known)]
    for one in known:
        if one.module == module.name and one not in survived:
            what = "is noticed now" if one in exist else "exists no longer"
            print(f"  {KNOWN}: {what}: {one.within}: {one.line}: {one.change}")
    sys.stdout.flush()
    return not unlisted


def share(part: int, total: int) -> str:
    """Write a share of mutants."""
    return f"{100 * part / max(total, 1):5.1f} %"


def entry(module: Module, mutant: Mutant) -> str:
    """Write what the list would say of a survivor, but for the reason."""
    told = {
        "module": module.name,
        "within": mutant.within,
        "line": mutant.line,
        "change": mutant.change,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    return "\n".join(["[[survivor]]", *lines, 'reason = ""', ""])


def prepare(root: Path, names: list[str]) -> list[Module]:
    """Find the modules that were asked for, with their mutants and their tests."""
    found: list[Module] = []
    for path in sorted((root / FOLDER).glob("*.py")):
        name = path.stem
        if name == "__init__" or (names and name not in names):
            continue
        tests = [
            *sorted(root.glob(f"tests/unit/policy/test_{name}.py")),
            *(root / each for each in (DEFAULTS, *ALSO.get(name, ()))),
            *sorted(root.glob(f"tests/property/test_{name}_*.py")),
        ]
        source = path.read_text()
        original = compile(source, path, "exec")
        found.append(
            Module(name, path, original, mutants(source, str(path)), [str(each) for each in tests])
        )
    missing = set(names) - {module.name for module in found}
    if missing:
        raise SystemExit(f"there is no {', '.join(sorted(missing))} in {FOLDER}")
    return found


def copy(root: Path, folder: Path) -> Path:
    """Copy what the tests need into a folder, and go there."""
    for name in ("src", "tests"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, folder / name, ignore=ignore)
    shutil.copy(root / "pyproject.toml", folder)
    os.chdir(folder)
    return folder


def judge(modules: list[Module], known: Sequence[Survivor], jobs: int, folder: Path) -> bool:
    """Test and report all modules; say whether each of them passes."""
    able = [module for module in modules if control(module, folder)]
    good = len(able) == len(modules)
    try:
        for module in test(able, jobs):
            good = report(module, known) and good
    except KeyboardInterrupt:
        print(f"stopped, with {sum(each.done for each in modules)} mutants tested")
        raise
    total = sum(len(module.mutants) for module in able)
    killed = total - sum(len(module.survived) for module in able)
    enough = killed >= LEAST * total
    words = "" if enough else f", and {LEAST:.0%} are asked for"
    print(f"{killed} of {total} mutants killed: {share(killed, total).strip()}{words}")
    return good and enough


def main() -> int:
    """Read the command line, copy the tree, test its mutants."""
    parser = argparse.ArgumentParser(
        prog="./dev mutate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a module of policy/")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    parser.add_argument("--entries", action="store_true", help=f"print entries for {KNOWN}")
    chosen = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    listed = tomllib.loads((root / KNOWN).read_text()) if (root / KNOWN).exists() else {}
    known = [Survivor(**each) for each in listed.get("survivor", [])]
    for name in LOADED:
        importlib.import_module(name)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # A mutant is to be noticed, not explained: no shrinking. And twice the same, whatever the day.
    hypothesis.settings.register_profile(
        "mutate",
        derandomize=True,
        database=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the copy and the workers go, too
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        modules = prepare(copy(root, Path(folder).resolve()), chosen.modules)
        try:
            good = judge(modules, known, chosen.jobs, Path(folder))
        except KeyboardInterrupt:
            good = False
        finally:
            os.chdir(root)
    if chosen.entries:
        for module in modules:
            for mutant in module.unlisted(known):
                print(entry(module, mutant))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
