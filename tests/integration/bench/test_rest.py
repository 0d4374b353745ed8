"""`./dev bench rest`: every contender that is installed answers what is right and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import _peers as peers
from bench._harness.options import load_of, only, options
from bench._harness.servers import Contender, Missing, running
from bench.rest.checks import WRONG, Statuses
from bench.rest.contenders import contenders

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="platform: reads /proc"
)


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> list[Contender | Missing]:
    """Everybody, without installing anybody."""
    home = peers._PYTHON / "bin"
    there = home if (home / "granian").exists() else None
    monkeypatch.setattr(peers, "python", lambda: there)
    monkeypatch.setattr(peers, "modules", lambda _: peers.installed())
    return list(contenders())


@pytest.mark.slow
def test_whoever_is_installed_takes_what_is_right_and_refuses_what_is_wrong(
    present: list[Contender | Missing],
) -> None:
    statuses = Statuses()
    for one in present:
        if isinstance(one, Contender):
            with running(one, None) as place:
                statuses.check(one, place)
    assert {"ours, a service", "ours, http alone"} <= set(statuses.told)
    assert all(told <= set(range(400, 500)) for told in statuses.told.values())
    missing = [one for one in present if isinstance(one, Missing)]
    assert len(missing) + len(statuses.told) == len(present) == 11
    assert all(one.reason for one in missing)


def test_one_that_takes_a_wrong_body_is_found_out() -> None:
    script = (
        "import http.server, json, os\n"
        "class Lax(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.say(200, {'id': 7})\n"
        "    def do_POST(self):\n"
        "        text = self.rfile.read(int(self.headers['content-length']))\n"
        "        try: new = json.loads(text)\n"
        "        except ValueError: return self.say(400, {})\n"
        "        self.say(201, new) if new['name'] else self.say(422, {})\n"
        "    def say(self, status, value):\n"
        "        self.send_response(status)\n"
        "        self.end_headers()\n"
        "        self.wfile.write(json.dumps(value).encode())\n"
        "    def log_message(self, *_): pass\n"
        "address = ('127.0.0.1', int(os.environ['PORT']))\n"
        "http.server.HTTPServer(address, Lax).serve_forever()\n"
    )
    lax = Contender("lax", [sys.executable, "-c", script])
    with running(lax, None) as place, pytest.raises(RuntimeError) as caught:
        Statuses().check(lax, place)
    said = str(caught.value)
    assert said.startswith("it does not refuse ")
    for what in WRONG:
        assert (f"{what} (201)" in said) == (what not in ("no JSON", "no name")), said


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "python", lambda: None)
    monkeypatch.setattr(peers, "modules", lambda _: None)
    found = peers.binary("Nobody", "a-program-that-is-nowhere")
    assert isinstance(found, Missing)
    assert found.name == "Nobody"
    assert "a-program-that-is-nowhere is neither on the PATH" in found.reason
    assert isinstance(peers.in_node("Node", "rest_node.cjs"), Missing)
    assert isinstance(peers.in_python("Python", ["granian"]), Missing)


@pytest.fixture
def kept() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("kept")
def test_contenders_are_chosen_by_words_and_a_quick_run_is_one_round() -> None:
    settings = options("rest").parse_args(["--only", "fast, OURS", "--quick"])
    wanted = [Missing(name, "") for name in ("ours, a service", "Fastify, ajv", "Node")]
    assert [one.name for one in only(settings, wanted)] == ["ours, a service", "Fastify, ajv"]
    assert load_of(settings).rounds == 1
    assert only(options("rest").parse_args([]), wanted) == wanted


@pytest.mark.slow  # it sets up what other servers need first, where that is not there yet
def test_a_benchmark_that_is_terminated_leaves_no_server_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.rest", "--only=ours, http", "--seconds=30"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not _servers(tmp_path) and time.monotonic() < until:
            time.sleep(0.1)
        servers = _servers(tmp_path)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert servers
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)
    assert not list(tmp_path.glob("switchgear-bench-*"))


def _servers(folder: Path) -> list[str]:
    """Return who writes into a folder of a contender: its server."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(f"{folder}/switchgear-bench-"):
            found.append(link.parts[2])
    return found
