"""Become the server: run as a script of its own, it drops root and execs what follows.

    python -I -S launch.py UID GID GROUPS PARENT SIGNAL FOLDER PROGRAM [ARGUMENT ...]

A process of its own instead of a function between fork and exec: that is unsafe once a thread
runs, and the kernel forgets the parent-death signal when the uid changes, so it must be
asked for after the drop. Imports nothing of ours.
"""

import os
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop to the account, ask to be told of the parent's death, exec."""
    uid, gid, groups, parent, signal, folder, *command = sys.argv[1:]
    tell_of_death = _prctl()  # libc is loaded while we may still read it
    if os.geteuid() == 0:
        os.setgroups([int(group) for group in groups.split(",")])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.umask(0o077)
    os.chdir(folder)
    tell_of_death(int(signal))
    if os.getppid() != int(parent):
        sys.exit("the supervisor died before the server was started")
    os.execv(command[0], command)  # noqa: S606 - a list of ours, and no shell is the point


def _prctl() -> Callable[[int], object]:
    if sys.platform != "linux":
        return lambda signal: signal  # the next start ends what is left
    import ctypes

    libc = ctypes.CDLL(None)
    return lambda signal: libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)


if __name__ == "__main__":
    main()
