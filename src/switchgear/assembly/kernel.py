"""What a role process asks of the kernel at birth: to die with its supervisor, and to be less."""

import ctypes
import os
import signal
import sys
from typing import Final

from switchgear.assembly.messages import RunAs

__all__ = ["DUMP_SIGNAL", "die_with", "drop_to"]

DUMP_SIGNAL: Final = signal.SIGUSR2
"""On it, a role writes the stacks of all its threads into its dump file."""

_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """Ask to be killed when the parent dies, and exit if it is dead already.

    SIGKILL, for a hung role must not outlive its supervisor either. macOS has no such call: there
    the end of the line ends the role. A change of account forgets the request, so it is
    made after `drop_to`.

    Raises:
        SystemExit: the parent died before it could be asked for.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        raise SystemExit("the supervisor died while this process was being started")


def drop_to(account: RunAs) -> None:
    """Become another account for good, if we are root."""
    if os.geteuid() != 0:
        return
    os.setgroups(list(account.groups) or [account.gid])
    os.setgid(account.gid)
    os.setuid(account.uid)
