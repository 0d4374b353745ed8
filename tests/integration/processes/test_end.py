"""The ordered end: who ends when, what is answered, and what is left behind (nothing)."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchgear.assembly.control import ask
from tests.integration.processes.harness import (
    PATIENCE,
    System,
    answer,
    command,
    environment,
    left,
    recorded,
    switchgear,
)

Start = Callable[..., System]


def test_ctrl_c_drains_in_order_answers_what_was_asked_and_leaves_nothing(start: Start) -> None:
    system = start().ready()
    folder = Path(system.record.folder)
    slow = [system.open("/slow") for _ in range(6)]
    system.until(lambda: sum(row["figures"]["requests"] for row in system.rows()), len(slow))
    system.interrupt()
    for sock in slow:
        with sock:
            assert answer(sock).isdigit()
    assert system.end() == 0
    stopped = system.wait("stopped")
    assert stopped["killed"] == []
    assert not [one for one in system.events if one["event"] == "auxiliary down"]
    order = [note.split("-")[0].split()[0] for note in system.notes()]
    assert order == ["gateway", "gateway", "service", "service", "worker", "toybase"]
    assert left(system.folder) == []
    assert not folder.exists()
    assert not (system.data / "run.json").exists()


def test_a_role_that_does_not_drain_is_killed_when_the_time_is_over(start: Start) -> None:
    system = start(TOY_EXTRA="stubborn").ready()
    began = time.monotonic()
    system.process.send_signal(signal.SIGTERM)
    assert system.end() == 1
    assert 2 < time.monotonic() - began < 10
    assert system.wait("stopped")["killed"] == ["stubborn-1"]
    assert "worker-1 drained" in system.notes()  # its stage came all the same
    assert left(system.folder) == []


def test_a_role_that_must_cut_what_it_has_lives_to_tell_and_that_is_no_clean_end(
    start: Start,
) -> None:
    system = start().ready()
    with system.open("/endless"):
        time.sleep(0.2)
        system.interrupt()
        assert system.end() == 1
    told = system.wait("talks were cut: the drain took too long", level="warning")
    ended = system.wait("process ended", label=told["process"])
    assert ended["how"] == "exit code 1"
    assert system.wait("stopped")["killed"] == [told["process"]]


def test_a_lame_duck_answers_who_comes_after_the_signal_and_then_drains(start: Start) -> None:
    system = start(
        "up", "app", "--set=supervisor.lame_duck=2", "--set=supervisor.drain=30", quick=False
    )
    system.ready().interrupt()
    system.wait("draining")
    assert system.get("/pid").isdigit()
    assert system.end() == 0
    assert system.wait("stopped")["seconds"] > 1.9


def test_no_seat_is_filled_again_while_all_ends(start: Start) -> None:
    system = start(TOY_EXTRA="stubborn").ready()
    system.interrupt()
    system.wait("process ended", label="service-1")
    seen = system.seen
    assert system.ask("replace", "service-1") == []
    system.end()
    assert "process started" not in [one["event"] for one in system.events[seen:]]


def test_a_second_ctrl_c_ends_everything_at_once(start: Start) -> None:
    system = start("up", "app", "--set=supervisor.drain=60", quick=False, TOY_EXTRA="stubborn")
    system.ready()
    system.interrupt()
    system.wait("draining")
    time.sleep(0.3)
    began = time.monotonic()
    system.interrupt()
    assert system.end() == 1
    assert time.monotonic() - began < 5
    assert "stubborn-1" in system.wait("stopped")["killed"]
    assert "toybase stopped" in system.notes()
    assert left(system.folder) == []


def test_a_second_ctrl_c_waits_for_no_auxiliary_that_does_not_stop(start: Start) -> None:
    system = start("up", "app", "--set=supervisor.drain=60", quick=False).ready()
    (system.data / "aux-hangs").touch()
    system.interrupt()
    system.wait("process ended", label="worker-1")
    time.sleep(0.5)
    began = time.monotonic()
    system.interrupt()
    assert system.process.wait(PATIENCE) == 1
    assert time.monotonic() - began < 10
    os.kill(int((system.data / "aux.pid").read_text()), signal.SIGKILL)  # it holds our pipes
    assert system.end() == 1
    assert system.wait("stopped")["killed"] == ["toybase"]


def test_ctrl_c_while_starting_ends_cleanly(start: Start) -> None:
    system = start()
    system.wait("process started", label="worker-1")
    system.interrupt()
    assert system.end() == 0
    assert left(system.folder) == []


@pytest.mark.parametrize(("stream", "role"), [("stdout", "logging"), ("stderr", "flooding")])
def test_what_nobody_reads_makes_no_clean_end_an_unclean_one(
    tmp_path: Path, stream: str, role: str
) -> None:
    """Whoever reads our output may stand still; a role that logged was killed at its end.

    One that printed stood still as well, with all that it served.
    """
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    words = ("up", "app", "--port=0", "--admin=0", "--data=data", "--set=supervisor.dump=0.5")
    process = subprocess.Popen(
        command(*words),
        cwd=tmp_path,
        env=environment(TOY_EXTRA=role),
        stdout=writing if stream == "stdout" else subprocess.DEVNULL,
        stderr=writing if stream == "stderr" else None,
    )
    os.close(writing)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            shown = switchgear("status", "--data=data", "--json", cwd=tmp_path)
            if shown.returncode == 0 and json.loads(shown.stdout)["ready"]:
                break
            assert time.monotonic() < end, shown.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def test_what_was_printed_to_nobody_is_counted_and_told_of_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command("up", "app", "--port=0", "--admin=0", "--data=data"),
            cwd=tmp_path,
            env=environment(TOY_EXTRA="flooding"),
            stdout=log,
            stderr=writing,
        )
    os.close(writing)

    def lines(event: str) -> list[dict[str, Any]]:
        whole = (tmp_path / "log").read_text().rpartition("\n")[0]
        told = map(json.loads, whole.splitlines())
        return [line for line in told if line["event"] == event]

    def counted() -> float:
        answer = asyncio.run(ask(recorded(tmp_path / "data").socket, "metrics", timeout=5))
        return sum(map(float, re.findall(r"printed_lines_dropped_total\{\S+ (\S+)", answer)))

    try:
        end = time.monotonic() + PATIENCE
        while not lines("ready") or not counted():
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        (told,) = lines("printed lines were lost")
        assert (told["process"], told["lost"] > 0) == ("flooding-1", True)
    finally:
        process.kill()
        process.wait()


def test_a_crash_during_the_drain_is_no_clean_end(start: Start) -> None:
    system = start().ready()
    slow = system.open("/slow")
    time.sleep(0.2)
    pids = [system.pid("gateway-1"), system.pid("gateway-2")]
    system.interrupt()
    system.wait("draining")
    for pid in pids:  # the one that has nothing to finish may be gone already
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    slow.close()
    assert system.end() == 1


def test_a_role_that_dies_each_time_is_restarted_ever_later_and_harms_nobody(start: Start) -> None:
    system = start(TOY_EXTRA="broken")
    system.wait("process restarting", label="broken-1", row=4)
    rows = [one for one in system.events if one["event"] == "process restarting"]
    delays = [one["delay"] for one in rows]
    assert [one["row"] for one in rows] == [1, 2, 3, 4]
    assert delays == sorted(delays)
    assert 0.075 <= delays[0] <= 0.125
    assert 0.6 <= delays[3] <= 1.0
    assert rows[3]["level"] == "error"
    failures = [one for one in system.events if one["event"] == "the role failed"]
    assert "RuntimeError: broken by design" in failures[0]["exception"]
    assert system.row("gateway-1")["restarts"] == 0
    assert system.row("broken-1")["restarts"] >= 4
    system.interrupt()
    assert system.end() in (0, 1)
