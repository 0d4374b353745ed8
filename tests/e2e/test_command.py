"""The command line where its surroundings are odd: closed streams, another account, a module."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.running import Running, command, environment, run

APP = "from switchgear import App\n\napp = App('x')\n"


def shell(folder: Path, script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line by a line of shell, in which it is "$@"."""
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command(*words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_an_app_is_checked_although_standard_streams_are_closed(
    tmp_path: Path, closed: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    done = shell(tmp_path, f'"$@" {closed}', "check", ".")
    assert done.returncode == 0, (done.stdout, done.stderr)
    if ">" not in closed.replace("2>", ""):
        assert "the configuration is good" in done.stdout


@pytest.mark.parametrize("closed", ["<&- >&-", "<&- 2>&-"])
def test_what_is_wrong_goes_nowhere_but_to_standard_error(tmp_path: Path, closed: str) -> None:
    done = shell(tmp_path, f'"$@" {closed}', "check", "nowhere")
    assert done.returncode == 2
    assert done.stdout == ""
    assert ("there is no module" in done.stderr) is ("2>" not in closed)


def test_a_system_runs_and_drains_without_standard_streams(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    words = command("up", ".", "--port=0", "--admin=0")
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words],
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 60
        while '"ready":true' not in run("status", "--json", cwd=tmp_path).stdout.replace(" ", ""):
            assert process.poll() is None, "it ended"
            assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


PRINTED = [
    "--help",
    "--version",
    "check .",
    "check --all",
    "check --help",
    "status",
    "status --json",
]


def printed(
    running: Running, folder: Path, words: str, unbuffered: str, out: int
) -> tuple[int, str]:
    """Run what prints to a descriptor; return its exit code, and what it says of it."""
    (folder / "app.py").write_text(APP)
    data = [f"--data={running.data}"] if words.startswith("status") else []
    done = subprocess.run(
        command(*words.split(), *data),
        cwd=folder,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", PRINTED)
def test_an_answer_that_cannot_be_written_is_one_sentence(
    community: Running, tmp_path: Path, words: str, unbuffered: str
) -> None:
    with open("/dev/full", "wb") as full:
        code, told = printed(community, tmp_path, words, unbuffered, full.fileno())
    assert code == 1
    assert told == (
        "switchgear: cannot write the answer to standard output: No space left on device;"
        " send it elsewhere\n"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", PRINTED)
def test_a_reader_that_has_gone_is_nothing_to_tell_of(
    community: Running, tmp_path: Path, words: str, unbuffered: str
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        assert printed(community, tmp_path, words, unbuffered, theirs) == (1, "")
    finally:
        os.close(theirs)


def test_what_is_wrong_is_told_by_the_exit_code_where_words_cannot_be(tmp_path: Path) -> None:
    assert shell(tmp_path, '"$@" 2>/dev/full', "check", "nowhere").returncode == 2


def test_the_package_is_a_command_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "switchgear", "check", "--nothing"],
        env=environment(COLUMNS="120"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: switchgear check ")


def test_the_status_of_a_system_that_another_account_runs(community: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("platform: needs root, whose data folder others cannot read")
    asked = (
        "import os, sys\n"
        "from switchgear.cli.request import Request, guarded\n"
        "from switchgear.cli.status import status\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"request = Request(None, [('data', {str(community.data)!r}, '--data')])\n"
        "sys.exit(guarded(lambda: status(request, json=False)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked],
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr == (
        f"switchgear: cannot read {community.data}/run.json: Permission denied; ask as the "
        "account that runs it\n"
    )
