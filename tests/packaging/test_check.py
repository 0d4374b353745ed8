"""Our own lint: each kind of complaint is made, and honest files are left alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import check

LATER = "TO" + "DO"
SILENT = "# no" + "qa"


def complaints(root: Path, name: str, text: str) -> list[str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(check.complaints(root, name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/a.py", "x = 1\n" * 401),
        ("src/a.py", f"x = 1  # {LATER} tidy up\n"),
        ("tests/a.py", f"x = 1  {SILENT}\n"),
        ("tests/a.py", f"x = 1  {SILENT}: S101\n"),
        ("src/a.py", "x = 1  # type: " + "ignore[attr-defined]\n"),
        ("requirements/dev.txt", "--index-url https" + "://packages.example/simple\n"),
        ("requirements/dev.txt", "a @ https" + "://packages.example/a.whl\n"),
        ("package-lock.json", '"resolved": "somewhere"\n'),
        ("requirements/dev.txt", "-e /home" + "/ada/switchgear\n"),
        ("pyproject.toml", 'mypy_path = "/root' + '/switchgear"\n'),
        ("dev", "cd /work" + "/main\n"),
    ],
)
def test_a_complaint(tmp_path: Path, name: str, text: str) -> None:
    assert complaints(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/a.py", "x = 1\n" * 400),
        ("src/a.py", f"x = 1  {SILENT}: S101 - the reason is here\n"),
        ("src/a.py", "x = 1  # type: " + "ignore[override]  # the reason is here\n"),
        ("requirements/dev.txt", "a==1 \\\n    --hash=sha256:00\n    # via aiohttp\n"),
        ("pyproject.toml", 'paths = ["src/home/a"]\nurl = "https://example.org"\n'),
        ("README.md", "See https://example.org/work/x\n"),
        ("picture.png", "\udcff"),
    ],
)
def test_no_complaint(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert list(check.complaints(tmp_path, name)) == []


def test_locks_that_disagree(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/runtime.txt").write_text("a==1 \\\nb==2 \\\nc==3 \\\n")
    (tmp_path / "requirements/dev.txt").write_text("a==1 \\\nb==9 \\\n")
    said = list(check.disagreements(tmp_path))
    assert [line.split()[1] for line in said] == ["b", "c"]


def test_by_products_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("a.py", ".venv/b.py", "src/__pycache__/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert check.tracked(tmp_path) == ["a.py"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on the PATH")
def test_what_is_about_to_be_committed_is_looked_at(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for name, text in {".gitignore": "*.log\n", "new.py": "", "x.log": ""}.items():
        (tmp_path / name).write_text(text)
    assert sorted(check.tracked(tmp_path)) == [".gitignore", "new.py"]
