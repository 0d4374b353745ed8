"""A full disk: whoever asks how the system is gets told what cannot be written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, run
from tests.support.disk import fill, mounted

FULL = "log: cannot be written: No space left on device"
APP = """
from switchgear import App

app = App("toys")


@app.get("/a", public=True)
async def a() -> None: ...
"""


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    with mounted(home / "disk", "160m") as place:
        yield place


def status(system: Running) -> dict[str, Any]:
    told = run("status", "--json", f"--data={system.data}")
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_the_status_tells_of_logs_and_a_database_that_cannot_be_written(
    tmp_path: Path, disk: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    filler = disk / "filler"

    def degraded() -> list[list[str]]:
        assert system.ask("GET", "/a").status == 204
        return [row["degraded"] for row in status(system)["rows"] if row["role"] == "gateway"]

    with Running.started("up", str(tmp_path), disk / "data", "--set=log.to=files") as system:
        assert status(system)["troubles"] == {}
        fill(filler)
        system.until(lambda: [FULL] in degraded())
        told = status(system)["troubles"]["database"]
        assert told.startswith("its disk is full: 0 MiB are free for ")
        assert told[:16] in run("status", f"--data={system.data}").stdout
        filler.unlink()
        system.until(lambda: not any(degraded()))
        assert status(system)["troubles"] == {}
