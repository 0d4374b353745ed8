"""Bodies on the wire: counting a Content-Length, decoding chunks. No I/O.

Each decoder takes the bytes as they arrive and gives back the payload among them, and
what stands behind the message once it is `done`. Source: RFC 9112 sections 6 and 7.1.
"""

import re
from typing import Final, Protocol

from switchgear.http.fields import read_fields
from switchgear.http.heads import CHUNKED, UNTIL_CLOSE
from switchgear.http.refusals import refuse

__all__ = ["Chunks", "Counted", "Decoder", "Rest", "chunk", "decoder"]

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*+)?")
_BARE_BREAK: Final = re.compile(rb"(?<!\r)\n")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})

LINE_BYTES: Final = 256  # of one chunk's size line, extensions and all
EXTENSION_BYTES: Final = 4096  # of all extensions of one body
TINY: Final = 16  # bytes that chunks must have on average, once there were MANY
MANY: Final = 8192
AT_ONCE: Final = 256  # chunks that are read before others get a turn
TRAILER_BYTES: Final = 8192
TRAILER_LINES: Final = 32


class Decoder(Protocol):
    """Turns the bytes of a connection into the payload of one message."""

    done: bool
    more: bool  # whether to feed nothing, to get what is left

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes; return the payload in them, and what follows the message once `done`."""
        ...

    def close(self) -> bool:
        """Say whether the message is complete now that the peer has closed."""
        ...


class Counted:
    """A body of a declared length."""

    __slots__ = ("done", "left", "more")

    def __init__(self, length: int) -> None:
        self.left = length
        self.more = False
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes; return the payload in them, and what follows the message once `done`."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data, b""
        self.done = True
        if left == 0:
            self.left = 0
            return data, b""
        payload, rest = data[: self.left], data[self.left :]
        self.left = 0
        return payload, rest

    def close(self) -> bool:
        """Say whether the message is complete now that the peer has closed."""
        return self.done


class Rest:
    """A response body that ends when the connection does."""

    __slots__ = ("done", "more")

    def __init__(self) -> None:
        self.done = False
        self.more = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes: all of them are payload."""
        return data, b""

    def close(self) -> bool:
        """Say that the message is complete: the close is its end."""
        self.done = True
        return True


class Chunks:
    """A chunked body. Size lines, extensions and trailers are bounded; bare LF is refused.

    `tiny`: chunks may be tiny, however many. An upstream that streams words sends such; a client's
    are counted.
    """

    __slots__ = (
        "_at",
        "_count",
        "_extensions",
        "_held",
        "_left",
        "_looked",
        "_tiny",
        "_total",
        "_trailing",
        "done",
        "more",
        "trailers",
    )

    def __init__(self, *, tiny: bool = False) -> None:
        self.done = False
        self.more = False
        self._tiny = tiny
        self.trailers: list[tuple[str, str]] = []
        self._held = b""  # an unfinished size line or unfinished trailers, or what is left
        self._at = 0  # where that begins
        self._left = 0  # bytes of the present chunk, and 2 for its CRLF
        self._looked = 0  # bytes of held trailers in which there is no end
        self._trailing = False
        self._extensions = 0
        self._count = 0
        self._total = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes; return the payload of a bounded number of chunks, and what follows the last.

        Raises Fault for anything but exactly framed chunks.
        """
        at, self._at = self._at, 0
        if self._held:
            data, self._held = self._held + data, b""
        payload: list[bytes] = []
        last = self._count + AT_ONCE
        self.more = False
        while at < len(data):
            if self._left:
                at = self._inside(data, at, payload)
                continue
            if self._trailing:
                return b"".join(payload), self._trail(data[at:])
            if self._count == last:
                self._held, self._at, self.more = data, at, True
                break
            end = data.find(b"\n", at, at + LINE_BYTES)
            if end < 0:
                self._held = data[at:]
                if len(self._held) >= LINE_BYTES:
                    raise refuse("chunk-extension", f"a chunk's line is over {LINE_BYTES} bytes")
                if b"\r" in self._held[:-1]:
                    raise refuse("chunk", f"malformed chunk line {self._held[:40]!r}")
                break
            at = self._begin(data[at:end], end + 1)
        return b"".join(payload) if len(payload) != 1 else payload[0], b""

    def _begin(self, line: bytes, after: int) -> int:
        found = _SIZE.fullmatch(line, 0, len(line) - 1) if line.endswith(b"\r") else None
        if found is None:
            raise refuse("chunk", f"malformed chunk line {line[:40]!r}")
        if found[2]:
            self._extensions += len(found[2])
            if self._extensions > EXTENSION_BYTES:
                raise refuse("chunk-extension", "too many chunk extensions")
        size = int(found[1], 16)
        self._count += 1
        self._total += size
        few = self._tiny or self._count <= MANY
        if not few and self._total < self._count * TINY:  # each costs us far more
            raise refuse("chunk-too-small", f"{self._count} chunks of {self._total} bytes in all")
        if size:
            self._left = size + 2
        else:
            self._trailing = True
        return after

    def _inside(self, data: bytes, at: int, payload: list[bytes]) -> int:
        left = self._left
        if left > 2:
            part = data[at : at + left - 2]
            payload.append(part)
            self._left = left - len(part)
            return at + len(part)
        expected = b"\r\n"[2 - left :]
        part = data[at : at + left]
        if not expected.startswith(part):
            raise refuse("chunk", "a chunk is longer than it said")
        self._left = left - len(part)
        return at + len(part)

    def _trail(self, data: bytes) -> bytes:
        if data.startswith(b"\r\n"):
            self.done = True
            return data[2:]
        looked, self._looked = self._looked, len(data)
        end = data.find(b"\r\n\r\n", max(0, looked - 3))
        if end < 0 and len(data) <= TRAILER_BYTES + 3:  # of the blank line, all but its last byte
            self._held = data
            if _BARE_BREAK.search(data, max(0, looked - 1)):
                raise refuse("line-break", "a trailer line ends without CR")
            return b""
        if end < 0 or end > TRAILER_BYTES:
            raise refuse("trailers-too-large", f"trailers over {TRAILER_BYTES} bytes", status=431)
        self.trailers = read_fields(data[: end + 4], TRAILER_LINES)
        for name, _ in self.trailers:
            if name in _FRAMING:  # RFC 9110 section 6.5.1; some readers merge them into the head
                raise refuse(name, f"{name} stands in the trailers")
        self.done = True
        return data[end + 4 :]

    def close(self) -> bool:
        """Say whether the message is complete now that the peer has closed."""
        return self.done


def decoder(length: int) -> Decoder:
    """Return the decoder for the `length` of an answer's head."""
    if length >= 0:
        return Counted(length)
    if length == CHUNKED:
        return Chunks(tiny=True)
    if length == UNTIL_CLOSE:
        return Rest()
    raise ValueError(f"no body has the length {length}")


def chunk(data: bytes) -> bytes:
    """Frame one non-empty piece as a chunk; an empty one would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
