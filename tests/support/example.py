"""The community example, to be copied and changed."""

import shutil
from pathlib import Path

__all__ = ["copied"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "community"


def copied(folder: Path, more: str = "") -> None:
    """Copy the example's sources into a new folder, with `more` at the end of its app."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "app.py").open("a") as app:
        app.write(more)
