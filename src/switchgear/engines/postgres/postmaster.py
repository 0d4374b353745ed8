"""What a data folder says of the server that runs on it, and how to make sure that none does.

A killed postmaster leaves its pid file, its socket and, for as long as a query runs, its
backends. A new server refuses to start beside them, rightly: two on one folder destroy it. So the
processes that work in the folder are found by their own evidence (program and working folder),
given time, ended, and only then is the rubbish removed.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import NamedTuple

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["PidFile", "evict", "members", "read_pid_file"]

PATIENCE = 1.0  # seconds for orphaned backends to notice by themselves
TERM = 3.0  # seconds after SIGTERM
KILL = 5.0  # seconds after SIGKILL: the kernel's own work only


class PidFile(NamedTuple):
    """The lines of `postmaster.pid`; `status` is `ready` once connections are welcome."""

    pid: int
    shared_memory: int | None
    status: str


def read_pid_file(data: Path) -> PidFile | None:
    """Read the server's own record, or None where it has none (or is just writing it)."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        pid = abs(int(lines[0]))
    except (OSError, ValueError, IndexError):
        return None
    memory = lines[6].split() if len(lines) > 6 else []
    segment = int(memory[1]) if len(memory) == 2 and memory[1].isdigit() else None
    return PidFile(pid, segment, lines[7].strip() if len(lines) > 7 else "")


def members(data: Path) -> list[int]:
    """Return the PostgreSQL processes that work in the folder `data`, the postmaster included."""
    if sys.platform != "linux":
        file = read_pid_file(data)
        return [file.pid] if file is not None and _is_postgres(file.pid) else []
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/comm", encoding="utf-8") as comm:
                if comm.read().strip() != "postgres":
                    continue
            if os.path.samefile(f"/proc/{entry.name}/cwd", data):
                found.append(int(entry.name))
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


def evict(data: Path, timeout: float = 20.0, off: Event | None = None) -> list[int]:
    """End every server process on `data` and remove the stale pid file; return who was ended.

    A postmaster is stopped cleanly (its supervisor is gone, or we would not hold the lock);
    backends without one are waited for, then ended. Blocks, for most of a minute where one is
    frozen: call it in a thread, which `off` has end soon, with whoever is left as they are.

    Raises a Fault (failed_precondition) where one survives or works where we cannot see it, and
    (cancelled) where it was called off.
    """
    off = off or Event()
    ended = members(data)
    file = read_pid_file(data)
    if file is not None and file.pid in ended:
        for number in (signal.SIGINT, signal.SIGQUIT):
            _signal([file.pid], number)
            if _gone(data, timeout, off, only=file.pid):
                break
    left = members(data)
    if left and not _gone(data, PATIENCE, off):
        _signal(members(data), signal.SIGTERM)
        if not _gone(data, TERM, off):
            _signal(members(data), signal.SIGKILL)
            if not _gone(data, KILL, off):
                raise _occupied(data, f"processes {members(data)} do not end")
    file = read_pid_file(data)
    if file is not None:
        if file.shared_memory is not None and _attached(file.shared_memory):
            raise _occupied(data, "its shared memory is in use by a process we cannot see")
        if sys.platform == "linux" or not _is_postgres(file.pid):
            (data / "postmaster.pid").unlink(missing_ok=True)
    return ended


def _gone(data: Path, timeout: float, off: Event, only: int | None = None) -> bool:
    until = time.monotonic() + timeout
    while True:
        present = members(data)
        if not present or (only is not None and only not in present):
            return True
        if time.monotonic() > until:
            return False
        if off.wait(0.01):
            words = f"called off while PostgreSQL ends in {data}"
            raise Fault(Code.CANCELLED, words, origin="postgres")


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise _occupied(Path("/proc") / str(pid), f"not ours to end: {error}") from error


def _attached(segment: int) -> bool:
    """Whether any process, in whatever namespace, is attached to a System V segment."""
    try:
        lines = Path("/proc/sysvipc/shm").read_text("ascii").splitlines()
    except OSError:
        return False
    if not lines:
        return False
    names = lines[0].split()
    identity, attached = names.index("shmid"), names.index("nattch")
    for line in lines[1:]:
        fields = line.split()
        if fields[identity] == str(segment):
            return int(fields[attached]) > 0
    return False


def _is_postgres(pid: int) -> bool:
    command = ["/bin/ps", "-o", "comm=", "-p", str(pid)]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    return "postgres" in told.stdout


def _occupied(data: Path, why: str) -> Fault:
    return Fault(
        Code.FAILED_PRECONDITION,
        f"another PostgreSQL still works in {data}: {why}",
        effect=Effect.NONE,
        origin="postgres",
    )
