"""A strict reader of HTTP/1.1 responses for the load client, apart from the server it judges.

It shares no line with `switchgear.http`: a mistake made there would be made here too. Pure, no I/O.
Source: RFC 9112.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

__all__ = ["CutShort", "Malformed", "Reply", "ReplyReader"]

_HEAD_BYTES: Final = 64 * 1024
_BODY_BYTES: Final = 64 * 1024 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
    rb"[\x21-\x7e\x80-\xff])?)?[ \t]*"
)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e]*)?")


class Malformed(Exception):  # noqa: N818 - what was met, not a defect of ours
    """The response broke a rule of HTTP; the message says which."""


class CutShort(Exception):  # noqa: N818 - what was met, not a defect of ours
    """The connection ended before the response did."""


class Reply(NamedTuple):
    """A whole response. Header names are in lower case; the last of equals stays."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    keep: bool  # whether the connection may carry another request


class _At(Enum):
    HEAD = "head"
    LENGTH = "length"
    SIZE = "size"
    CHUNK = "chunk"
    TRAILER = "trailer"
    CLOSE = "close"


class ReplyReader:
    """Read one response after another: `expect` a reply, then `feed` until it returns one."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._expecting = False
        self._bare = False
        self._begin()

    def expect(self, method: str) -> None:
        """Await the reply to a request of `method` (one to HEAD has no body)."""
        self._expecting = True
        self._bare = method == "HEAD"

    def feed(self, data: bytes) -> Reply | None:
        """Take in bytes; return the reply once it is whole.

        Raises Malformed, also for bytes that nobody asked for.
        """
        self._buffer += data
        if not self._expecting:
            raise Malformed(f"{len(self._buffer)} bytes that nobody asked for")
        while self._advance():
            pass
        if self._expecting:
            return None
        if self._buffer:
            raise Malformed(f"{len(self._buffer)} bytes after the response")
        return self._finished

    def end(self) -> Reply | None:
        """Take in the end of the connection; return the reply that it completes, if one is due.

        Raises CutShort in the middle of a reply, or before it.
        """
        if not self._expecting:
            return None
        if self._at is not _At.CLOSE:
            what = "in the middle of the response" if self._begun else "before the response"
            raise CutShort(f"the connection ended {what}")
        self._finish()
        return self._finished

    @property
    def _begun(self) -> bool:
        return bool(self._buffer) or self._at is not _At.HEAD

    def _begin(self) -> None:
        self._at = _At.HEAD
        self._left = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._keep = True

    def _finish(self) -> bool:
        self._finished = Reply(self._status, self._headers, bytes(self._body), self._keep)
        self._expecting = False
        self._begin()
        return False

    def _advance(self) -> bool:
        """Make one move; say whether another may be possible."""
        if self._at is _At.HEAD:
            return self._head()
        if self._at is _At.CLOSE:
            self._take(len(self._buffer))
            return False
        if self._at is _At.LENGTH:
            self._left -= self._take(min(self._left, len(self._buffer)))
            return False if self._left else self._finish()
        if self._at is _At.CHUNK:
            return self._chunk()
        return self._size() if self._at is _At.SIZE else self._trailer()

    def _take(self, size: int) -> int:
        self._body += self._buffer[:size]
        del self._buffer[:size]
        if len(self._body) > _BODY_BYTES:
            raise Malformed(f"a body of more than {_BODY_BYTES} bytes")
        return size

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise Malformed("a line without end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise Malformed(f"a head of more than {_HEAD_BYTES} bytes")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise Malformed(f"a status line {lines[0][:80]!r}")
        self._status = int(status[2])
        if self._status == 101:
            raise Malformed("a protocol switch that nobody asked for")
        framing = self._fields(lines[1:])
        self._keep = status[1] == b"1" and "close" not in self._headers.get("connection", "")
        if self._status < 200:
            self._begin()
            return True
        return self._frame(framing)

    def _fields(self, lines: list[bytes]) -> list[tuple[str, str]]:
        """Keep the header fields; return those that frame the body, duplicates and all."""
        framing = []
        for line in lines:
            field = _FIELD.fullmatch(line)
            if field is None:
                raise Malformed(f"a header line {line[:80]!r}")
            name, value = field[1].decode().lower(), (field[2] or b"").decode("latin-1")
            self._headers[name] = value
            if name in {"content-length", "transfer-encoding"}:
                framing.append((name, value))
        return framing

    def _frame(self, framing: list[tuple[str, str]]) -> bool:
        if len(framing) > 1:
            raise Malformed(f"a body framed more than once: {framing}")
        name, value = framing[0] if framing else ("", "")
        if name == "transfer-encoding" and value.lower() != "chunked":
            raise Malformed(f"an unknown transfer coding {value!r}")
        if name == "content-length" and not re.fullmatch("[0-9]{1,15}", value):
            raise Malformed(f"a content length {value!r}")
        if self._bare or self._status in {204, 304}:
            return self._finish()
        if not framing:
            self._at, self._keep = _At.CLOSE, False
        elif name == "transfer-encoding":
            self._at = _At.SIZE
        else:
            self._at, self._left = _At.LENGTH, int(value)
        return True

    def _size(self) -> bool:
        if (line := self._line()) is None:
            return False
        size = _SIZE.fullmatch(line)
        if size is None:
            raise Malformed(f"a chunk size {line[:80]!r}")
        self._left = int(size[1], 16)
        self._at = _At.CHUNK if self._left else _At.TRAILER
        return True

    def _chunk(self) -> bool:
        self._left -= self._take(min(self._left, len(self._buffer)))
        if self._left or len(self._buffer) < 2:
            return False
        if self._line() != b"":
            raise Malformed("a chunk that is longer than its size")
        self._at = _At.SIZE
        return True

    def _trailer(self) -> bool:
        if (line := self._line()) is None:
            return False
        if not line:
            return self._finish()
        if _FIELD.fullmatch(line) is None:
            raise Malformed(f"a trailer line {line[:80]!r}")
        return True
