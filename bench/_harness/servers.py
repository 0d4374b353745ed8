"""Server processes under measure, each pinned to one CPU with its whole tree."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench._harness.load import Asked
from bench._harness.pinning import pinned
from tools.ports import free_port

__all__ = ["Contender", "Counts", "Missing", "Running", "running"]

_READY_WITHIN: Final = 120.0  # seconds: ten thousand routes are bound twice
_SHOWN: Final = 2000  # characters of what a server said before it failed


class Running(NamedTuple):
    """A server that answers: its process, its port, and the folder with its files and output."""

    pid: int
    port: int
    folder: Path


Counts = Callable[[Running], Mapping[str, int]]
"""Says what a server has counted so far; all of it must come to the number of requests."""


@dataclass(frozen=True)
class Contender:
    """A server process.

    In its command, environment and `files` (by name, written into its folder), `{port}` is
    where it is to listen and `{folder}` its folder. `headers` go with every request to it, which is
    `asked` where it is another than everybody's. Its output is the file `out` there.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    counts: Counts | None = None
    asked: Asked | None = None


class Missing(NamedTuple):
    """A contender that this machine lacks, and what for."""

    name: str
    reason: str


@contextmanager
def running(contender: Contender, cpu: int | None) -> Iterator[Running]:
    """Run a contender on one CPU, once it listens. Raises RuntimeError when it does not."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="switchgear-bench-"))

    def filled(text: str) -> str:
        return text.replace("{port}", str(port)).replace("{folder}", str(folder))

    env = {name: filled(value) for name, value in contender.env.items()}
    process = None
    try:
        for name, text in contender.files.items():
            (folder / name).write_text(filled(text))
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                [filled(part) for part in contender.command],
                env={**os.environ, **env, "PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=pinned(cpu),  # noqa: PLW1509 - there is one thread
            )
        place = Running(process.pid, port, folder)
        _await_ready(contender, process, place)
        yield place
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(folder)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # Its session is its own: what it started goes with it.
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        process.wait()


def _await_ready(contender: Contender, process: "subprocess.Popen[bytes]", place: Running) -> None:
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            said = (place.folder / "out").read_text("utf-8", "replace")[-_SHOWN:]
            raise RuntimeError(f"{contender.name} ended with {process.returncode}\n{said}".strip())
        try:
            socket.create_connection(("127.0.0.1", place.port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    said = (place.folder / "out").read_text("utf-8", "replace")[-_SHOWN:]
    raise RuntimeError(f"{contender.name} did not listen within {_READY_WITHIN:g} s\n{said}")
