"""Which account root's roles may drop to: one that can still read the code that they run."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from shutil import which

from switchgear.assembly.failures import StartError
from switchgear.assembly.messages import RunAs
from switchgear.assembly.target import Target

__all__ = ["account_named", "code_of", "unreadable"]


def account_named(name: str) -> RunAs:
    """Return an account of this machine by its name.

    Raises:
        StartError: there is none.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"there is no account {name!r} to run the roles as") from None
    return RunAs(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def code_of(target: Target) -> list[Path]:
    """Return what a role must be able to read: Python, its packages, ours, the application."""
    ours = Path(__file__).resolve().parent
    return [
        Path(sys.executable),
        Path(sys.executable).resolve(),
        Path(os.__file__),
        Path(sys.prefix, "lib"),
        ours / "child.py",
        Path(target.root),
    ]


def unreadable(account: RunAs, paths: Iterable[Path]) -> Path | None:
    """Return the first of the paths that an account cannot read, None if it can read all.

    The kernel is asked as that account: mode bits alone know nothing of access lists, or of a
    closed folder far above. Only root can ask.
    """
    program = which("test", path="/usr/bin:/bin") or "/usr/bin/test"
    for path in paths:
        asked = subprocess.run(
            [program, "-r", str(path)],
            check=False,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=list(account.groups) or [account.gid],
        )
        if asked.returncode != 0:
            return path
    return None
