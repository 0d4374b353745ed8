"""The standard streams of a command: closed ones, full ones, and ones whose reader has gone."""

import io
import os
import sys
from typing import Any, TextIO, cast

__all__ = ["UnwrittenError", "abandon", "leave", "open_streams"]


class UnwrittenError(OSError):
    """Standard output does not take what is printed. Any other error of the system is not it."""


class _Output(io.TextIOWrapper):
    """Standard output, whose errors can be told from those of everything else."""

    def __init__(self, stream: Any) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._stream = stream  # which closes the buffer when it goes

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise UnwrittenError(error.errno, error.strerror) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise UnwrittenError(error.errno, error.strerror) from None


def open_streams() -> TextIO:
    """Put the null device where standard input, output or error was closed; return the output.

    Else the next files that are opened get these numbers, and what is printed, or handed to a
    process that is started, goes into them: the answer of a survey, a socket.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = output = _Output(sys.stdout or _stream(1, "w"))
    sys.stderr = sys.stderr or _stream(2, "w")
    return output


def abandon(number: int = 1) -> None:
    """Let go what standard output has not taken: else the interpreter tries again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def leave() -> None:
    """Let go what standard error has not taken: newer interpreters exit with 120 for that."""
    try:
        sys.stderr.flush()
    except OSError:
        abandon(2)


def _stream(number: int, mode: str) -> TextIO:
    stream = open(number, mode, closefd=False, encoding="utf-8")  # noqa: SIM115 - kept to the end
    return cast("TextIO", stream)
