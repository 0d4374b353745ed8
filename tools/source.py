"""Where the checkout is, and the build in use: its sources, or what was compiled of them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import switchgear

__all__ = ["ROOT", "SOURCE", "compiled"]

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = Path(switchgear.__file__).resolve().parents[1]
"""What a process of its own has on its PYTHONPATH to be of the same build."""


def compiled() -> bool:
    """Say whether the build in use is compiled."""
    found = find_spec("switchgear.core.express")
    return found is not None and str(found.origin).endswith(".so")
