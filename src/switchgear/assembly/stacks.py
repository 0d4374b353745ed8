"""Stacks: what a process has written of its threads, and where in it its loop stands."""

import re
import sysconfig
from typing import Final

from switchgear.assembly.failures import OURS

__all__ = ["fatal", "standing"]

_FATAL: Final = "Fatal Python error"
_FRAME: Final = re.compile(r'  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)')
_LOOP: Final = ("assembly/child.py", "main")  # outermost but for the launcher
_OTHERS: Final = (sysconfig.get_path("stdlib"), OURS, "<frozen ")
_PACKAGES: Final = re.compile(r"[/\\](?:site|dist)-packages[/\\]")


def fatal(stacks: str) -> str:
    """Return what a fatal signal had a process write; nothing where only we have asked it to."""
    at = stacks.find(_FATAL)
    return stacks[at:] if at >= 0 else ""


def standing(stacks: str) -> str:
    """Say where the loop's thread stands, as "/app/app.py:27 in export".

    It is the innermost line that is neither ours, nor Python's, nor of a package, where there is
    one: what those wait for, the app has asked them to. Nothing where there are no stacks.
    """
    threads = [list(_FRAME.finditer(part)) for part in stacks.split("\n\n")]
    found = next(
        (frames for frames in threads if any(map(_is_loop, frames))),
        # A stack that is too deep for its end to be written: asked, the loop's thread comes forth.
        next(iter(threads[_current(stacks) :]), []),
    )
    if not found:
        return ""
    frame = next((one for one in found if not _is_of_others(one["file"])), found[0])
    return f"{frame['file']}:{frame['line']} in {frame['function']}"


def _current(stacks: str) -> int:
    before = stacks.partition("Current thread ")[0]
    return before.count("\n\n") if before != stacks else 0


def _is_loop(frame: re.Match[str]) -> bool:
    return frame["file"].endswith(_LOOP[0]) and frame["function"] == _LOOP[1]


def _is_of_others(file: str) -> bool:
    return file.startswith(_OTHERS) or _PACKAGES.search(file) is not None
