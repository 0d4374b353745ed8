"""The sabotage runner, on a toy: it must tell a caught trap from a survivor, and not be fooled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.sabotage import MisfitError, apply

RUNNER = Path(__file__).resolve().parents[2] / "tools" / "sabotage.py"
TOY = """\
def double(number):
    return number * 2


def halve(number):
    return number / 2
"""
TESTS = """\
from toy import double, halve

def test_double():
    assert double(3) == 6

def test_nothing():
    assert callable(halve)
"""
BREAKS_DOUBLE = """\
--- a/src/toy.py
+++ b/src/toy.py
@@ -1,2 +1,2 @@
 def double(number):
-    return number * 2
+    return number * 3
"""
BREAKS_HALVE = """\
--- a/src/toy.py
+++ b/src/toy.py
@@ -4,3 +4,3 @@

 def halve(number):
-    return number / 2
+    return number / 3
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for folder in ("src", "tests", "sabotage"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src/toy.py").write_text(TOY)
    (tmp_path / "tests/test_toy.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['src']\n")
    return tmp_path


def trap(root: Path, name: str, diff: str, test: str = "tests/test_toy.py") -> None:
    header = f"Breaks: {name} on purpose\nCaught-by: {test}\n\n"
    (root / "sabotage" / f"{name}.patch").write_text(header + diff)


def sabotage(root: Path, *names: str) -> tuple[int, str]:
    command = [sys.executable, str(RUNNER), "--root", str(root), *names]
    bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # a toy needs no plugins
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    return done.returncode, done.stdout + done.stderr


def test_a_trap_is_caught_by_a_named_test_and_the_tree_stays_as_it_was(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE)
    code, said = sabotage(toy)
    assert code == 0, said
    assert "01-double  CAUGHT by tests/test_toy.py::test_double" in said
    assert "1 of 1 caught" in said
    assert (toy / "src/toy.py").read_text() == TOY


def test_a_survivor_fails_the_run(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE)
    trap(toy, "02-halve", BREAKS_HALVE)
    code, said = sabotage(toy)
    assert code == 1
    assert "02-halve   SURVIVED" in said
    assert "1 of 2 caught" in said


def test_a_trap_can_be_chosen_by_name(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE)
    trap(toy, "02-halve", BREAKS_HALVE)
    assert sabotage(toy, "double")[0] == 0
    assert sabotage(toy, "halve")[0] == 1
    assert sabotage(toy, "no-such")[0] == 2


def test_no_trap_at_all_proves_nothing(toy: Path) -> None:
    assert sabotage(toy)[0] == 2


def test_a_patch_that_no_longer_fits_fails_the_run(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE.replace("number * 2", "number * 20"))
    code, said = sabotage(toy)
    assert code == 1
    assert "DOES NOT APPLY" in said


def test_a_control_that_fails_is_no_catch(toy: Path) -> None:
    (toy / "tests/test_toy.py").write_text(TESTS + "\ndef test_red():\n    assert False\n")
    trap(toy, "01-double", BREAKS_DOUBLE)
    code, said = sabotage(toy)
    assert code == 1
    assert "INVALID" in said
    assert "CAUGHT" not in said


def test_code_that_no_longer_runs_is_no_catch(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE.replace("+    return number * 3", "+    return ("))
    code, said = sabotage(toy)
    assert code == 1
    assert "DID NOT RUN" in said


def test_a_test_that_does_not_exist_is_no_catch(toy: Path) -> None:
    trap(toy, "01-double", BREAKS_DOUBLE, "tests/test_toy.py::test_gone")
    code, said = sabotage(toy)
    assert code == 1
    assert "CAUGHT" not in said


def test_hunks_follow_lines_that_moved(toy: Path) -> None:
    (toy / "src/toy.py").write_text("import math\n\n" + TOY)
    apply(BREAKS_DOUBLE + BREAKS_HALVE, toy)
    text = (toy / "src/toy.py").read_text()
    assert text == "import math\n\n" + TOY.replace("* 2", "* 3").replace("/ 2", "/ 3")


def test_a_hunk_that_fits_twice_is_refused_and_nothing_is_written(toy: Path) -> None:
    twice = "\n\n" + TOY + TOY
    (toy / "src/toy.py").write_text(twice)
    with pytest.raises(MisfitError, match="fits 2 places"):
        apply(BREAKS_DOUBLE, toy)
    assert (toy / "src/toy.py").read_text() == twice


@pytest.mark.parametrize(
    "diff",
    [
        BREAKS_DOUBLE.replace("toy.py", "gone.py"),
        BREAKS_DOUBLE.replace("-1,2 +1,2", "-1,9 +1,9"),
        "no diff at all\n",
    ],
)
def test_a_broken_diff_is_refused(toy: Path, diff: str) -> None:
    with pytest.raises(MisfitError):
        apply(diff, toy)
    assert (toy / "src/toy.py").read_text() == TOY
