"""The supervisor's own log, where it cannot be written."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from switchgear.assembly.events import Draining
from switchgear.cli.front import Front
from switchgear.telemetry.logs import Log
from switchgear.telemetry.writer import DescriptorSink, LogWriter


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_log_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    front = Front(Log(LogWriter(DescriptorSink(full)), "supervisor"), None)
    try:
        assert front.trouble() == ""
        front.observe(Draining("SIGTERM"))
        words = "log: cannot be written: No space left on device"
        until(lambda: front.trouble() == words)
        log = tmp_path / "log"
        room = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(room, full)  # whoever asks has it tried again: nothing else may have a line
        os.close(room)
        until(lambda: front.trouble() == "")
        assert "lines of the log were lost" in log.read_text()
    finally:
        front.close()
        os.close(full)
