"""A whole system under load: `switchgear up` in a folder of its own, and what each role used."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from signal import SIGINT
from typing import Any, Final

from bench._harness.source import PATH, ROOT
from bench._harness.tree import Used, held, used
from tools.ports import free_port

__all__ = ["System", "between", "up"]

_READY_WITHIN: Final = 60.0


class System:
    """A running system: where it is reached, and its processes by role."""

    def __init__(self, data: Path, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.port = port
        self._data = data
        self._process = process
        self._admin = 0

    def ready(self, log: Path) -> None:
        """Wait until it says that it is ready. Raises RuntimeError when it ends instead."""
        until = time.monotonic() + _READY_WITHIN
        while time.monotonic() < until and self._process.poll() is None:
            for line in log.read_text("utf-8", "replace").splitlines():
                if '"event":"ready"' in line and '"supervisor"' in line:
                    self._admin = int(json.loads(line)["admin"].rpartition(":")[2])
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the system did not start:\n{log.read_text('utf-8', 'replace')}")

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Ask once; return the JSON. Raises RuntimeError for anything but a success."""
        return _asked(self.port, method, path, body, dict(headers or {}))

    def used(self) -> dict[str, tuple[int, Used]]:
        """Return of each role how many processes it has and what they used so far."""
        token = (self._data / "admin.token").read_text().strip()
        status = _asked(self._admin, "GET", "/status", None, {"authorization": f"Bearer {token}"})
        pids: dict[str, list[int]] = defaultdict(list)
        for row in status["rows"]:
            pids[row["role"]].append(row["pid"])
        for file in (self._data / "postgres").rglob("postmaster.pid"):
            pids["database"].append(int(file.read_text().split()[0]))
        return {role: (len(each), _sum(each)) for role, each in pids.items()}


def between(
    before: Mapping[str, tuple[int, Used]], after: Mapping[str, tuple[int, Used]]
) -> dict[str, tuple[int, Used]]:
    """Return what each role used meanwhile, and what memory it holds in the end."""
    return {
        role: (count, now._replace(cpu=now.cpu - was.cpu, kernel=now.kernel - was.kernel))
        for role, (count, now) in after.items()
        for _, was in [before[role]]
    }


@contextmanager
def up(app: str, *flags: str, port: int = 0) -> Iterator[System]:
    """Run an app's system on a fresh data folder, and remove all of it."""
    folder = Path(tempfile.mkdtemp(prefix="switchgear-bench-"))
    folder.chmod(0o711)  # the embedded server of root runs under another account
    port = port or free_port()
    log = folder / "log.jsonl"
    command = [sys.executable, "-c", "from switchgear.cli import main; main()", "up", app]
    command += [f"--port={port}", "--admin=127.0.0.1:0", f"--data={folder / 'data'}", *flags]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        system = System(folder / "data", process, port)
        system.ready(log)
        yield system
    finally:
        process.send_signal(SIGINT)
        process.wait(60)
        shutil.rmtree(folder)


def _asked(port: int, method: str, path: str, body: object, headers: dict[str, str]) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        content = None if body is None else json.dumps(body)
        if content is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} was answered {answer.status}: {data[:300]!r}")
    return json.loads(data)


def _sum(pids: list[int]) -> Used:
    each = [used(pid) for pid in pids]
    return Used(sum(one.cpu for one in each), sum(map(held, pids)), sum(one.kernel for one in each))
