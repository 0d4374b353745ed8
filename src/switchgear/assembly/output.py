"""What a role process prints: read line by line, when the screen belongs to a live table."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

__all__ = ["OutputReader"]

_LONGEST: Final = 8192


class OutputReader:
    """Read a pipe on the loop and hand on each line; a line without end is cut into pieces."""

    def __init__(self, descriptor: int, take: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._take = take
        self._held = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Hand on what is left, and end."""
        while self._descriptor >= 0 and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _LONGEST:
            lines.append(self._held)
            self._held = b""
        for line in lines:
            self._take(line.decode("utf-8", "replace"))
        return True

    def _end(self) -> None:
        if self._descriptor < 0:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._held:
            self._take(self._held.decode("utf-8", "replace"))
            self._held = b""
