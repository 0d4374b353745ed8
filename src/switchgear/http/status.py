"""Status lines, written beforehand, and what must stand beside one of them."""

from http import HTTPStatus
from typing import Final

__all__ = ["LINES", "line"]

LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
    if status >= 200
}
# RFC 9110 section 15.5.22: it names what to upgrade to. No handler can: that is the hop's to say.
LINES[426] += b"connection: upgrade\r\nupgrade: websocket\r\n"


def line(status: int) -> bytes:
    """Return the status line of an unusual final status.

    Raises ValueError for what is none: an informational answer is not a handler's to give.
    """
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no final status")
    return b"HTTP/1.1 %d \r\n" % status
