"""The target for WebSocket frames: both roles, any cuts, and wsproto as the second reader."""

from typing import Any, Final

from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from fuzz.cuts import pieces, reader
from switchgear.http.boundary import Boundary
from switchgear.http.frames import (
    BINARY,
    CLOSE,
    TEXT,
    Closing,
    Frame,
    FrameReader,
    SocketError,
    apply_mask,
    encode,
    encode_close,
)

__all__ = ["frames"]

LIMIT: Final = 200
Events = list[Frame | Closing]


def frames(data: bytes) -> None:
    """Read frames as a server or a client."""
    (how, flavour), data = reader(data, 2)
    masked = bool(flavour & 1)
    limit = LIMIT if flavour & 2 else 1 << 20
    whole, code, used = _read([data], limit, masked=masked)
    cut, again, _ = _read(pieces(how, data), limit, masked=masked)
    assert again == code, f"closed by {again} where it was {code}"
    assert cut == whole, "the cuts show"
    if code is None and not any(isinstance(event, Closing) for event in whole):
        _follow(how, data, used)
    _second_opinion(data, cut, code, rest=data[used:], masked=masked)
    _write(whole, masked=masked)


def _read(given: list[bytes], limit: int, *, masked: bool) -> tuple[Events, int | None, int]:
    """Feed a reader; return its events, the code of its error, and how many bytes are read."""
    found = FrameReader(limit, masked=masked)
    events: Events = []
    fed = 0
    for piece in given:
        fed += len(piece)
        try:
            events += found.feed(piece)
            while found.more:
                events += found.feed(b"")
        except SocketError as error:
            return events, error.code, fed
        held = len(found._buffer) + found._pieces_size
        assert held <= max(limit + 14, 125 + 14), "more is held than a frame can have"
        assert sum(map(len, found._parts)) <= limit
        if found.closed:
            break
    for event in events[:-1]:
        assert not isinstance(event, Closing), "something came after the close"
    for event in events:
        if isinstance(event, Frame):
            assert len(event.data.encode() if isinstance(event.data, str) else event.data) <= limit
    return events, None, fed - len(found._buffer) - found._pieces_size


def _follow(how: int, data: bytes, used: int) -> None:
    """See that frames that are passed through are followed to the same boundaries."""
    boundary = Boundary()
    for piece in pieces(how, data[:used]):
        boundary.take(piece)
        while boundary.behind:
            boundary.take(b"")
    assert boundary.here
    if data[used:]:
        boundary.take(data[used:])
        assert not boundary.here


def _second_opinion(
    data: bytes, ours: Events, code: int | None, *, rest: bytes, masked: bool
) -> None:
    """Read by wsproto: what it takes for whole messages must be ours."""
    theirs: Events = []
    protocol = FrameProtocol(client=not masked, extensions=[])
    protocol.receive_bytes(data)
    parts: list[Any] = []
    failed = False
    try:
        for frame in protocol.received_frames():
            payload: Any = frame.payload  # a tuple, text, or some kind of bytes
            if frame.opcode is Opcode.CLOSE:
                told, reason = payload
                code_told = 1005 if told is CloseReason.NO_STATUS_RCVD else int(told)
                theirs.append(Closing(code_told, reason or ""))
                break
            if frame.opcode in (Opcode.PING, Opcode.PONG):
                theirs.append(Frame(int(frame.opcode), bytes(payload)))
                continue
            parts.append(payload if isinstance(payload, str) else bytes(payload))
            if frame.message_finished:
                text = isinstance(parts[0], str)
                theirs.append(
                    Frame(TEXT, "".join(parts)) if text else Frame(BINARY, b"".join(parts))
                )
                parts = []
    except ParseFailed:
        failed = True
    shared = min(len(ours), len(theirs))
    assert ours[:shared] == theirs[:shared], "the two readers differ"
    # It looks into a frame that is not all there yet; ours waits for its end.
    assert code is not None or not failed or rest, "what wsproto refuses was taken"
    if code is None and not failed:
        assert len(ours) == len(theirs)


def _write(events: Events, *, masked: bool) -> None:
    """Write what was read, and read it again."""
    wire = b"".join(
        encode_close(event.code if event.code != 1005 else 1000, event.reason, masked=masked)
        if isinstance(event, Closing)
        else encode(
            event.opcode,
            event.data.encode() if isinstance(event.data, str) else event.data,
            masked=masked,
        )
        for event in events
    )
    again, code, _ = _read([wire], 1 << 20, masked=masked)
    assert code is None
    assert [_plain(event) for event in again] == [_plain(event) for event in events]
    assert apply_mask(apply_mask(wire, b"\x01\xff\x80\x00"), b"\x01\xff\x80\x00") == wire


def _plain(event: Frame | Closing) -> tuple[int, object]:
    if isinstance(event, Closing):
        return CLOSE, 1000 if event.code == 1005 else event.code
    return event
