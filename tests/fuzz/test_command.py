"""`./dev fuzz` as a command: what it counts, and what it does with what it finds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Read by Python when it starts: paths with dot segments are let through.
BROKEN = """
import re
import switchgear.http.target
switchgear.http.target._DOTS = re.compile("(?!)")
"""

pytestmark = pytest.mark.slow


def fuzz(corpus: Path, *arguments: str, broken: Path | None = None) -> tuple[int, str]:
    paths = [str(ROOT / "src"), str(ROOT), *([str(broken)] if broken else [])]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--corpus", str(corpus), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_target_is_counted(tmp_path: Path) -> None:
    code, said = fuzz(tmp_path, "targets", "addresses", "--inputs", "700", "--jobs", "2")
    assert code == 0, said
    counts = {
        name: int(count) for name, count in re.findall(r"^(\w+) +(\d+) inputs", said, re.MULTILINE)
    }
    assert counts["targets"] >= 600
    assert counts["addresses"] >= 100
    assert counts["total"] == counts["targets"] + counts["addresses"]
    assert "no targets with a finding" in said


def test_what_is_found_is_shrunk_kept_and_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BROKEN)
    code, said = fuzz(tmp_path, "targets", "--inputs", "20000", broken=broken)
    assert code == 1, said
    (kept,) = (tmp_path / "found" / "targets").glob("*.bin")
    assert f"./dev fuzz --replay {kept}" in said
    assert len(kept.read_bytes()) <= 4
    assert fuzz(tmp_path, "--replay", str(kept), broken=broken)[0] == 1
    assert fuzz(tmp_path, "--replay", str(kept))[0] == 0


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    code, said = fuzz(tmp_path, "nonsense")
    assert code == 2
    assert "no target nonsense" in said
