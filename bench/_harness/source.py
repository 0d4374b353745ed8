"""Which build of ours is measured: the one that the benchmark itself imports."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import switchgear

__all__ = ["PATH", "ROOT", "build"]

ROOT: Final = Path(__file__).resolve().parents[2]
PATH: Final = os.pathsep.join([str(ROOT), str(Path(switchgear.__file__).resolve().parents[1])])
"""What a process of ours has to import the same build from, and the benchmarks' own modules."""


def build() -> str:
    """Say whether ours is compiled."""
    found = find_spec("switchgear.core.express")
    pure = found is None or found.origin is None or found.origin.endswith(".py")
    return "pure Python" if pure else "compiled"
