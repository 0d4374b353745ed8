"""The benches' own instruments: a wrong one would make every figure wrong."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench._apps.person import PERSON
from bench._harness import load
from bench._harness.calls import per_call
from bench._harness.load import Asked, ask, heard
from bench._harness.servers import Contender, measure
from bench._harness.tree import used
from bench._peers import upstream

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="platform: reads /proc"
)

SAID = """Running 2s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Latency Distribution
     50%  650.00us
     75%    1.02ms
     90%    1.66ms
     99%    1.20s
  52345 requests in 2.10s, 14.59MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  24926.19
"""
BURNER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]]) if len(sys.argv) > 1 else None
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("done", flush=True)
if child: child.wait()
time.sleep(60)
"""


def test_what_wrk_says_is_read_with_its_units() -> None:
    assert heard(SAID) == (52345, 2.1, 650e-6, 1.2, 15)
    with pytest.raises(RuntimeError, match="no total"):
        heard("unable to connect")


def test_the_cpu_of_a_tree_counts_its_children_the_ended_ones_too() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    command = [sys.executable, "-c", BURNER, burn]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            until = time.monotonic() + 20
            while used(process.pid).cpu < 0.55 and time.monotonic() < until:
                time.sleep(0.05)
            assert 0.55 <= used(process.pid).cpu < 1.5
            assert used(process.pid).resident_bytes > 1 << 20
        finally:
            process.kill()
    with pytest.raises(ProcessLookupError):
        used(process.pid)


@pytest.mark.parametrize("wrk", [True, False])
def test_a_contender_is_measured_by_either_load(wrk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not wrk:
        monkeypatch.setattr(load.shutil, "which", lambda name: None)
    elif load.generator() != "wrk":
        pytest.skip("platform: wrk is not on the PATH")
    figures = measure([upstream()], Asked(), rounds=1, seconds=1, connections=8)["upstream"]
    assert figures.errors == 0
    assert figures.rate > 100
    assert 1 < figures.cpu < 1000
    assert 0 < figures.p50 <= figures.p99


def test_a_contender_that_says_something_else_is_not_measured() -> None:
    script = (
        "import http.server, os\n"
        "class Nothing(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self): self.send_error(503)\n"
        "    def log_message(self, *_): pass\n"
        "address = ('127.0.0.1', int(os.environ['PORT']))\n"
        "http.server.HTTPServer(address, Nothing).serve_forever()\n"
    )
    wrong = Contender("wrong", [sys.executable, "-c", script])
    with pytest.raises(RuntimeError, match="wrong answered 503"):
        measure([wrong], Asked("POST", "/person", PERSON), rounds=1, seconds=1)


def test_a_contender_that_ends_is_told() -> None:
    with pytest.raises(RuntimeError, match="gone ended with 3"):
        measure([Contender("gone", [sys.executable, "-c", "raise SystemExit(3)"])], Asked())


def test_a_load_without_a_server_is_told() -> None:
    with pytest.raises(RuntimeError):
        ask(Asked(), 1, seconds=1, connections=1, cpu=None)


def test_calls_are_told_apart() -> None:
    async def cheap() -> None:
        return

    async def dear() -> None:
        sum(range(1000))

    costs = per_call({"cheap": lambda: cheap, "dear": lambda: dear}, rounds=3)
    assert costs["dear"] > 3 * costs["cheap"] > 0
