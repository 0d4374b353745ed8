"""The article's load: what it says is read right, and a failure is never a success."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench._harness.cannon import UNIQUE, Shot, fire
from bench._harness.tree import held, used
from bench._peers import installed, modules
from tools.ports import free_port

SERVER = """
import http.server, sys

seen = set()

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        fresh = body not in seen and self.headers["authorization"] == "Bearer secret"
        seen.add(body)
        self.send_response(201 if fresh else 409)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Server).serve_forever()
"""


@contextmanager
def serving() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # it tells of every reset
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.kill()


def shot(port: int, body: str) -> Shot:
    return Shot("POST", f"http://localhost:{port}/", {"authorization": "Bearer secret"}, body)


def autocannon() -> Path:
    """Return where it is; under CI it is brought along."""
    found = modules("autocannon") if os.environ.get("CI") == "true" else installed()
    if found is None:
        pytest.skip("autocannon is not installed (./dev bench community does it)")
    return found


@pytest.mark.parametrize("program", ["wrk", "autocannon"])
def test_every_body_is_another_and_what_is_no_success_is_counted(program: str) -> None:
    found = None if program == "wrk" else autocannon()
    if program == "wrk" and shutil.which("wrk") is None:
        pytest.skip("wrk is not on the PATH")
    with serving() as port:
        unique = fire(shot(port, f'{{"id": "{UNIQUE}"}}'), connections=4, seconds=1, modules=found)
        same = fire(shot(port, '{"id": "a"}'), connections=4, seconds=1, modules=found)
    assert unique.requests > 20
    assert unique.failed == 0
    assert same.non_2xx >= same.requests - 1 > 20
    assert 0 <= unique.p50 <= unique.p99 < 1
    assert unique.command.startswith(f"{program} ")
    assert "secret" not in unique.command


def test_a_load_without_a_server_is_an_error() -> None:
    assert fire(shot(free_port(), "{}"), connections=2, seconds=1, modules=autocannon()).errors > 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="platform: reads /proc")
def test_memory_that_processes_share_is_counted_once() -> None:
    script = (
        "import mmap, os, time\n"
        "shared = mmap.mmap(-1, 64 << 20)\n"
        "shared.write(b'x' * (64 << 20))\n"
        "for _ in range(3):\n"
        "    if not os.fork(): break\n"
        "shared.seek(0); shared.read()\n"
        "print('here', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            for _ in range(4):
                process.stdout.readline()
            assert used(process.pid).resident_bytes > 4 * (60 << 20)
            assert (60 << 20) < held(process.pid) < (130 << 20)
        finally:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            for pid in (*map(int, children.split()), process.pid):
                os.kill(pid, signal.SIGKILL)
