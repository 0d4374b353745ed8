"""The first process of a container: it starts the command as its child, and buries orphans.

The kernel treats process 1 unlike any other. Signals that it handles in no way of its own are
dropped, so that nobody could stop a command that is still importing, or waits for its database; and
whatever loses its parent becomes its child, and a zombie for good where it does not look. Where an
init is there already (`docker run --init`) we are not process 1, and this does nothing.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Final

__all__ = ["step_aside"]

_KERNEL: Final = 0x80  # SI_KERNEL: a terminal's signals reach the child without us


def step_aside() -> None:
    """Return in a child, where this is process 1; stay behind as its init until it ends.

    It must be called before there are threads, which a child would not have.
    """
    if os.getpid() != 1 or sys.platform != "linux":
        return
    held = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(_tend(child, held))  # what is buffered, or registered for the end, is the child's


def _tend(child: int, held: set[signal.Signals]) -> int:
    """Pass signals on and reap whatever ends, until the child does; return its exit code.

    Of a child that a signal has killed it is what a shell makes of it: 128 and the number.
    """
    while True:
        came = signal.sigwaitinfo(held)
        if came.si_signo != signal.SIGCHLD:
            if came.si_code != _KERNEL:
                with suppress(ProcessLookupError):
                    os.kill(child, came.si_signo)
            continue
        with suppress(ChildProcessError):  # nobody is left
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == child:
                    code = os.waitstatus_to_exitcode(found[1])
                    return code if code >= 0 else 128 - code
