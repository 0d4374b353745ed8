"""What observers load: nothing of what they write to until one is made, and never a server."""

import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[4] / "src"
HEAVY = (
    "asyncpg",
    "httptools",
    "opentelemetry",
    "prometheus_client",
    "structlog",
    "typer",
    "uvloop",
)
ROOMS = {"core", "policy", "telemetry"}


def loaded_by(source: str) -> list[str]:
    program = f"import sys; sys.path.insert(0, {str(SRC)!r}); {source}; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_importing_them_loads_nothing_that_a_bare_install_lacks() -> None:
    loaded = loaded_by("from switchgear.telemetry.observers import *")
    assert "switchgear.telemetry.observers.prometheus" in loaded
    assert not [name for name in loaded if name.startswith(HEAVY)]
    rooms = {name.split(".")[1] for name in loaded if name.startswith("switchgear.")}
    assert rooms == ROOMS


@pytest.mark.parametrize(
    ("made", "allowed"),
    [
        ("LogObserver()", ()),
        ("PrometheusObserver()", ("prometheus_client",)),
        ("OpenTelemetryObserver()", ("opentelemetry",)),
    ],
)
def test_making_one_loads_what_it_writes_to_and_no_more(made: str, allowed: tuple[str]) -> None:
    loaded = loaded_by(f"from switchgear.telemetry.observers import *; {made}")
    heavy = {name.partition(".")[0] for name in loaded if name.startswith(HEAVY)}
    assert heavy == set(allowed)
