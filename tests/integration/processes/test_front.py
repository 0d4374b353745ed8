"""A person's terminal, a container's foreground, a developer's reload, an account to drop to."""

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.processes.harness import (
    PATIENCE,
    ROOT,
    System,
    command,
    environment,
    gone,
    left,
    recorded,
    switchgear,
)
from tools.source import SOURCE

Start = Callable[..., System]
Open = Callable[..., "Terminal"]


class Terminal:
    """A program on a pseudo-terminal, and all that it has shown."""

    def __init__(self, words: list[str], folder: Path, **more: str) -> None:
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(words[0], words, environment(TERM="xterm", **more))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.set_blocking(self.fd, False)
        self.code: int | None = None

    def read(self) -> None:
        try:
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other side is closed
            time.sleep(0.02)

    def until(self, *words: str) -> None:
        end = time.monotonic() + PATIENCE
        while not all(word in self.shown for word in words):
            assert time.monotonic() < end, self.shown[-3000:]
            self.read()

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def end(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.code is None:
            assert time.monotonic() < end, self.shown[-3000:]
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    return tmp_path


@pytest.fixture
def terminal(folder: Path) -> Iterator[Open]:
    made: list[Terminal] = []

    def open_one(*words: str, **more: str) -> Terminal:
        made.append(Terminal(command(*words), folder, **more))
        return made[-1]

    yield open_one
    for one in made:
        one.close()
    for pid in left(folder):
        os.kill(pid, signal.SIGKILL)


def test_a_terminal_shows_a_live_table_and_ctrl_c_drains(terminal: Open, folder: Path) -> None:
    screen = terminal("up", "app", "--port=0", "--admin=0", "--data=data", TOY_EXTRA="chatty")
    screen.until("ready http://127.0.0.1:", "(admin http://127.0.0.1:", " s")
    screen.until("process", "requests/s", "gateway-2", "worker-1", "toybase", "(Ctrl-C drains)")
    screen.until("chatty-1", "a print of user code")  # above the table, by name
    screen.press(b"\x03")
    assert screen.end() == 0
    assert left(folder) == []
    events = [
        json.loads(line)["event"]
        for line in (folder / "data" / "logs" / "supervisor.jsonl").read_text().splitlines()
    ]
    assert events[-1] == "stopped"
    assert (folder / "data" / "logs" / "chatty-1.jsonl").read_text().count("a line of the log") == 1


def test_a_terminal_that_stops_reading_stops_nothing_else(terminal: Open, folder: Path) -> None:
    screen = terminal("up", "app", "--port=0", "--admin=0", "--data=data", TOY_EXTRA="flooding")
    screen.until("ready http://127.0.0.1:")
    time.sleep(1.0)  # it fills the terminal's buffer, which nobody reads
    socket = recorded(folder / "data").socket
    assert socket.exists()
    shown = switchgear("status", "--data=data", "--json", cwd=folder)
    rows = {row["label"]: row for row in json.loads(shown.stdout)["rows"]}
    os.kill(rows["worker-1"]["pid"], signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while True:
        shown = switchgear("status", "--data=data", "--json", cwd=folder)
        now = {row["label"]: row for row in json.loads(shown.stdout)["rows"]}["worker-1"]
        if now["state"] == "ready" and now["restarts"] == 1:
            break
        assert time.monotonic() < end
    os.kill(screen.pid, signal.SIGTERM)
    assert screen.end() == 0


def test_one_role_runs_in_the_foreground_and_drains_on_sigterm(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    system = start("run", "gateway", "app")
    ready = system.wait("ready")
    assert ready["process"] == "gateway"
    system.wait("a role has no peers: what it serves is not answered", role="service")
    host, port = str(ready["address"]).removeprefix("tcp:").split(":")
    system.url = f"http://{host}:{port}"
    slow = system.open("/slow")
    time.sleep(0.2)
    system.process.send_signal(signal.SIGTERM)
    with slow:
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert system.end() == 0


def test_a_role_that_runs_alone_goes_on_as_a_lame_duck_before_it_drains(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    system = start("run", "gateway", "app", "--set=supervisor.lame_duck=3", quick=False)
    system.url = str(system.wait("ready")["address"]).replace("tcp:", "http://")
    system.process.send_signal(signal.SIGTERM)
    for _ in range(5):
        assert system.get("/pid").isdigit()
        time.sleep(0.1)
    assert system.end() == 0


def test_a_second_signal_ends_a_lame_duck_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    system = start("run", "gateway", "app", "--set=supervisor.lame_duck=15", quick=False)
    system.wait("ready")
    system.process.send_signal(signal.SIGTERM)
    assert system.wait("asked to end")["lame_duck"] == 15
    system.process.send_signal(signal.SIGTERM)
    assert system.end() == 1
    assert b"Timeout" not in system.errors  # nothing had held it
    system.wait("ended without draining, as asked twice")


def test_a_second_signal_ends_a_role_whose_thread_does_not_end_and_tells_its_stack(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    system = start("run", "gateway", "app", "--set=supervisor.drain_least=0.5", quick=False)
    system.url = str(system.wait("ready")["address"]).replace("tcp:", "http://")
    with system.open("/thread"):
        time.sleep(0.2)
        system.process.send_signal(signal.SIGTERM)
        system.wait("asked to end")
        system.process.send_signal(signal.SIGTERM)
        assert system.end() == 1
    assert b"Timeout" in system.errors
    assert b"concurrent/futures/thread.py" in system.errors


def test_a_role_that_waits_for_its_database_has_its_admin_port_and_ends_when_asked(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "aux-waits").touch()
    system = start("run", "service", "app")
    system.wait("admin port")
    system.process.send_signal(signal.SIGTERM)
    assert system.end() == 0
    system.wait("ended before it had begun, as asked")


def test_a_data_folder_that_keeps_no_admin_token_is_told_with_what_would_help(
    tmp_path: Path,
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("async def app(scope, receive, send): ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "switchgear", "run", "service", "app", "--port=0",
         "--admin=127.0.0.1:0", "--data=/proc/nowhere", "--set=database.url.env=DB"],
        cwd=tmp_path, env=environment(DB="postgresql://a:b@127.0.0.1:1/c"), capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "/proc/nowhere" in done.stderr
    assert "trust.admin_token" in done.stderr


def test_a_role_that_runs_alone_drains_when_its_terminal_is_closed(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    system = start("run", "gateway", "app")
    system.wait("ready")
    system.process.send_signal(signal.SIGHUP)
    assert system.end() == 0


def test_a_standalone_role_believes_a_configured_key_and_knows_configured_peers(
    start: Start,
) -> None:
    system = start(
        "run", "gateway", "app", "--set=trust.internal_key.env=KEY",
        "--set=peers.service=tcp:10.0.0.7:81,tcp:10.0.0.8:81", KEY="0123456789abcdef" * 2,
    )  # fmt: skip
    host, port = str(system.wait("ready")["address"]).removeprefix("tcp:").split(":")
    system.url = f"http://{host}:{port}"
    assert not any("has no peers" in str(one["event"]) for one in system.events)
    assert system.topology() == {
        "service-1": ["ready", "1", "tcp:10.0.0.7:81"],
        "service-2": ["ready", "1", "tcp:10.0.0.8:81"],
    }
    assert len(system.get("/key")) == 32
    assert not any("no trust.internal_key" in str(one["event"]) for one in system.events)


def test_dev_is_one_process_that_starts_anew_when_a_file_changes(start: Start) -> None:
    system = start("dev", "app").ready()
    (row,) = system.rows()
    assert row["label"] == "dev-1"
    assert system.topology()["service-1"][0] == "ready"
    assert system.get("/pid") == system.get("/pid", system.topology()["service-1"][2])
    app, seen = system.folder / "app" / "app.py", system.seen

    app.write_text("import nothere\n")
    told = system.wait("process cannot start", seen)
    assert "No module named 'nothere'" in told["sentence"]
    assert f'File "{app}", line 1' in told["trace"]
    system.wait("process ended", seen, how="exit code 78")
    time.sleep(0.3)
    assert system.row("dev-1")["state"] == "down"  # it waits for the repair, and does not spin

    seen = system.seen
    app.write_text("async def app(scope, receive, send): ...  # repaired\n")
    system.wait("process ready", seen)
    assert system.get("/pid") == str(system.pid("dev-1")).encode()
    system.interrupt()
    assert system.end() == 0
    assert [note.split("-")[0] for note in system.notes() if "toybase" not in note][-3:] == [
        "gateway", "service", "worker",
    ]  # fmt: skip


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every account can walk through, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="switchgear-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def public_python() -> str:
    """Return a Python of this version that nobody's account can run, with our packages."""
    packages = str(Path(msgspec.__file__).parent.parent)
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(PermissionError):
            asked = subprocess.run(
                [python, "-c", "import sys, msgspec, switchgear; print(sys.version_info[:2])"],
                env=environment(PYTHONPATH=f"{SOURCE}:{ROOT}:{packages}"),
                user=65534, group=65534, extra_groups=[], cwd="/",
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if asked.stdout.strip() == str(sys.version_info[:2]):
                return python
    pytest.skip("platform: no Python here that another account can run")


def test_root_drops_to_the_account_of_the_spec(public: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("platform: needs root")
    packages = str(Path(msgspec.__file__).parent.parent)
    system = System(
        public, python=public_python(), TOY_ACCOUNT="65534:65534",
        PYTHONPATH=f"{SOURCE}:{ROOT}:{packages}",
    )  # fmt: skip
    try:
        system.ready()
        pids = [row["pid"] for row in system.rows()]
        for pid in pids:
            owner = Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()
            assert owner[:4] == ["65534"] * 4
        assert system.get("/pid", system.topology()["service-1"][2])
        assert system.record.socket.parent.stat().st_uid == 65534
        system.process.kill()  # PDEATHSIG must have survived the change of account
        system.end_output()
        system.until(lambda: all(map(gone, pids)), True)
    finally:
        system.clean()


def test_help_loads_no_server(folder: Path) -> None:
    code = (
        "import sys\n"
        "from switchgear.cli import main\n"
        "sys.argv = ['switchgear', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'asyncio', 'asyncpg', 'uvloop', 'httptools', 'structlog', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [*command()[:1], "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "dev" in done.stdout
