"""Open the log that the settings ask for."""

import os
from pathlib import Path

from switchgear.telemetry.logs import Log, console_line, json_line
from switchgear.telemetry.settings import LogSettings
from switchgear.telemetry.writer import DescriptorSink, LogWriter, RotatingFile, Sink

__all__ = ["open_log"]


def open_log(settings: LogSettings, process: str, *, descriptor: int, folder: Path | None) -> Log:
    """Open a process's log on a descriptor, or in its own file below `folder` if one is given.

    Files are always JSON; a descriptor gets readable lines when it is a terminal, or when `form`
    says so.
    """
    sink: Sink
    if folder is not None:
        sink = RotatingFile(folder / f"{process}.jsonl", settings.file_bytes)
        readable = False
    else:
        sink = DescriptorSink(descriptor)
        readable = settings.form == "console" or (settings.form == "auto" and os.isatty(descriptor))
    writer = LogWriter(sink, bound_bytes=settings.bound_bytes)
    return Log(writer, process, level=settings.level, form=console_line if readable else json_line)
