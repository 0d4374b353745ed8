"""Ctrl-C under load: what was asked is answered whole, and nothing is left behind."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import sys
import termios
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from switchgear.assembly.runtime import MARK
from switchgear.core.clock import FINE
from switchgear.drills.process import Process
from switchgear.drills.summary import Record
from tests.drills.system import System, fetch, running
from tests.support.example import copied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SLOW = '''

@app.post("/slow/{seconds}", public=True, deadline="30s")
async def slow(seconds: float) -> About:
    """Take its time."""
    import asyncio

    await asyncio.sleep(seconds)
    return About("slow", "x" * 100_000)
'''


@pytest.fixture
def app(data_folder: Path) -> str:
    """The community, with a route that takes its time."""
    folder = data_folder.parent / "app"
    copied(folder, SLOW)
    return str(folder)


class Traces:
    """What a running system has, that must be gone when it has ended."""

    def __init__(self, system: System) -> None:
        record = json.loads((system.data / "run.json").read_text())
        postmaster = next((system.data / "postgres").rglob("postmaster.pid"))
        lines = postmaster.read_text().splitlines()
        self._mark = f"{MARK}={record['boot']}".encode()
        self._paths = [Path(record["folder"]), Path(lines[4]), postmaster]
        self._paths.append(system.data / "run.json")
        self._postgres = int(lines[0])
        assert len(self.left()) > 8, "these traces are not those of a running system"

    def left(self) -> list[str]:
        """Return the processes, files and folders that are there."""
        found = [str(path) for path in self._paths if path.exists()]
        running = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return found + [f"process {entry.name}" for entry in running if self._is_ours(entry)]

    def _is_ours(self, entry: Path) -> bool:
        try:
            marked = self._mark in (entry / "environ").read_bytes().split(b"\0")
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            return False
        ours = marked or self._postgres in (int(entry.name), int(parent))
        return ours and state != "Z"


def judged(records: list[Record], pressed: float) -> tuple[Counter[str], list[Record]]:
    """Count how those that left after the key was pressed ended, and return the broken ones.

    Whatever left on a connection is to be answered whole; whoever found no connection any more
    was refused.
    """
    broken = [
        one
        for one in records
        if not one.good and not (one.sent is None and one.scheduled > pressed)
    ]
    after = [one for one in records if one.ended > pressed]
    return Counter(one.error or str(one.status) for one in after), broken


async def test_ctrl_c_under_load_answers_what_was_asked_and_leaves_nothing(
    data_folder: Path, app: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(data_folder, app=app) as system:
        token = await system.token()
        traces = Traces(system)
        out = tmp_path / "records.jsonl"
        wanted = (
            f"--to {system.address} --rate 300 --seconds 60 --connections 32 --out {out}".split()
        )
        wanted += ["--factory", "tests.drills.traffic:Community"]
        wanted += ["--arguments", json.dumps({"token": token, "prefix": "drain"})]
        async with await Process.start("switchgear.drills.load", *wanted) as load:
            await asyncio.sleep(2.5)
            slow = [
                asyncio.create_task(fetch(system.address, "POST", f"/slow/{seconds}"))
                for seconds in (0.3, 0.6, 1.0, 2.0, 3.0)
            ]
            await asyncio.sleep(0.5)
            pressed = FINE()
            assert system.process is not None
            system.process.send_signal(signal.SIGINT)
            answers = await asyncio.gather(*slow)
            code = await system.ended()
            ended = FINE() - pressed
            load.signal(signal.SIGTERM)
            summary = await load.line()
    records = [msgspec.json.decode(line, type=Record) for line in out.read_bytes().splitlines()]
    after, broken = judged(records, pressed)
    with capsys.disabled():
        print(f"\n  {len(records)} requests; after Ctrl-C {dict(after)}, {len(broken)} broken;")
        print(f"  ended {ended:.2f} s after Ctrl-C with exit code {code}; lag {summary['lag']:.3f}")
    assert [(status, len(body) > 100_000) for status, body in answers] == [(201, True)] * 5
    assert broken == []
    assert after["201"] > 0
    assert after["refused"] > 0
    assert code == 0, system.told()
    assert traces.left() == []


async def test_a_second_ctrl_c_hurries(data_folder: Path, app: str) -> None:
    async with running(data_folder, app=app) as system:
        traces = Traces(system)
        slow = asyncio.create_task(fetch(system.address, "POST", "/slow/15", within=20))
        await asyncio.sleep(0.5)
        assert system.process is not None
        system.process.send_signal(signal.SIGINT)
        await asyncio.sleep(1.0)
        pressed = time.monotonic()
        assert await system.stop() == 1
        assert time.monotonic() - pressed < 6
        with pytest.raises((OSError, IndexError)):  # cut: no answer at all
            await slow
        assert traces.left() == []


async def test_ctrl_c_in_a_terminal_reaches_the_supervisor_alone(
    data_folder: Path, app: str
) -> None:
    system = System(data_folder, app=app)
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\x00\x00\x00\x00")
    shown = bytearray()
    loop = asyncio.get_running_loop()

    def take() -> None:
        try:
            shown.extend(os.read(master, 65536))
        except OSError:  # the other end is closed
            loop.remove_reader(master)

    loop.add_reader(master, take)
    # What a terminal's shell does: a session whose controlling terminal this is.
    enter = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{enter}; os.execv(sys.argv[1], sys.argv[1:])"),
        *system.command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**system.environment, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    try:
        async with asyncio.timeout(60):
            while b"worker-1" not in shown or b"ready" not in shown or not await up(system):
                await asyncio.sleep(0.1)
        traces = Traces(system)
        slow = asyncio.create_task(fetch(system.address, "POST", "/slow/2"))
        await asyncio.sleep(0.5)
        os.write(master, b"\x03")
        status, body = await slow
        async with asyncio.timeout(20):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        loop.remove_reader(master)
        os.close(master)
    text = shown.decode("utf-8", "replace")
    assert (status, len(body) > 100_000) == (201, True)
    assert code == 0, text[-3000:]
    assert "KeyboardInterrupt" not in text
    assert "Traceback" not in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is hidden still"
    assert traces.left() == []


async def up(system: System) -> bool:
    """Say whether every role is ready."""
    try:
        return all(row["state"] == "ready" for row in (await system.status())["rows"])
    except OSError:
        return False
