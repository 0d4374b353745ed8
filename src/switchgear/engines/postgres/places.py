"""Where the embedded server keeps what: the home of its cluster, and the folder of its socket."""

import errno
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

from switchgear.engines.postgres.account import Account
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Home", "home_of", "no_room", "open_folder", "open_plain", "owner_of", "socket_folder"]

SOCKET: Final = ".s.PGSQL.5432"
# Bytes of a Unix socket's path (sun_path).
LONGEST: Final = 107 if sys.platform == "linux" else 103
POINTER: Final = "postgres.path"
# Bytes that a server needs at a time: a segment of its write-ahead log.
SEGMENT: Final = 16 * 2**20


class Home:
    """The folder of one embedded server, mode 0700, owned by the account that runs it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cluster = path / "cluster"
        self.passwords = path / "passwords.json"
        self.log = path / "log"
        self.lock = path / "lock"

    def __repr__(self) -> str:
        return f"Home({self.path})"


def owner_of(data: Path) -> int | None:
    """Return the uid that owns the cluster of the data folder, where there is one."""
    try:
        return _home_path(data).joinpath("cluster").stat().st_uid
    except OSError:
        return None


def home_of(data: Path, account: Account, elsewhere: Path) -> Home:
    """Make the server's home: in the data folder, or `elsewhere` if the account cannot get there.

    A home elsewhere is named in the data folder's file `postgres.path`, which is what counts from
    then on: the data folder may be moved. Raises OSError as the file system does.
    """
    if not data.is_dir():
        data.mkdir(parents=True)
        if account.drop:
            data.chmod(0o711)  # the account walks through it, and sees nothing else of it
    path = _home_path(data)
    if path.parent == data and account.drop and not account.reaches(data):
        open_folder(elsewhere)
        path = elsewhere / _short(data)
        (data / POINTER).write_text(f"{path}\n", "utf-8")
    path.mkdir(exist_ok=True)
    if os.geteuid() == 0 or account.owns(path):
        account.adopt(path, 0o700)
    if account.drop and not account.reaches(path):
        raise PermissionError(f"the account {account.name!r} cannot enter {path}")
    return Home(path)


def no_room(path: Path) -> str:
    """Say that a server could not go on in a folder for want of room; nothing where it can."""
    try:
        disk = os.statvfs(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    free = disk.f_bavail * disk.f_frsize
    if free < SEGMENT:
        return f"its disk is full: {free // 2**20} MiB are free for {path}"
    if disk.f_files and not disk.f_favail:  # some file systems count none
        return f"its disk is full: no file can be made in {path}"
    return ""


def open_folder(path: Path) -> None:
    """Make a folder that every account may walk through, whatever the umask."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def open_plain(path: Path, flags: int) -> int:
    """Open a file in a server's home, mode 0600, and return its descriptor.

    The home is the account's, who may have put a link in the place of any file there: what root
    opens must not be what that names. Raises OSError for a link of either kind, or what is no file.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # else a FIFO is waited for
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise (_linked(path) if error.errno == errno.ELOOP else error) from None
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise _linked(path)


def _linked(path: Path) -> OSError:
    return OSError(errno.ELOOP, "it must be a plain file, and no link to another", str(path))


def _home_path(data: Path) -> Path:
    try:
        return Path((data / POINTER).read_text("utf-8").strip())
    except OSError:
        return data / "postgres"


def socket_folder(home: Home, account: Account) -> Path:
    """Make the folder of the socket, mode 0700, and remove a dead server's socket from it.

    Its path is short, because a socket's must be, and no user's session owns it: a folder
    under XDG_RUNTIME_DIR would vanish at logout while the server runs.
    """
    short = _short(home.path)
    places = []
    if account.drop:
        places.append(Path("/run/switchgear") / short)
    places.append(Path("/tmp") / f"switchgear-{account.uid}-{short}")  # noqa: S108 - checked below
    for place in places:
        if len(os.fsencode(place / SOCKET)) <= LONGEST and _made(place, account):
            for stale in (SOCKET, f"{SOCKET}.lock"):
                (place / stale).unlink(missing_ok=True)
            return place
    made = Path(tempfile.mkdtemp(prefix="switchgear-"))
    if len(os.fsencode(made / SOCKET)) > LONGEST:
        made.rmdir()
        raise Fault(
            Code.FAILED_PRECONDITION,
            f"no folder short enough for a Unix socket: {made} passes {LONGEST} bytes. Set TMPDIR",
            effect=Effect.NONE,
            origin="postgres",
        )
    account.adopt(made, 0o700)
    return made


def _made(place: Path, account: Account) -> bool:
    """Make a private folder, or recognise it as ours: never a link, never another owner's."""
    try:
        if place.parent.name == "switchgear":
            place.parent.mkdir(mode=0o755, exist_ok=True)
        try:
            place.mkdir(mode=0o700)
            account.adopt(place, 0o700)
        except FileExistsError:
            pass
        state = place.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(state.st_mode) and not stat.S_IMODE(state.st_mode) & 0o077
    return private and state.st_uid == account.uid


def _short(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
