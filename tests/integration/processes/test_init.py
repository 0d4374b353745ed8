"""The first process of a container, as process 1 of a namespace of its own."""

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
PRELUDE = """
import os, signal, subprocess, sys, time
from switchgear.cli.init import step_aside
assert os.getpid() == 1
step_aside()
"""


def _allowed() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not _allowed(), reason="platform: there is no right to make a namespace of processes"
)


@pytest.fixture
def first() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.kill()
        one.communicate()


def begin(
    started: list[subprocess.Popen[str]], source: str, prelude: str = PRELUDE
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*NAMESPACE, sys.executable, "-c", prelude + source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def init_of(unshare: int) -> int:
    """Return the process that is the first of the namespace."""
    with open(f"/proc/{unshare}/task/{unshare}/children") as children:
        return int(children.read())


def until(terminal: int, end: bytes) -> bytes:
    said = b""
    while not said.endswith(end):
        said += os.read(terminal, 1000)
    return said


def test_the_command_is_a_child_and_its_exit_code_is_the_containers(
    first: list[subprocess.Popen[str]],
) -> None:
    process = begin(first, "print(os.getppid()); sys.exit(7)")
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, said, wrong) == (7, "1\n", "")


def test_every_command_steps_aside(first: list[subprocess.Popen[str]]) -> None:
    source = """
import importlib
from switchgear.cli import main
importlib.import_module("switchgear.cli.main").command = lambda: lambda **named: print(os.getppid())
main()
"""
    said, wrong = begin(first, source, PRELUDE.replace("step_aside()\n", "")).communicate(
        timeout=60
    )
    assert (said, wrong) == ("1\n", "")


def test_a_command_that_a_signal_kills_ends_as_in_a_shell(
    first: list[subprocess.Popen[str]],
) -> None:
    process = begin(first, "os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


def test_a_command_that_handles_no_signal_yet_can_be_stopped(
    first: list[subprocess.Popen[str]],
) -> None:
    process = begin(first, "print('here', flush=True); time.sleep(300)")
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.kill(init_of(process.pid), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_orphans_are_buried(first: list[subprocess.Popen[str]]) -> None:
    source = """
orphans = [
    int(subprocess.check_output(["sh", "-c", "sleep 0 >&- & echo $!"])) for _ in range(5)
]
end = time.monotonic() + 30
while any(os.path.exists(f"/proc/{pid}") for pid in orphans) and time.monotonic() < end:
    time.sleep(0.01)
print([pid for pid in orphans if os.path.exists(f"/proc/{pid}")])
"""
    process = begin(first, source)
    said, wrong = process.communicate(timeout=60)
    assert (said, wrong) == ("[]\n", "")


def test_a_terminal_interrupts_the_command_once() -> None:
    """The kernel tells all of its foreground: passed on, it would be twice, which cuts a drain."""
    source = """
came = []
signal.signal(signal.SIGINT, lambda *_: came.append(1))
print("here", flush=True)
end = time.monotonic() + 30
while not came and time.monotonic() < end:
    time.sleep(0.01)
print("once", flush=True)
time.sleep(1)
print("came", len(came), flush=True)
"""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execvp(NAMESPACE[0], [*NAMESPACE, sys.executable, "-c", PRELUDE + source])
    try:
        said = until(terminal, b"here\r\n")
        os.kill(init_of(child), signal.SIGSTOP)  # passed on at once, it would be one with it
        os.write(terminal, b"\x03")
        said += until(terminal, b"once\r\n")
        os.kill(init_of(child), signal.SIGCONT)
        said += until(terminal, b"\r\n")
        assert said.endswith(b"came 1\r\n")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
