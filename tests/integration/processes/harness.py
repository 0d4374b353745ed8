"""A running system under test: the command line in a process group of its own, and what it logs."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from switchgear.assembly.control import ask
from switchgear.assembly.runtime import Record, read_record
from tools.source import SOURCE

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = Path(__file__).with_name("switchgear_toys.py")
PATIENCE = 30.0
QUICK = {
    "supervisor.beat": "0.1",
    "supervisor.unroutable": "0.5",
    "supervisor.hung": "2.5",
    "supervisor.dump": "0.5",
    "supervisor.drain": "2.5",
    "supervisor.drain_least": "0.5",
}


def environment(**more: str) -> dict[str, str]:
    path = f"{SOURCE}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error", **more}


def command(*words: str, python: str = sys.executable) -> list[str]:
    return [python, str(LAUNCHER), *words]


def switchgear(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class System:
    """`switchgear up` on a data folder, with quick timings."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        quick: bool = True,
        python: str = sys.executable,
        **more: str,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        app = folder / "app"
        if not app.exists():
            app.mkdir(parents=True)
            (app / "app.py").write_text("async def app(scope, receive, send): ...\n")
        settings = [f"--set={key}={value}" for key, value in QUICK.items()] if quick else []
        self.events: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self.process = subprocess.Popen(
            command(
                *(words or ("up", "app")),
                "--port=0",
                "--data=data",
                "--set=admin.port=0",
                *settings,
                python=python,
            ),
            cwd=folder,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.errors = b""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._outputs = (self.process.stdout, self.process.stderr)
        self._readers = [
            threading.Thread(target=work, args=(output,), daemon=True)
            for work, output in zip((self._read, self._read_errors), self._outputs, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            with self._more:
                self.events.append(json.loads(line))
                self._more.notify_all()

    def _read_errors(self, output: IO[bytes]) -> None:
        for line in output:
            self.errors += line

    def wait(self, event: str, after: int = 0, **fields: object) -> dict[str, Any]:
        """Return the first event of this name with these fields, after a number of events."""
        wanted = {"event": event, **fields}

        def found() -> dict[str, Any] | None:
            for one in self.events[after:]:
                if wanted.items() <= one.items():
                    return one
            return None

        with self._more:
            one = self._more.wait_for(found, PATIENCE)
            if one is None:
                raise AssertionError(f"no {wanted} in:\n" + "\n".join(map(str, self.events[-30:])))
            return one

    def ready(self) -> "System":
        self.url = str(self.wait("ready")["url"])
        return self

    @property
    def seen(self) -> int:
        return len(self.events)

    def pid(self, label: str) -> int:
        return int(self.row(label)["pid"])

    def row(self, label: str) -> dict[str, Any]:
        return next(row for row in self.rows() if row["label"] == label)

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.status()["rows"]
        return rows

    def status(self) -> dict[str, Any]:
        answered: dict[str, Any] = self.ask("status")
        return answered

    @property
    def record(self) -> Record:
        """What the data folder says of the boot that runs on it."""
        return recorded(self.data)

    def ask(self, verb: str, body: object = None) -> Any:
        """Ask the supervisor; the answer is JSON, and the test says what is in it."""
        return asyncio.run(ask(self.record.socket, verb, body, timeout=5))

    def get(self, path: str, address: str = "") -> bytes:
        """Ask a toy: a gateway by the public socket, or a service by its address."""
        with self.open(path, address) as sock:
            return answer(sock)

    def open(self, path: str, address: str = "") -> socket.socket:
        if address:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(address.removeprefix("unix:"))
        else:
            host, _, port = self.url.removeprefix("http://").rpartition(":")
            sock = socket.create_connection((host, int(port)), PATIENCE)
        sock.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return sock

    def topology(self) -> dict[str, list[str]]:
        """Return what a gateway knows: label -> state, generation, address."""
        lines = self.get("/topology").decode().splitlines()
        return {line.split()[0]: line.split()[1:] for line in lines}

    def until(self, what: Callable[[], object], *wanted: object) -> None:
        """Wait until `what()` is one of the values."""
        end = time.monotonic() + PATIENCE
        while (now := what()) not in wanted:
            assert time.monotonic() < end, f"{now!r} instead of {wanted!r}"
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def end_output(self) -> None:
        """Wait for the end of a killed system, whose grandchildren may hold its output open."""
        self.process.wait(PATIENCE)

    def notes(self) -> list[str]:
        """Return what the toys noted at their end, in order of time."""
        lines = sorted(
            (self.data / "notes").read_text().splitlines(), key=lambda n: float(n.split()[0])
        )
        return [line.split(" ", 1)[1] for line in lines]

    def clean(self) -> None:
        """End whatever a failed test left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(PATIENCE)
        for pid in left(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        record = read_record(self.data)
        if record is not None:  # the next `up` would remove it, but there is none
            shutil.rmtree(record.folder, ignore_errors=True)
        for reader in self._readers:
            reader.join(PATIENCE)
        for output in self._outputs:
            output.close()


def recorded(data: Path) -> Record:
    """Return the record in a data folder on which a system runs."""
    record = read_record(data)
    assert record is not None
    return record


def answer(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data.partition(b"\r\n\r\n")[2]


def gone(pid: int) -> bool:
    """Whether a process is dead; it may wait for a parent to take note of that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def left(folder: Path) -> list[int]:
    """Return the processes that were started in a folder and are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "cwd") == str(folder) and not gone(int(entry.name)):
                    found.append(int(entry.name))
    return found
