"""The shape of what apps send: checked where it is sent, so that the traceback shows who did."""

from typing import Any, Final

from switchgear.http.headers import HOP, Headers
from switchgear.http.lifespan import Message

__all__ = ["Head", "piece", "read_headers", "trailers_of"]

# What a recipient acts on before it has read the body (RFC 9110 section 6.5.1).
_NOT_TRAILING: Final = HOP | {
    "age", "authorization", "cache-control", "content-encoding", "content-range", "content-type",
    "date", "expires", "host", "location", "pragma", "retry-after", "set-cookie", "vary",
    "www-authenticate",
}  # fmt: skip


def read_headers(pairs: Any) -> Headers:
    """Read an app's headers.

    Raises TypeError where they are no pairs of bytes, ValueError where they cannot be sent.
    """
    read = []
    for name, value in pairs:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"a header is a pair of bytes, not {name!r}: {value!r}")
        read.append((name.decode("latin-1"), value.decode("latin-1")))
    headers = Headers(read)
    headers.wire()  # is kept: whoever sends them gets the same bytes
    return headers


def piece(message: Message) -> bytes:
    """Return a message's piece of the body."""
    data = message.get("body", b"")
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a piece of a body is bytes, not {type(data).__name__}")


def trailers_of(message: Message) -> list[tuple[str, str]]:
    """Return a message's trailers. Raises ValueError for a field that must not be one."""
    trailers = list(read_headers(message.get("headers", ())))
    for name, _ in trailers:
        if name in _NOT_TRAILING:
            raise ValueError(f"the field {name!r} must not be a trailer")
    return trailers


class Head:
    """The head of an answer, and the account of the body that it announces."""

    __slots__ = ("empty", "headers", "left", "length", "status", "trailing")

    def __init__(self, message: Message, method: str, *, trailing: bool) -> None:
        status = message["status"]
        if not isinstance(status, int):
            raise TypeError(f"a status is a number, not {status!r}")
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not the status of a final answer")
        self.status = int(status)
        self.headers = read_headers(message.get("headers", ()))
        self.trailing = trailing
        self.empty = method == "HEAD" or status in (204, 304)
        announced = self.headers.get("content-length")
        self.length: int | None = None
        if announced is not None:
            if not (announced.isascii() and announced.isdigit()):
                raise ValueError(f"Content-Length {announced[:40]!r} is no number")
            self.length = int(announced)
        self.left = None if self.empty else self.length

    def count(self, size: int, *, more: bool) -> Exception | None:
        """Count a piece of the body; return what is wrong with it."""
        if self.left is None:
            return None
        self.left -= size
        if self.left < 0:
            return RuntimeError(f"the body is longer than the {self.length} bytes announced")
        if self.left and not more:
            return RuntimeError(f"the body is shorter than the {self.length} bytes announced")
        return None
