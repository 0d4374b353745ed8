"""Where the checkout is, and the build under test: its sources, or what was compiled of them."""

from pathlib import Path

import switchgear

__all__ = ["ROOT", "SOURCE"]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(switchgear.__file__).resolve().parents[1]
"""What a process of its own has on its PYTHONPATH to be of the same build."""
