"""Who runs the server: PostgreSQL refuses root, and initdb refuses a uid without an account."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Account", "account_of", "choose_account"]

FALLBACKS = ("postgres", "nobody")


class Account(NamedTuple):
    """The account that runs the server; `drop` says that we are root and must become it."""

    name: str
    uid: int
    gid: int
    drop: bool

    def reaches(self, path: Path) -> bool:
        """Whether the account can enter the folder `path`, each folder above it included."""
        return self._test("-x", path)

    def reads(self, path: Path) -> bool:
        """Whether the account can read the file `path`."""
        return self._test("-r", path)

    def owns(self, path: Path) -> bool:
        return path.stat().st_uid == self.uid

    def adopt(self, path: Path, mode: int) -> None:
        """Give `path` to the account with `mode`."""
        path.chmod(mode)
        if self.drop:
            os.chown(path, self.uid, self.gid)

    def _test(self, flag: str, path: Path) -> bool:
        if not self.drop:
            return os.access(path, os.X_OK if flag == "-x" else os.R_OK)
        # The kernel is asked as that account: mode bits alone know nothing of access lists.
        program = shutil.which("test", path="/usr/bin:/bin") or "/bin/test"
        asked = subprocess.run(
            [program, flag, str(path)],
            check=False,
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=os.getgrouplist(self.name, self.gid),
        )
        return asked.returncode == 0


def account_of(uid: int) -> str | None:
    """Return the name of the account of `uid`, if it has one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def choose_account(configured: str = "", owner: int | None = None) -> Account:
    """Choose the account that runs the server.

    An ordinary user runs it as is. Root drops to the `configured` account, else to the
    `owner` (uid) of a cluster that exists already, else to `postgres`, else to `nobody`; no
    account is ever created. Raises a Fault (failed_precondition) that says what to do where none
    serves.
    """
    uid = os.geteuid()
    if uid != 0:
        name = account_of(uid)
        if name is None:
            raise _none(f"uid {uid} has no account, and initdb refuses to run without one")
        if configured and configured != name:
            raise _none(f"only root can run it as {configured!r}, and this is {name!r}")
        return Account(name, uid, os.getegid(), drop=False)
    if configured:
        return _named(configured)
    if owner:
        name = account_of(owner)
        if name is not None:
            return _named(name)
    for name in FALLBACKS:
        try:
            return _named(name)
        except Fault:
            continue
    raise _none(f"root must not run it, and there is none of the accounts {', '.join(FALLBACKS)}")


def _named(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise _none(f"there is no account {name!r}") from None
    if entry.pw_uid == 0:
        raise _none(f"PostgreSQL refuses to run as {name!r}, which is root")
    return Account(name, entry.pw_uid, entry.pw_gid, drop=True)


def _none(why: str) -> Fault:
    return Fault(
        Code.FAILED_PRECONDITION,
        f"no account to run the embedded PostgreSQL: {why}. Name one in the configuration, start "
        "as an ordinary user, or configure the URL of a server of your own",
        effect=Effect.NONE,
        origin="postgres",
    )
