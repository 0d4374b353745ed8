"""Systems for these tests; each is ended, and what it left is found."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.processes.harness import System

collect_ignore = ["switchgear_toys.py"]


@pytest.fixture(autouse=True)
def _linux() -> None:
    if sys.platform != "linux":
        pytest.skip("platform: these tests look into /proc")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Start a system in this test's folder; give words for another command than `up app`."""
    systems: list[System] = []

    def begin(*words: str, quick: bool = True, **more: str) -> System:
        systems.append(System(tmp_path, *words, quick=quick, **more))
        return systems[-1]

    yield begin
    for system in systems:
        system.clean()
