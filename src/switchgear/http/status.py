"""The lines of a head that are ours, written beforehand: the status, and the length of a body."""

from http import HTTPStatus
from typing import Final

from switchgear.policy.phrases import phrase

__all__ = ["LINES", "line", "sized"]

LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {phrase(status)}\r\n".encode("ascii")
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


_FEW: Final = 4096  # bytes of bodies that are so frequent that their lengths are kept as text
_SIZED: Final[dict[int, bytes]] = {}


def sized(length: int) -> bytes:
    """Return the last line of a head before a body of so many bytes, and the end of that head."""
    known = _SIZED.get(length)
    if known is None:
        known = b"content-length: %d\r\n\r\n" % length
        if length < _FEW:
            _SIZED[length] = known
    return known
