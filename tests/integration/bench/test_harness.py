"""The benches' own instruments: a wrong one would make every figure wrong."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench._harness import load
from bench._harness.calls import per_call
from bench._harness.load import Asked, ask, heard
from bench._harness.rounds import Load, measure
from bench._harness.servers import Contender, Missing, Running
from bench._harness.tree import used
from bench.rest.checks import Statuses
from bench.rest.contenders import ours

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


SERVER = """
import http.server, os, sys

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if len(sys.argv) > 2:
            sys.stderr.write("line\\n" * int(sys.argv[2]))
            sys.stderr.flush()
        self.send_response(int(sys.argv[1]))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

address = ("127.0.0.1", int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, Server).serve_forever()
"""


def lines(place: Running) -> dict[str, int]:
    return {"lines": (place.folder / "out").read_bytes().count(b"line\n")}


def server(name: str, *arguments: str) -> Contender:
    return Contender(name, [sys.executable, "-c", SERVER, *arguments], counts=lines)


@pytest.mark.parametrize("wrk", [True, False])
def test_a_contender_is_measured_by_either_load(wrk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not wrk:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif load.generator() != "wrk":
        pytest.skip("wrk is not on the PATH")
    gone = Missing("gone", "it is gone")
    contenders: list[Contender | Missing] = [ours("one", "rest_raw"), gone, ours("two", "rest_raw")]
    each = Asked("GET", "/users/<n>", headers={"x-one": "1"}, among=20)
    measured = measure(contenders, each, Load(2, 1, 8, 0))
    assert list(measured.figures) == ["one", "two"]
    assert measured.reasons == {"gone": "it is gone"}
    for name, figures in measured.figures.items():
        assert figures.errors == 0
        assert figures.rate > 100
        assert 1 < figures.cpu < 2000
        assert 0 < figures.busy < 1.5
        assert 0 < figures.p50 <= figures.p99
        assert figures.held_bytes > 1 << 20
        assert len(measured.rows[name]) == 2


def test_one_log_line_for_each_request_is_seen_and_anything_else_makes_a_row_invalid() -> None:
    contenders = [server("once", "200", "1"), server("twice", "200", "2"), server("never", "200")]
    measured = measure(contenders, Asked(), Load(1, 1, 4, 0))
    assert measured.figures["once"].invalid == ""
    assert "counted lines" in measured.figures["twice"].invalid
    assert "counted lines 0" in measured.figures["never"].invalid


def test_an_answer_that_is_no_success_is_an_error() -> None:
    measured = measure([server("failing", "503", "1")], Asked(), Load(1, 1, 4, 0))
    assert measured.figures["failing"].errors == measured.rows["failing"][0].seen.requests > 10


def test_a_contender_that_ends_or_refuses_nothing_has_no_figures() -> None:
    gone = Contender("gone", [sys.executable, "-c", "raise SystemExit('no luck')"])
    lax = server("lax", "200", "1")
    contenders = [gone, lax, ours("ours", "rest_raw")]
    measured = measure(
        contenders, Asked("GET", "/users/7"), Load(1, 1, 4, 0), check=Statuses().check
    )
    assert list(measured.figures) == ["ours"]
    assert "gone ended with 1\nno luck" in measured.reasons["gone"]
    assert "lax" in measured.reasons


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
