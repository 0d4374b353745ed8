"""The cluster on disk: made by initdb once, whole or not at all."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGINT
from typing import Final

from switchgear.engines.postgres import launch
from switchgear.engines.postgres.account import Account
from switchgear.engines.postgres.binaries import Binaries
from switchgear.engines.postgres.places import Home
from switchgear.policy.fault import Code, Effect, Fault

__all__ = [
    "ENVIRONMENT",
    "SUPERUSER",
    "check_free",
    "check_passwords",
    "explained",
    "launched",
    "make_cluster",
    "server_command",
]

SUPERUSER: Final = "postgres"

# Nothing of ours reaches the server: allocator settings and locales are made for Python.
ENVIRONMENT: Final[Mapping[str, str]] = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}

# Why each differs from PostgreSQL's own default.
DEFAULTS: Final[Mapping[str, str]] = {
    "listen_addresses": "",  # a Unix socket only
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",  # a log of what needs an eye
    "jit": "off",  # the wheel has none, and short queries gain nothing
    "shared_buffers": "64MB",
    "autovacuum_naptime": "5s",  # queue tables turn over wholly; an idle round costs nothing
    "max_connections": "100",
    # After a crash: one call instead of one per file, 0.2 s instead of 1 to 3.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}


def check_free(home: Home) -> None:
    """Refuse to make a cluster where there is something else, or what is left of one."""
    if home.cluster.exists() and any(home.cluster.iterdir()):
        raise _spoilt(
            f"{home.cluster} is no cluster of PostgreSQL (it has no file PG_VERSION): restore it "
            "from a backup, or move it away, and a new one is made"
        )


def check_passwords(home: Home) -> None:
    """Refuse a cluster whose passwords are gone: none that is made up now would open it."""
    if not home.passwords.exists():
        raise _spoilt(
            f"the password file {home.passwords} is missing, and the cluster beside it opens to "
            "no others: restore it from a backup"
        )


def _spoilt(why: str) -> Fault:
    return Fault(Code.FAILED_PRECONDITION, why, effect=Effect.NONE, origin="postgres")


def make_cluster(home: Home, binaries: Binaries, account: Account, password: str) -> None:
    """Run initdb, then sync once, then give the folder its name: a crash leaves none, or a whole.

    Raises a Fault that says what stood in the way.
    """
    building = home.path / "cluster.new"
    shutil.rmtree(building, ignore_errors=True)
    secret = home.path / "password.new"
    secret.unlink(missing_ok=True)
    try:
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{password}\n")
            if account.drop:  # by its descriptor: the name is in a folder of that account's
                os.fchown(file.fileno(), account.uid, account.gid)
        command = [str(binaries.initdb), f"--pgdata={building}"]
        major, _ = binaries.version()
        initdb = [*command, *_initdb_flags(major), f"--pwfile={secret}"]
        _run(initdb, account, home, "initdb failed")
        sync = [*command, "--sync-only"]
        if major >= 17 and sys.platform == "linux":
            sync.append("--sync-method=syncfs")
        _run(sync, account, home, "the new cluster could not be synced")
        building.rename(home.cluster)
        folder = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    finally:
        secret.unlink(missing_ok=True)


def _initdb_flags(major: int) -> list[str]:
    flags = [
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-sync",
        "--no-instructions",
    ]
    if major >= 17:
        return [*flags, "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [*flags, "--locale=C"]  # byte order, and no dependence on the system's locales


def server_command(
    home: Home, binaries: Binaries, sockets: Path, options: Mapping[str, str]
) -> list[str]:
    """Return the command line of the server: every setting is on it, none in the cluster."""
    given = {**DEFAULTS, "unix_socket_directories": str(sockets), **options}
    command = [str(binaries.postgres), "-D", str(home.cluster)]
    for name, value in given.items():
        command += ["-c", f"{name}={value}"]
    return command


def launched(command: Sequence[str], account: Account, home: Home) -> list[str]:
    """Wrap a command so that it runs as the account and is told of this process's death."""
    groups = os.getgrouplist(account.name, account.gid)
    return [
        sys.executable,
        "-I",
        "-S",
        launch.__file__,
        str(account.uid),
        str(account.gid),
        ",".join(map(str, groups)),
        str(os.getpid()),
        str(int(SIGINT)),  # a fast and clean shutdown
        str(home.path),
        *command,
    ]


def _run(command: Sequence[str], account: Account, home: Home, what: str) -> None:
    ended = subprocess.run(
        launched(command, account, home),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(ENVIRONMENT),
        text=True,
        errors="replace",
    )
    if ended.returncode:
        raise explained(what, ended.stderr, home)


def explained(what: str, output: str, home: Home) -> Fault:
    """Turn what a failed server program wrote into a Fault in words for the operator."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = " | ".join((_telling(lines) or lines[-3:])[-4:])
    code = Code.FAILED_PRECONDITION
    free = shutil.disk_usage(home.path).free
    # Its log is on that disk, too: where it is full, the line that would say so may be missing.
    if "No space left on device" in output or free < FULL:
        code = Code.RESOURCE_EXHAUSTED
        what = f"{what}: the disk of {home.path} is full ({free // 2**20} MiB free)"
    elif "Permission denied" in output or "Read-only file system" in output:
        what = f"{what}: {home.path} cannot be written"
    elif "not compatible with this version" in output or "incompatible with server" in output:
        what = (
            f"{what}: the cluster in {home.path} was made by another major version of PostgreSQL; "
            "run that version, or dump it there and restore it into a new data folder"
        )
    elif "Cannot allocate memory" in output or "could not create shared memory" in output:
        code = Code.RESOURCE_EXHAUSTED
        what = f"{what}: not enough memory"
    return Fault(code, f"{what}: {said}", effect=Effect.NONE, origin="postgres")


def _telling(lines: Sequence[str]) -> list[str]:
    """Return the errors, each with what the server adds to it.

    What it adds to anything else is not told: "you will have to use the last backup" is a hint to
    each start after one that was interrupted, and no reason why this one failed.
    """
    telling: list[str] = []
    wrong = False
    for line in lines:
        if not any(mark in line for mark in ADDED):
            wrong = any(mark in line for mark in MARKS)
        if wrong:
            telling.append(line)
    return telling


FULL: Final = 2**20  # bytes: of less, no server makes anything
MARKS: Final = ("FATAL:", "PANIC:", "ERROR:", "error:", "could not")
ADDED: Final = ("DETAIL:", "HINT:")
