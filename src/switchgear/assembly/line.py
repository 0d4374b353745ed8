"""The line: framed messages over the socket pair between supervisor and role.

A frame is four bytes of length, then JSON. Nothing is buffered without end for somebody who does
not read (a stopped process): what tells a state is kept, the latest of its kind, until there is
room again; anything else is dropped.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

__all__ = ["FRAME_BYTES", "Frames", "Line", "frame", "receive_frame"]

FRAME_BYTES: Final = 16 * 1024 * 1024
_HEAD: Final = struct.Struct(">I")
_HELD_BYTES: Final = 256 * 1024
Message = TypeVar("Message")


def frame(payload: bytes) -> bytes:
    """Put a payload into a frame.

    Raises:
        ValueError: it is longer than a frame may be.
    """
    if len(payload) > FRAME_BYTES:
        raise ValueError(f"a message of {len(payload)} bytes, where {FRAME_BYTES} are the most")
    return _HEAD.pack(len(payload)) + payload


class Frames:
    """Cut a byte stream into the payloads of its frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that are complete with this data.

        Raises:
            ValueError: a frame announces more than a frame may hold.
        """
        held = self._held
        held += data
        payloads = []
        start = 0
        while len(held) - start >= _HEAD.size:
            (length,) = _HEAD.unpack_from(held, start)
            if length > FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes, where {FRAME_BYTES} are the most")
            end = start + _HEAD.size + length
            if len(held) < end:
                break
            payloads.append(bytes(held[start + _HEAD.size : end]))
            start = end
        del held[:start]
        return payloads


def receive_frame(sock: socket.socket) -> bytes:
    """Read one frame from a blocking socket.

    Raises:
        EOFError: the other side ended first.
    """
    return _exactly(sock, _HEAD.unpack(_exactly(sock, _HEAD.size))[0])


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError("the line ended")
        data += more
    return data


class Line(asyncio.Protocol, Generic[Message]):
    """One end of the line. `take` gets each message, `on_lost` is called when the line ends."""

    def __init__(
        self,
        kind: Any,
        take: Callable[[Message], None],
        *,
        on_lost: Callable[[], None],
    ) -> None:
        self._decode: msgspec.json.Decoder[Message] = msgspec.json.Decoder(kind)
        self._take = take
        self._on_lost = on_lost
        self._frames = Frames()
        self._kept: dict[type, Any] = {}
        self._transport: asyncio.Transport | None = None
        self._full = self._over = False

    async def open(self, sock: socket.socket) -> None:
        """Take over this end of the pair."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=sock)

    def send(self, message: Any) -> bool:
        """Send a message; False when the line is closed or its reader does not read."""
        if self._transport is None or self._full:
            return False
        self._transport.write(frame(msgspec.json.encode(message)))
        return True

    def put(self, message: Any) -> None:
        """Send a message that tells a state; without room, a later one of its kind replaces it."""
        if not self.send(message):
            self._kept[type(message)] = message

    def finish(self, sock: socket.socket) -> None:
        """Take the last words of a side that has ended, and end the line."""
        try:
            while data := sock.recv(65536):
                self.data_received(data)
        except OSError:  # nothing more, or closed already
            pass
        self.cut()

    def close(self) -> None:
        """End the line once what was sent has gone out."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """End the line now, even if it is only being opened."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HELD_BYTES)
        if self._over:
            self._transport.abort()
        else:
            self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Decode and hand on; whoever sends garbage is cut off."""
        try:
            for payload in self._frames.feed(data):
                self._take(self._decode.decode(payload))
        except (ValueError, msgspec.MsgspecError):
            self.cut()

    def pause_writing(self) -> None:
        """Refuse messages from now on."""
        self._full = True

    def resume_writing(self) -> None:
        """Take messages again, first what was kept."""
        self._full = False
        kept, self._kept = self._kept, {}
        for message in kept.values():
            self.put(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the other side has gone."""
        self._transport = None
        self._on_lost()
