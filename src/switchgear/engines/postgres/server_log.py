"""The server's log: what it prints, in a file that no client can make grow without end.

PostgreSQL tells each statement that failed, and clients make statements fail as they please. It
writes to a descriptor of ours, and cannot turn the page: so it is turned under its hands.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from switchgear.engines.postgres.places import open_plain

__all__ = ["ServerLog"]

_BYTES: Final = 16 * 2**20
_LOOK: Final = 1.0  # seconds: at full speed a server writes some MB meanwhile


class ServerLog:
    """A file that is appended to, and one before it (`.1`), each of about `most_bytes`.

    What is printed while the page is turned is lost: a few lines of a flood.
    """

    def __init__(self, path: Path, most_bytes: int = _BYTES, every: float = _LOOK) -> None:
        self._path = path
        self._before = path.with_name(f"{path.name}.1")
        self._most = most_bytes
        self._every = every
        self._watching: asyncio.Task[None] | None = None

    def open(self) -> IO[bytes]:
        """Open it for a server to print to: at its end, whoever else has made it shorter."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = open(open_plain(self._path, flags), "ab")  # noqa: SIM115 - the caller closes it
        log.seek(0, os.SEEK_END)
        return log

    def tail(self, written: int) -> str:
        """Return what was printed since so much was written."""
        with open(open_plain(self._path, os.O_RDONLY), "rb") as file:
            file.seek(written)
            return file.read(64 * 1024).decode("utf-8", "replace")

    def watch(self) -> None:
        """Turn the page whenever it is full, from now on."""
        self.rest()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def rest(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def turn(self) -> None:
        """Set aside what is written, if it is too long, and go on with an empty page."""
        with open(open_plain(self._path, os.O_RDWR), "r+b") as log:
            size = os.fstat(log.fileno()).st_size
            if size <= self._most:
                return
            try:
                log.seek(size - self._most)
                self._keep(log)
            finally:  # on a full disk, too: it has room again then
                log.truncate(0)

    def _keep(self, log: IO[bytes]) -> None:
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        try:
            with open(open_plain(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as kept:
                left = self._most  # and not what is printed meanwhile: a flood may be quicker
                while left and (part := log.read(min(left, 1 << 20))):
                    kept.write(part)
                    left -= len(part)
            new.rename(self._before)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            with suppress(OSError):  # somebody has moved it, or the disk is full: look again
                await asyncio.to_thread(self.turn)
