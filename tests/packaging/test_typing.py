"""What a user's type checker sees: one file of uses, read by mypy and by pyright, both strict."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDLESS = "# type: " + "ignore[arg-type]"
USES = Path(__file__).parent / "typed_uses.py"


def mypy(path: Path, cache: Path) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=",
         f"--cache-dir={cache}", str(path)],
        capture_output=True, text=True, check=False, cwd=ROOT / "src", timeout=300,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    return ran.stdout.splitlines()


def pyright(path: Path, folder: Path) -> list[str]:
    config = folder / "pyrightconfig.json"
    settings = {
        "include": [str(path)],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        # It knows of no code of its own in mypy's comments, and has no word on names nobody uses.
        "reportUnusedFunction": "none",
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    config.write_text(json.dumps(settings))
    ran = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(config),
         "--pythonpath", sys.executable],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    told = json.loads(ran.stdout)
    assert told["summary"]["filesAnalyzed"] == 1, ran.stdout + ran.stderr
    return [
        f"{one['range']['start']['line'] + 1}: {one['severity']}: {one['message']}"
        for one in told["generalDiagnostics"]
    ]


def test_mypy_sees_the_uses_as_they_are(tmp_path: Path) -> None:
    assert mypy(USES, tmp_path) == []


def test_pyright_sees_the_uses_as_they_are(tmp_path: Path) -> None:
    if find_spec("basedpyright") is None:
        pytest.skip("basedpyright is not installed: `./dev lock` has it in the dev list")
    assert pyright(USES, tmp_path) == []


def test_both_would_tell(tmp_path: Path) -> None:
    """A use that is wrong is told by each, and so is a comment that expects an error in vain."""
    path = tmp_path / "wrong.py"
    path.write_text(
        "from switchgear import Policy\n\n\n"
        "async def double(number: int) -> int:\n    return 2 * number\n\n\n"
        "async def main(policy: Policy) -> None:\n"
        "    await policy.call(double, 'one')\n"
        f"    await policy.call(double, 1)  {NEEDLESS}\n"
    )
    checkers = [mypy] if find_spec("basedpyright") is None else [mypy, pyright]
    for checker in checkers:
        told = checker(path, tmp_path)
        assert len(told) == 2, told
        assert "9: error" in told[0]
        assert "10: error" in told[1]
