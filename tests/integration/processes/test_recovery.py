"""kill -9 of the supervisor: no orphan, no stale socket, and the next `up` just works."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from switchgear.assembly.line import frame
from switchgear.assembly.messages import Boot, RoleSpec
from switchgear.assembly.runtime import MARK
from tests.integration.processes.harness import System, environment, gone, left, switchgear

Start = Callable[..., System]


def test_no_role_outlives_its_supervisor_and_the_next_up_recovers(start: Start) -> None:
    first = start().ready()
    record = first.record
    pids = [row["pid"] for row in first.rows()]
    address = first.topology()["service-1"][2]
    grandchild = int(first.get("/children", address))
    os.kill(pids[1], signal.SIGSTOP)  # a hung one must not survive either
    first.process.kill()
    first.end_output()
    first.until(lambda: [pid for pid in pids if not gone(pid)], [])
    assert not gone(grandchild)  # PDEATHSIG does not reach so far
    assert Path(record.folder).exists()

    second = start().ready()
    assert grandchild in second.wait("recovered")["pids"]
    assert not Path(record.folder).exists()
    assert gone(grandchild)
    assert second.get("/pid")
    assert second.record.boot != record.boot
    second.interrupt()
    assert second.end() == 0
    assert left(second.folder) == []


def test_nothing_answers_after_a_kill_and_status_says_so(start: Start) -> None:
    system = start().ready()
    system.process.kill()
    system.end_output()
    told = switchgear("status", "--data=data", cwd=system.folder)
    assert told.returncode == 3
    assert f"nothing answers on the data folder {system.data}" in told.stderr


def test_a_damaged_record_removes_nothing(start: Start, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run.json").write_text(
        f'{{"boot": "00", "pid": 1, "folder": "{precious}"}}'
    )
    system = start().ready()
    system.interrupt()
    assert system.end() == 0
    assert precious.exists()


def test_a_role_whose_supervisor_died_before_it_could_ask_ends_itself(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "switchgear.assembly.child", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=environment(),
            stderr=subprocess.PIPE,
        )
        spec = RoleSpec("toy", "tests.integration.processes.toys:worker", app=False)
        boot = Boot(os.getpid() + 1, spec, 1, 1, msgspec.Raw(b"{}"), b"")  # not its parent
        ours.sendall(frame(msgspec.json.encode(boot)))
        _, errors = child.communicate(timeout=30)
    assert child.returncode == 1
    assert b"the supervisor died while this process was being started" in errors


def test_a_role_that_is_started_by_hand_says_who_starts_it(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "switchgear.assembly.child", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=environment(),
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert b"this is started by `switchgear up`, not by hand" in done.stderr


def test_the_mark_of_a_boot_is_on_its_roles_and_not_on_its_supervisor(start: Start) -> None:
    system = start().ready()
    boot = system.record.boot
    mark = f"{MARK}={boot}".encode()
    assert mark in Path(f"/proc/{system.pid('worker-1')}/environ").read_bytes()
    assert mark not in Path(f"/proc/{system.process.pid}/environ").read_bytes()
