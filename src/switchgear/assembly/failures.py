"""What keeps a system from starting, in words for whoever typed the command."""

import importlib
import signal
import traceback
from pathlib import Path
from typing import Final

__all__ = ["CLEAN", "OURS", "StartError", "ended", "told", "user_trace"]

CLEAN: Final = "exit code 0"
_IMPORTLIB: Final = str(Path(importlib.__file__).resolve().parent)
OURS: Final = str(Path(__file__).resolve().parent.parent)


class StartError(Exception):
    """Something outside the program must change before it can start: one clear sentence.

    `trace` holds the user's own part of a traceback, where their code is what failed.
    """

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.trace = trace


def ended(code: int) -> str:
    """Say how a process ended: by which signal, or with which exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def told(error: OSError) -> str:
    """Return what the system said about a failed call, without its number."""
    return error.strerror or str(error)


def user_trace(error: BaseException) -> str:
    """Return the traceback without the frames that are ours or the import machinery's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((OURS, _IMPORTLIB, "<frozen "))
    ]
    lines = traceback.format_list(frames) + traceback.format_exception_only(error)
    return "".join(lines).rstrip("\n")
