"""The command line: `switchgear up | run | dev | check | status`.

Nothing heavy is imported until a command runs: `switchgear --help` must not load a server.
"""

import os
import sys
from typing import TextIO, cast

__all__ = ["main"]

_INTERRUPTED = 130  # what a shell tells of a program that Ctrl-C ended


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: what it needs is not installed: the bare package is the policies alone.
    """
    _open_standard_streams()
    try:
        from switchgear.cli.main import command
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        raise SystemExit("switchgear: this needs pip install 'switchgear[server]'") from None
    except KeyboardInterrupt:  # nothing has begun; as the command itself says it later
        raise SystemExit(_INTERRUPTED) from None
    command()(prog_name="switchgear")


def _open_standard_streams() -> None:
    """Put the null device where standard input, output or error was closed.

    Else the next files that are opened get these numbers, and what is printed, or handed to a
    process that is started, goes into them: the answer of a survey, a socket.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def _stream(number: int, mode: str) -> TextIO:
    stream = open(number, mode, closefd=False, encoding="utf-8")  # noqa: SIM115 - kept to the end
    return cast("TextIO", stream)
