"""Run the quick tests in two halves, side by side: two CPUs have room for both.

Most of those that start processes and servers wait for them; the others compute, and have some of
those that wait behind them, so that both take as long. Options go to pytest. The half that waits is
told when the other has ended; the exit code is the worse one's.

`--compiled`, as the first option, leaves out what has nothing to do with what is compiled.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
_WAITING = frozenset({"conformance", "drills", "entrances", "integration"})
_COMPILED = ("e2e", "entrances", "integration/gateway", "integration/http", "integration/services")


def halves(*, compiled: bool) -> tuple[list[str], list[str]]:
    """Return the folders of most tests that wait, and those of all the others."""
    folders = sorted(
        folder for folder in _TESTS.iterdir() if folder.is_dir() and any(folder.rglob("test_*.py"))
    )
    computing = [folder for folder in folders if folder.name not in _WAITING]
    if compiled:
        waiting = [_TESTS / name for name in _COMPILED]
        computing = [folder for folder in computing if folder.name not in ("e2e", "packaging")]
    else:
        waiting = [folder for folder in folders if folder.name in _WAITING]
    return [str(folder) for folder in waiting], [str(folder) for folder in computing]


def main(options: Sequence[str]) -> int:
    """Run both halves with `options`; return the exit code."""
    compiled = options[:1] == ["--compiled"]
    options = options[compiled:]
    waiting, computing = halves(compiled=compiled)
    pytest = [sys.executable, "-m", "pytest", *options]
    with tempfile.TemporaryFile() as told:
        beside = subprocess.Popen([*pytest, *waiting], stdout=told, stderr=subprocess.STDOUT)
        try:
            here = subprocess.call([*pytest, *computing])
            there = beside.wait()
        except KeyboardInterrupt:  # the terminal has told both
            here, there = 130, beside.wait()
        told.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(told.read())
    return max(here, there)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
