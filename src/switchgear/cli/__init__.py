"""The command line: `switchgear up | run | dev | check | status`.

Nothing heavy is imported until a command runs: `switchgear --help` must not load a server.
"""

import errno
import sys
from contextlib import suppress

from switchgear.cli.init import step_aside
from switchgear.cli.streams import UnwrittenError, abandon, leave, open_streams

__all__ = ["main"]

_WRONG = 2  # as `cli.request` says it, which is not imported yet
_INTERRUPTED = 130  # what a shell tells of a program that Ctrl-C ended


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: what it needs is not installed: the bare package is the policies alone.
    """
    output = open_streams()
    step_aside()
    try:
        from switchgear.cli.main import command
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        with suppress(OSError):
            print("switchgear: this needs pip install 'switchgear[server]'", file=sys.stderr)
        raise SystemExit(_WRONG) from None
    except KeyboardInterrupt:  # nothing has begun; as the command itself says it later
        raise SystemExit(_INTERRUPTED) from None
    try:
        try:
            command()(prog_name="switchgear")
        finally:
            output.flush()  # what fails only then is told, and typer's stand-in would not
    except UnwrittenError as error:
        abandon()
        if error.errno == errno.EPIPE:  # as `head` does: it has what it wanted
            raise SystemExit(1) from None
        raise SystemExit(
            f"switchgear: cannot write the answer to standard output: {error.strerror};"
            " send it elsewhere"
        ) from None
    finally:
        leave()
