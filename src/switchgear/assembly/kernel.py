"""What our processes ask of the kernel: to die with the supervisor, to be less, to hold more.

And a file that is nobody else's.
"""

import ctypes
import os
import resource
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from switchgear.assembly.messages import RunAs

__all__ = [
    "DUMP_SIGNAL",
    "allow_descriptors",
    "die_with",
    "drop_to",
    "give_way",
    "scratch",
    "seats",
]

DUMP_SIGNAL: Final = signal.SIGUSR2
"""On it, a role writes the stacks of all its threads into its dump file."""

_DESCRIPTORS: Final = 1 << 20  # more than any process of ours holds
_OWN: Final = 128  # descriptors for logs, control sockets, listeners, files, the database
_PR_SET_PDEATHSIG: Final = 1
_SOONER: Final = 500  # thousandths of the memory there is, by which a role counts as larger
_TAKEN_AT_LAST: Final = 1000  # the most that the kernel knows


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


def give_way() -> None:
    """Be taken before the supervisor and the database where memory is out.

    The kernel takes the largest, which one of these may be: the end of a role is that of a role,
    and theirs is that of all. It is asked before `drop_to`: who has changed its account may not.
    """
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):  # no Linux, or a container that lets nobody
        score.write_text(str(min(_TAKEN_AT_LAST, int(score.read_text()) + _SOONER)))


def drop_to(account: RunAs) -> None:
    """Become another account for good, if we are root."""
    if os.geteuid() != 0:
        return
    os.setgroups(list(account.groups) or [account.gid])
    os.setgid(account.gid)
    os.setuid(account.uid)


def allow_descriptors() -> int:
    """Raise the soft limit of open descriptors to the hard one; return what it is now.

    The usual soft limit of 1024 is there for programs that still use select(); a gateway would run
    out of it long before it is busy. Child processes inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def scratch(name: str) -> int:
    """Open a file without a path, for two processes to share; return its descriptor.

    In memory where the kernel can: a container's disk may be read-only, and any disk full.
    """
    if sys.platform == "linux":
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seats(wanted: int, onward: int) -> int:
    """Return how many connections a server may hold: `wanted`, where the descriptors suffice.

    The rest is the reserve with which everything else goes on when a server is full: `onward`
    connections to upstreams, the control socket, logs. Where there are too few for that, clients
    and upstreams get half each: a request needs no more than one of both.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    left = limit - _OWN
    return max(1, min(wanted, max(left - onward, left // 2)))
