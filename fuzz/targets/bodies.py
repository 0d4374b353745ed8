"""Targets for bodies: what they decode to must not hang on how they were cut."""

from typing import Any, Final, NamedTuple
from unittest.mock import patch

import h11

from fuzz.cuts import pieces, reader
from switchgear.http import bodies
from switchgear.http.bodies import Chunks, Counted, Decoder, Rest, chunk, decoder
from switchgear.http.heads import CHUNKED, UNTIL_CLOSE
from switchgear.policy.fault import Fault

__all__ = ["chunks", "lengths"]

# Limits that a short input reaches; the real ones are tried as well.
_SMALL: Final[dict[str, Any]] = {
    "LINE_BYTES": 24,
    "EXTENSION_BYTES": 40,
    "AT_ONCE": 2,
    "MANY": 4,
    "TINY": 3,
    "TRAILER_BYTES": 48,
    "TRAILER_LINES": 3,
}


class Read(NamedTuple):
    """What a decoder made of bytes."""

    payload: bytes
    rest: bytes
    done: bool
    trailers: list[tuple[str, str]]


def chunks(data: bytes) -> None:
    """Decode chunks: whatever the cuts, and as h11 does."""
    (how, flavour), data = reader(data, 2)
    if flavour & 1 and str(bodies.__file__).endswith(".py"):  # what is compiled has them inside
        with patch.multiple(bodies, **_SMALL):
            _chunks(how, data)
    else:
        _chunks(how, data)


def _chunks(how: int, data: bytes) -> None:
    whole = _decode(Chunks(), [data] if data else [])
    cut = _decode(Chunks(), pieces(how, data))
    if isinstance(whole, str):  # which of two broken rules is named may hang on what came first
        assert isinstance(cut, str), "the cuts made it acceptable"
        return
    assert cut == whole, "the cuts have changed what was read"
    if not whole.done:
        return
    used = data[: len(data) - len(whole.rest)]
    assert data.endswith(whole.rest)
    # The same message with less of it is not complete, and never another one.
    assert _decode(Chunks(), [used]) == whole._replace(rest=b"")
    if len(used) > 1:
        less = _decode(Chunks(), [used[: how % len(used)]])
        assert isinstance(less, Read)
        assert not less.done
        assert whole.payload.startswith(less.payload)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    theirs.receive_data(head + used)
    assert isinstance(theirs.next_event(), h11.Request)
    body = b""
    while not isinstance(event := theirs.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        body += bytes(event.data)
    assert body == whole.payload
    got = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]
    assert got == whole.trailers
    assert theirs.trailing_data == (b"", False)


def lengths(data: bytes) -> None:
    """Count a body, and take one that lasts until the close."""
    (how, length, kind), data = reader(data, 3)
    expected: Read
    if kind & 1:
        made: Decoder = decoder(UNTIL_CLOSE)
        assert isinstance(made, Rest)
        expected = Read(data, b"", False, [])
    else:
        made = decoder(length)
        assert isinstance(made, Counted)
        expected = Read(data[:length], data[length:], len(data) >= length, [])
    got = _decode(made, pieces(how, data))
    assert got == expected
    assert made.close() == (bool(kind & 1) or expected.done)
    framed = b"".join(map(chunk, pieces(how, data))) + b"0\r\n\r\n"
    assert _decode(decoder(CHUNKED), pieces(length, framed)) == Read(data, b"", True, [])


def _decode(decoder: Decoder, given: list[bytes]) -> Read | str:
    payload, rest = b"", b""
    for at, piece in enumerate(given):
        if decoder.done:
            rest += b"".join(given[at:])
            break
        try:
            part, rest = decoder.feed(piece)
            while decoder.more:
                assert not rest
                payload += part
                part, rest = decoder.feed(b"")
        except Fault as fault:
            return str(fault.extra["reason"])
        assert not rest or decoder.done
        payload += part
        held = getattr(decoder, "_held", b"")
        assert len(held) <= max(bodies.LINE_BYTES, bodies.TRAILER_BYTES + 3), "too much is held"
    return Read(payload, rest, decoder.done, getattr(decoder, "trailers", []))
