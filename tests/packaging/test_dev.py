"""`./dev`, with a fake Python in place of the real set-up: what it runs, and what it refuses."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import bring_up

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
TOOLS = ("cat", "cmp", "dirname", "basename", "mktemp", "rm", "sh")


@pytest.fixture
def tree() -> Iterator[Path]:
    """A checkout of its own, where another user can reach it too."""
    folder = Path(tempfile.mkdtemp(prefix="dev-test-"))
    folder.chmod(0o755)
    shutil.copy(ROOT / "dev", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("tools", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "commands").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool, path="/usr/bin:/bin")
        assert found is not None
        (folder / "commands" / tool).symlink_to(found)
    yield folder
    shutil.rmtree(folder)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def python(tree: Path, answer: str = "0", version: str = "3.12.0") -> None:
    """Put a python3 on the PATH that answers `-c` with an exit code and tells what else it runs."""
    script(
        tree / "commands" / "python3",
        f'case $1 in -c) exit {answer} ;; --version) echo "Python {version}" ;;'
        ' *) echo "set up $4" ;; esac',
    )


def installed(tree: Path, name: str) -> None:
    for tool in ("python", "switchgear", "ruff", "mypy", "lint-imports"):
        script(tree / ".venv" / "bin" / tool, f'echo "ran {tool} $*"')
    (tree / ".venv" / ".stamp").write_bytes(bring_up.stamp(tree, name))


def dev(tree: Path, *arguments: str, user: int | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [tree / "dev", *arguments],
        env={"PATH": str(tree / "commands"), "LANG": "C.UTF-8"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    return done.returncode, done.stdout + done.stderr


def test_help_tells_every_command(tree: Path) -> None:
    code, said = dev(tree, "help")
    assert code == 0
    assert all(
        f"\n  {name} " in said for name in ("up", "test", "lint", "sabotage", "bench", "lock")
    )


def test_an_unknown_command_is_refused(tree: Path) -> None:
    code, said = dev(tree, "tset")
    assert code == 2
    assert "usage:" in said


def test_no_python_is_said_in_one_line(tree: Path) -> None:
    code, said = dev(tree, "test")
    assert (code, said) == (
        1,
        "dev: Python 3.11 or later is needed; the PATH has no python3 that runs\n",
    )


def test_an_old_python_is_named(tree: Path) -> None:
    python(tree, answer="1", version="3.9.2")
    code, said = dev(tree, "test")
    assert (code, said) == (1, "dev: Python 3.11 or later is needed; the PATH has Python 3.9.2\n")


def test_a_python_without_venv_is_told_from_an_old_one(tree: Path) -> None:
    python(tree, answer='"$(case $2 in *ensurepip*) echo 1 ;; *) echo 0 ;; esac)"')
    code, said = dev(tree, "test")
    assert code == 1
    assert "python3-venv" in said


def test_the_first_use_sets_up_what_the_command_needs(tree: Path) -> None:
    python(tree)
    assert "set up runtime" in dev(tree, "up")[1]
    assert "set up dev" in dev(tree, "test")[1]
    assert "set up dev" in dev(tree, "lint")[1]


def test_the_next_use_sets_up_nothing(tree: Path) -> None:
    python(tree)
    installed(tree, "runtime")
    assert dev(tree, "up", "--port", "1") == (0, "ran switchgear up examples/community --port 1\n")
    assert "set up dev" in dev(tree, "test")[1]
    installed(tree, "dev")
    assert dev(tree, "up") == (0, "ran switchgear up examples/community\n")
    assert dev(tree, "test", "-k", "a b") == (0, "ran python -m pytest -m not slow -k a b\n")
    assert dev(tree, "test", "--all") == (0, "ran python -m pytest\n")


@pytest.mark.parametrize("file", ["requirements/dev.txt", "pyproject.toml"])
def test_a_changed_list_is_set_up_again(tree: Path, file: str) -> None:
    python(tree)
    installed(tree, "dev")
    with (tree / file).open("a") as changed:
        changed.write("# changed\n")
    assert "set up dev" in dev(tree, "test")[1]


def test_a_moved_checkout_is_set_up_again(tree: Path) -> None:
    python(tree)
    installed(tree, "dev")
    stamp = tree / ".venv" / ".stamp"
    stamp.write_bytes(stamp.read_bytes().replace(str(tree).encode(), b"/elsewhere", 1))
    assert "set up dev" in dev(tree, "test")[1]


def test_a_step_that_fails_fails_lint_and_the_others_still_run(tree: Path) -> None:
    installed(tree, "dev")
    script(tree / ".venv" / "bin" / "mypy", "exit 1")
    code, said = dev(tree, "lint")
    assert code == 1
    assert "ran lint-imports" in said
    assert said.endswith("dev: lint failed: mypy\n")


def test_somebody_elses_environment_is_said_to_be_so(tree: Path) -> None:
    real = shutil.which("python3.11", path="/usr/bin") or shutil.which("python3", path="/usr/bin")
    if real is None:
        pytest.skip("platform: there is no Python that every user can run")
    (tree / "commands" / "python3").symlink_to(real)
    (tree / ".venv").mkdir()
    (tree / ".venv").chmod(0o555)
    code, said = dev(tree, "test", user=NOBODY if os.geteuid() == 0 else None)
    assert code == 1
    assert "may not write there" in said
    assert "DEV_VENV=" in said


def test_there_is_no_such_benchmark(tree: Path) -> None:
    installed(tree, "dev")
    code, said = dev(tree, "bench", "nonsense")
    assert code == 1
    assert "there is no benchmark 'nonsense'" in said


def compiling(tree: Path, answer: str) -> None:
    """Have compiling answer so."""
    installed(tree, "dev")
    script(
        tree / ".venv" / "bin" / "python",
        f'case $1 in */compiled.py) {answer} ;; *) echo "ran python $* on $PYTHONPATH" ;; esac',
    )


def test_the_compiled_build_is_what_its_tests_run_on(tree: Path) -> None:
    compiling(tree, "echo /built")
    code, said = dev(tree, "test", "--compiled", "tests/rules")
    assert code == 0
    assert "ran python -m pytest -o pythonpath=/built . tests/rules on /built" in said
    code, said = dev(tree, "test", "--compiled")
    assert code == 0
    assert "halves.py --compiled -o pythonpath=/built . -m not slow on /built" in said


def test_where_nothing_can_be_compiled_its_tests_do_not_run(tree: Path) -> None:
    compiling(tree, 'echo "no compiler" >&2; exit 3')
    code, said = dev(tree, "test", "--compiled")
    assert code != 0
    assert "no compiler" in said
    assert "ran" not in said
