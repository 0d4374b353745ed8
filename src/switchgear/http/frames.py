"""WebSocket frames: read and written without I/O. Source: RFC 6455 section 5.

A peer that breaks a rule ends the connection with the close code of its mistake. No extension
is offered, so that any reserved bit is one.
"""

import codecs
import os
from typing import Final, NamedTuple

from switchgear.http.body import gather

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Closing",
    "Frame",
    "FrameReader",
    "SocketError",
    "encode",
    "encode_close",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
AT_ONCE: Final = 256  # frames read before others get a turn
_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})

_WIRE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class SocketError(Exception):
    """The peer broke a rule; `code` is the close code that says so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Frame(NamedTuple):
    """A whole message, a ping or a pong."""

    opcode: int
    data: bytes | str


class Closing(NamedTuple):
    """The peer's close, 1005 where it gave no code."""

    code: int
    reason: str


class FrameReader:
    """Puts frames together to messages of at most `limit` bytes.

    `masked` says what the peer must do: clients mask, servers do not.
    """

    __slots__ = ("_broken", "_buffer", "_decoder", "_limit", "_masked", "_need", "_opcode",
                 "_parts", "_pieces", "_pieces_size", "_size", "closed", "more")  # fmt: skip

    def __init__(self, limit: int, *, masked: bool) -> None:
        self._limit = limit
        self._masked = masked
        self._buffer = b""
        self._need = 0  # bytes that the frame in progress has in all, as far as is known
        self._pieces: list[bytes] = []  # what came for it and was not looked at yet
        self._pieces_size = 0
        self._opcode = 0  # of the fragmented message in progress
        self._parts: list[bytes] = []
        self._size = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._broken: SocketError | None = None  # waits until what came before it was taken
        self.closed = False
        self.more = False  # whether to feed nothing, to get what is left

    def feed(self, data: bytes) -> list[Frame | Closing]:
        """Take bytes; return what is complete, a bounded number. A close is the last.

        Raises SocketError at the first rule that is broken, once all before it was returned.
        """
        if self._broken is not None:
            raise self._end(self._broken)
        if self._need > len(self._buffer) + self._pieces_size + len(data):
            gather(self._pieces, data)
            self._pieces_size += len(data)
            return []
        buffer = b"".join((self._buffer, *self._pieces, data))
        self._pieces, self._pieces_size, self._need = [], 0, 0
        events: list[Frame | Closing] = []
        at = turns = 0
        try:
            while not self.closed and turns < AT_ONCE:
                end = self._one(buffer, at, events)
                if end < 0:
                    break
                at = end
                turns += 1
        except SocketError as error:
            if not events:
                raise self._end(error) from None
            self._broken, self._buffer, self.more = error, b"", True
            return events
        self.more = turns == AT_ONCE and not self.closed
        self._buffer = b"" if self.closed else buffer[at:]
        return events

    def _end(self, error: SocketError) -> SocketError:
        """Read no more: nobody knows where the next frame begins."""
        self._broken, self._buffer, self.more, self.closed = None, b"", False, True
        return error

    def _one(self, buffer: bytes, at: int, events: list[Frame | Closing]) -> int:
        """Read one frame that begins there; return its end, or -1 if it is not complete."""
        if len(buffer) - at < 2:
            return -1
        first, second = buffer[at], buffer[at + 1]
        opcode, final, length = first & 0x0F, bool(first & 0x80), second & 0x7F
        if first & 0x70 or opcode not in _KNOWN:
            raise SocketError(1002, "a reserved bit or opcode is set")
        if bool(second & 0x80) is not self._masked:
            raise SocketError(1002, "a frame is masked by the wrong side")
        if opcode >= CLOSE and (length > 125 or not final):
            raise SocketError(1002, "a control frame is long or fragmented")
        head = at + 2
        if length > 125:
            wide = 2 if length == 126 else 8
            if len(buffer) < head + wide:
                return -1
            length = int.from_bytes(buffer[head : head + wide], "big")
            if length < (126 if wide == 2 else 65536) or length >> 63:
                raise SocketError(1002, "a length is not in its shortest form")
            head += wide
        if opcode < CLOSE and self._size + length > self._limit:
            raise SocketError(1009, f"a message is over {self._limit} bytes")
        end = head + length + (4 if self._masked else 0)
        if len(buffer) < end:
            self._need = end - at
            return -1
        if self._masked:
            payload = apply_mask(buffer[head + 4 : end], buffer[head : head + 4])
        else:
            payload = buffer[head:end]
        if opcode >= CLOSE:
            events.append(self._control(opcode, payload))
            self.closed = opcode == CLOSE
        else:
            self._data(opcode, payload, final, events)
        return end

    def _control(self, opcode: int, payload: bytes) -> Frame | Closing:
        if opcode != CLOSE:
            return Frame(opcode, payload)
        if not payload:
            return Closing(1005, "")
        if len(payload) == 1:
            raise SocketError(1002, "a close code has one byte")
        code = int.from_bytes(payload[:2], "big")
        if code not in _WIRE_CODES:
            raise SocketError(1002, f"the close code {code} must not be sent")
        try:
            return Closing(code, payload[2:].decode("utf-8"))
        except UnicodeDecodeError:
            raise SocketError(1007, "a close reason is not UTF-8") from None

    def _data(
        self, opcode: int, payload: bytes, final: bool, events: list[Frame | Closing]
    ) -> None:
        if (opcode == CONTINUATION) is (self._opcode == 0):
            raise SocketError(1002, "a continuation without a beginning, or the other way round")
        if opcode and final:
            events.append(Frame(opcode, _text(payload) if opcode == TEXT else payload))
            return
        if opcode:
            self._opcode = opcode
            if opcode == TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        gather(self._parts, payload)
        self._size += len(payload) or 1  # an endless row of empty fragments must end, too
        if self._decoder is not None:  # fail at the first byte that is wrong, not at the last
            try:
                self._decoder.decode(payload, final)
            except UnicodeDecodeError:
                raise SocketError(1007, "a text is not UTF-8") from None
        if final:
            whole = b"".join(self._parts)
            text = self._opcode == TEXT
            events.append(Frame(self._opcode, whole.decode("utf-8") if text else whole))
            self._opcode, self._size, self._decoder = 0, 0, None
            self._parts = []


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise SocketError(1007, "a text is not UTF-8") from None


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """XOR data with a mask of 4 bytes, at the speed of long integers."""
    size = len(data)
    if not size:
        return b""
    repeated = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return mixed.to_bytes(size, "little")


def encode(opcode: int, data: bytes, *, masked: bool) -> bytes:
    """Write one final frame; `masked` for clients, who need an unpredictable mask each time."""
    size = len(data)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + apply_mask(data, mask)


def encode_close(code: int, reason: str, *, masked: bool) -> bytes:
    """Write a close frame; its reason is cut to what fits."""
    if code not in _WIRE_CODES:
        raise ValueError(f"the close code {code} must not be sent")
    cut = reason.encode("utf-8")[:123].decode("utf-8", "ignore").encode("utf-8")
    return encode(CLOSE, code.to_bytes(2, "big") + cut, masked=masked)
