"""A disk that can be filled: a small one of its own, where that can be mounted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["fill", "mounted"]


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """Mount a disk of this size ("70m") on a new folder; skip the test where that cannot be."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("platform: needs to mount a small disk")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("platform: cannot mount here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(filler: Path) -> None:
    """Write a file until its disk has no room, not for a byte."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        for piece in (65536, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * piece)
