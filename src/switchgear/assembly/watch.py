"""Watching an application's files, so that a change starts it anew: by polling, no package."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from switchgear.assembly.roles import Office

__all__ = ["FileWatch", "Stamp", "stamps", "watch"]

Stamp = tuple[int, int]
_KINDS: Final = (".py", ".toml", ".sql", ".json", ".html")
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})
_MOST: Final = 10_000


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return the age and size of each file that matters below a folder, up to a bound."""
    found: dict[str, Stamp] = {}
    for path in _files(str(folder)):
        try:
            state = os.stat(path)
        except FileNotFoundError:  # an editor replaces files by renaming
            continue
        found[path] = (state.st_mtime_ns, state.st_size)
        if len(found) >= _MOST:
            break
    return found


class FileWatch:
    """A companion of the supervisor that gives every seat a fresh process when a file changed.

    Where `anew` says of the paths that this is too little, the system ends, to be started anew.
    """

    def __init__(self, folder: Path, office: Office, anew: Callable[[list[str]], bool]) -> None:
        self._folder = folder
        self._office = office
        self._anew = anew
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(watch(self._folder, self._changed))

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _changed(self, paths: list[str]) -> None:
        if await asyncio.to_thread(self._anew, paths):  # it looks at the app: that takes a while
            self._office.stop("what it stands on has changed")
        else:
            self._office.replace()


async def watch(
    folder: Path, changed: Callable[[list[str]], Awaitable[None]], *, every: float = 0.5
) -> None:
    """Call `changed` with the paths that changed, once they have been still for one round."""
    before = await asyncio.to_thread(stamps, folder)
    pending: set[str] = set()
    while True:
        await asyncio.sleep(every)
        now = await asyncio.to_thread(stamps, folder)
        fresh = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
        before = now
        if pending and not fresh:
            await changed(sorted(pending))
            pending = set()
        pending |= fresh


def _files(folder: str) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if one[0] != "." and one not in _SKIPPED]
        for name in files:
            if name.endswith(_KINDS):
                yield os.path.join(root, name)
