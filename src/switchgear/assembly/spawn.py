"""Spawning: a role process in a session of its own, with its line, its dump file and its boot."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from switchgear.assembly.allocator import MALLOC
from switchgear.assembly.kernel import scratch
from switchgear.assembly.line import frame
from switchgear.assembly.messages import Boot

__all__ = ["Spawned", "end_group", "environment", "read_dump", "reap", "spawn", "wipe_dump"]

_BOOT_TIMEOUT: Final = 5.0


class Spawned(NamedTuple):
    """A started process. `output` is what it prints, if that is captured."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    dump: int
    output: int | None


def environment(outer: Mapping[str, str], mark: str, boot: str) -> dict[str, str]:
    """Return the environment of role processes. What the operator has set of MALLOC_* wins."""
    return {**MALLOC, **outer, mark: boot}


def spawn(
    make: Callable[[int], Boot],
    *,
    descriptors: tuple[int, ...],
    environ: Mapping[str, str],
    title: str,
    capture: bool,
) -> Spawned:
    """Start a process; `make` gets the number of its dump descriptor and returns its boot message.

    It must be called on the main thread: PDEATHSIG follows the thread that forked. The process
    prints to our standard error, or into a pipe if `capture`; standard output is the log's alone.

    Raises:
        OSError: the process cannot be started.
    """
    ours, theirs = socket.socketpair()
    dump = scratch("stacks")
    reader = writer = None
    try:
        if capture:
            reader, writer = os.pipe()
        process = subprocess.Popen(
            # -P: no module of the working directory stands before ours. The title is for `ps`.
            [sys.executable, "-P", "-m", "switchgear.assembly.child", str(theirs.fileno()), title],
            stdin=subprocess.DEVNULL,
            stdout=2 if writer is None else writer,
            stderr=2 if writer is None else writer,
            env=dict(environ),
            start_new_session=True,
            pass_fds=(theirs.fileno(), dump, *descriptors),
        )
    except BaseException:
        ours.close()
        os.close(dump)
        if reader is not None:
            os.close(reader)
        raise
    finally:
        theirs.close()
        if writer is not None:
            os.close(writer)
    ours.settimeout(_BOOT_TIMEOUT)
    try:
        ours.sendall(frame(msgspec.json.encode(make(dump))))
    except OSError:
        pass  # it died at birth, which whoever reaps it will tell
    if reader is not None:
        os.set_blocking(reader, False)
    return Spawned(process, ours, dump, reader)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a role process and all that it started and left in its session."""
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):  # empty; on macOS, of zombies only
        pass


def reap(process: subprocess.Popen[bytes]) -> int | None:
    """Return how the process ended, or None while it lives; what it had started ends with it."""
    if process.returncode is None and hasattr(os, "waitid"):
        try:
            state = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            state = None
        if state is not None:
            end_group(process)  # before it is reaped: until then the number is surely its own
    return process.poll()


def read_dump(dump: int) -> str:
    """Return what faulthandler wrote into a dump file."""
    return os.pread(dump, 256 * 1024, 0).decode("utf-8", "replace").strip()


def wipe_dump(dump: int) -> None:
    """Have what is written next stand alone; the writer goes by the same place in the file."""
    os.ftruncate(dump, 0)
    os.lseek(dump, 0, os.SEEK_SET)
