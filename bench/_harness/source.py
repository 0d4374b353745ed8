"""Which build of ours is measured: the one that the benchmark itself imports."""

import os
from typing import Final

from tools.source import ROOT, SOURCE, compiled

__all__ = ["PATH", "ROOT", "build"]

PATH: Final = os.pathsep.join([str(ROOT), str(SOURCE)])
"""What a process of ours has to import the same build from, and the benchmarks' own modules."""


def build() -> str:
    """Say whether ours is compiled."""
    return "compiled" if compiled() else "pure Python"
