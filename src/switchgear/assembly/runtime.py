"""The runtime of one boot: a lock, a short private folder for sockets, and a record.

By the record the next boot cleans up after one that was killed.

    DATA/lock       held by flock while a supervisor lives; says its pid
    DATA/run.json   who runs, since when, where its sockets are
    /tmp/switchgear-xxxxxxxx/   the sockets: their paths end at 107 bytes, so it is short
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from switchgear.assembly.failures import StartError, told
from switchgear.assembly.messages import RunAs

__all__ = ["MARK", "Record", "Runtime", "claim", "read_record"]

MARK: Final = "_SWITCHGEAR_BOOT"
"""The environment variable by which the processes of a killed boot are recognised."""

_PREFIX: Final = "switchgear-"
_LONGEST: Final = 60  # bytes of the folder's path, so that a socket's path stays below 104
_BASE: Final = _LONGEST - len(_PREFIX) - 9  # bytes of the path of what it is made in


class Record(msgspec.Struct, frozen=True):
    """What is known of a boot: enough to talk to it, or to clean up after it."""

    boot: str
    pid: int
    folder: str

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return Path(self.folder) / "supervisor.sock"


class Runtime:
    """One boot's claim on a data folder. `previous` is a boot that did not end by itself."""

    def __init__(self, data: Path, lock: int, previous: Record | None) -> None:
        self.data = data
        self.previous = previous
        self.boot = secrets.token_hex(16)
        self._lock = lock
        self._shared: list[RunAs] = []
        self.folder, self._made = self._settle()

    def lost(self) -> bool:
        """Say whether the sockets' folder has gone, or another is in its place."""
        try:
            return not os.path.samestat(self.folder.lstat(), os.fstat(self._made))
        except OSError:
            return True

    def renew(self) -> None:
        """Go on in another folder. Its name is new: whoever knows the old one may be waiting there.

        Raises OSError or StartError where there can be none.
        """
        before = self._made
        self.folder, self._made = self._settle()
        os.close(before)

    def _settle(self) -> tuple[Path, int]:
        """Make a folder, and write down where it is.

        It is held open: else the next folder that anybody makes may be the same to the kernel.
        """
        folder = _short_folder()
        try:
            for account in self._shared:
                os.chown(folder, account.uid, account.gid)
            record = Record(self.boot, os.getpid(), str(folder))
            made = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            _remove(folder)
            raise
        try:
            _write(self.data / "run.json", msgspec.json.encode(record))
        except OSError:
            os.close(made)
            _remove(folder)
            raise
        return folder, made

    def socket(self, label: str) -> Path:
        """Return where a process's control socket is."""
        return self.folder / f"{label}.sock"

    def endpoint(self, label: str) -> str:
        """Return where a process serves its peers."""
        return f"unix:{self.folder / f'{label}.peer'}"

    def share(self, account: RunAs) -> None:
        """Let the account that roles drop to make its sockets here."""
        os.chown(self.folder, account.uid, account.gid)
        self._shared.append(account)

    def end_leftovers(self) -> list[int]:
        """End what a killed boot left running; return the pids."""
        return _end_processes(self.previous.boot) if self.previous is not None else []

    def sweep(self) -> None:
        """Remove a killed boot's sockets, once the auxiliaries recovered what is theirs."""
        if self.previous is not None:
            _remove(Path(self.previous.folder))
            self.previous = None

    def release(self) -> None:
        """Give the data folder back: nothing of this boot is left."""
        _remove(self.folder)
        (self.data / "run.json").unlink(missing_ok=True)
        os.close(self._made)
        os.close(self._lock)


def claim(data: Path) -> Runtime:
    """Make the data folder if need be, and take it for this process.

    Raises:
        StartError: it cannot be used, or another supervisor has it.
    """
    try:
        _make(data)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"cannot use the data folder {data}: {told(error)}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StartError(
            f"switchgear is already running as pid {holder} on the data folder {data}"
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return Runtime(data, lock, read_record(data))
    except OSError as error:
        os.close(lock)
        raise StartError(f"cannot write to the data folder {data}: {told(error)}") from None
    except StartError:
        os.close(lock)
        raise


def read_record(data: Path) -> Record | None:
    """Return the record in a data folder, if there is one and it is whole.

    Raises:
        StartError: it belongs to another account, so nobody can say whether there is one.
    """
    path = data / "run.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except PermissionError as error:
        raise StartError(
            f"cannot read {path}: {told(error)}; ask as the account that runs it"
        ) from None
    except (OSError, msgspec.MsgspecError):
        return None


def _make(data: Path) -> None:
    if not data.is_dir():
        if data.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        data.mkdir(parents=True)
        # Root's embedded database lives inside under another account, which must get through.
        data.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _short_folder() -> Path:
    try:
        base = tempfile.gettempdir()
        if len(os.fsencode(base)) > _BASE or _closed(base):
            base = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    except OSError as error:
        where = f" in {os.path.dirname(error.filename)}" if error.filename else ""
        raise StartError(
            f"cannot make a folder for sockets{where}: {told(error)}; set TMPDIR to a folder that"
            f" can be written, with a path of {_BASE} bytes at the most"
        ) from None


def _closed(base: str) -> bool:
    """Whether root's folder for temporary files is closed to whom its roles drop to, and /tmp not.

    With pam_tmpdir it is /tmp/user/0, which nobody else may enter.
    """
    folder = Path(base).resolve()
    way = [one for one in (folder, *folder.parents) if one.exists()]
    return (
        os.geteuid() == 0
        and not all(one.stat().st_mode & stat.S_IXOTH for one in way)
        and os.access("/tmp", os.W_OK | os.X_OK)  # noqa: S108 - asked, not used
    )


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole: a reader, or a crash, sees the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.chmod(0o600)
    fresh.replace(path)


def _remove(folder: Path) -> None:
    """Remove a runtime folder, if it is one: a damaged record must not remove anything else."""
    try:
        state = folder.lstat()
    except OSError:
        return
    private = stat.S_ISDIR(state.st_mode) and not stat.S_IMODE(state.st_mode) & 0o077
    if folder.name.startswith(_PREFIX) and private:
        shutil.rmtree(folder, ignore_errors=True)


def _end_processes(boot: str) -> list[int]:
    """Kill every process that carries the boot's mark in its environment.

    By mark and not by recorded pid, which may belong to somebody else by now. PDEATHSIG has
    ended the roles already; what can be left is what they had started themselves.
    """
    if sys.platform != "linux":
        return []  # there, a role ends when its line does
    mark = f"{MARK}={boot}".encode()
    ended = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is not ours
            continue
        if marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)
                ended.append(int(entry.name))
    return ended
