"""Files that an app has the host send (`http.response.pathsend`): read in threads, in pieces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["PIECE", "send_file"]

PIECE: Final = 256 << 10  # bytes: a thread is asked once for as many

Send = Callable[[bytes, bool], Awaitable[None]]
"""Takes a piece, and whether more is to come."""


async def send_file(path: str, size: int | None, send: Send) -> None:
    """Send a file; where its `size` was announced, at most as many bytes.

    So a file that grows while it is sent, as a log does, is sent as long as it was. The extension
    wants absolute paths; frameworks pass on relative ones, and those are where the app stands.

    Raises OSError where it cannot be read.
    """
    file = await asyncio.to_thread(open, path, "rb")
    try:
        more = True
        while more:
            data = await asyncio.to_thread(file.read, PIECE if size is None else min(PIECE, size))
            if size is not None:
                size -= len(data)
            more = bool(data) and size != 0
            await send(data, more)
    finally:
        file.close()
