"""WebSocket frames: what RFC 6455 section 5 forbids is refused with its close code."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.http.frames import (
    AT_ONCE,
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Closing,
    Frame,
    FrameReader,
    SocketError,
    apply_mask,
    encode,
    encode_close,
)

MASK = b"\x01\x02\x03\x04"


def frame(first: int, data: bytes, *, masked: bool = True) -> bytes:
    head = bytes([first, (0x80 if masked else 0) | len(data)])
    return head + (MASK + apply_mask(data, MASK) if masked else data)


def reader(limit: int = 1000, *, masked: bool = True) -> FrameReader:
    return FrameReader(limit, masked=masked)


def read_all(frames: FrameReader, wire: bytes) -> list[Frame | Closing]:
    got = frames.feed(wire)
    while frames.more:
        got += frames.feed(b"")
    return got


BROKEN = [
    ("a reserved bit", frame(0xC1, b"a"), 1002),
    ("a reserved opcode", frame(0x83, b"a"), 1002),
    ("a reserved control opcode", frame(0x8B, b"a"), 1002),
    ("no mask from a client", frame(0x81, b"a", masked=False), 1002),
    ("a fragmented ping", frame(0x09, b"a"), 1002),
    ("a long ping", b"\x89\xfe\x00\x80", 1002),
    ("a continuation of nothing", frame(0x80, b"a"), 1002),
    ("a text inside a text", frame(0x01, b"a") + frame(0x81, b"b"), 1002),
    ("a length that could be shorter", b"\x82\xfe\x00\x05", 1002),
    ("a long length that could be shorter", b"\x82\xff" + (70).to_bytes(8, "big"), 1002),
    ("a negative length", b"\x82\xff\xff" + b"\0" * 7, 1002),
    ("a message over the limit", b"\x82\xfe" + (1001).to_bytes(2, "big"), 1009),
    ("a giant message", b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
    ("fragments over the limit", frame(0x02, b"a" * 100) + frame(0x00, b"a" * 100) * 10, 1009),
    ("endless empty fragments", frame(0x02, b"") + frame(0x00, b"") * 1001, 1009),
    ("a text that is not UTF-8", frame(0x81, b"\xff"), 1007),
    ("a fragment that is not UTF-8", frame(0x01, b"a\xff"), 1007),
    ("a text cut inside a character", frame(0x01, b"\xc3") + frame(0x80, b""), 1007),
    ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
    ("a close code of one byte", frame(0x88, b"\x03"), 1002),
    ("a close code that is reserved", frame(0x88, b"\x03\xed"), 1002),
    ("a close code out of range", frame(0x88, b"\x00\x01"), 1002),
    ("a close reason that is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
]


@pytest.mark.parametrize(("wire", "code"), [pytest.param(w, c, id=n) for n, w, c in BROKEN])
def test_a_broken_frame_ends_the_connection(wire: bytes, code: int) -> None:
    with pytest.raises(SocketError) as caught:
        read_all(reader(), wire)
    assert caught.value.code == code
    one_by_one = reader()
    with pytest.raises(SocketError):
        for value in wire:
            one_by_one.feed(bytes([value]))


@pytest.mark.parametrize(("wire", "code"), [pytest.param(w, c, id=n) for n, w, c in BROKEN])
def test_what_came_before_a_broken_frame_is_returned_first(wire: bytes, code: int) -> None:
    got = reader()
    before = frame(0x81, b"a") + frame(0x89, b"p") + frame(0x01, b"b") + frame(0x80, b"c")
    assert got.feed(before + wire) == [Frame(TEXT, "a"), Frame(PING, b"p"), Frame(TEXT, "bc")]
    assert got.more
    assert not got.closed
    with pytest.raises(SocketError) as caught:
        assert read_all(got, b"") == []
    assert caught.value.code == code
    assert got.closed
    assert not got.more
    assert got.feed(before) == []


def test_a_client_refuses_masked_frames() -> None:
    with pytest.raises(SocketError):
        reader(masked=False).feed(frame(0x81, b"a"))
    assert reader(masked=False).feed(frame(0x81, b"a", masked=False)) == [Frame(TEXT, "a")]


def test_fragments_are_joined_and_control_frames_come_in_between() -> None:
    wire = frame(0x01, b"\xe2\x82") + frame(0x89, b"p") + frame(0x80, b"\xac") + frame(0x82, b"")
    assert reader().feed(wire) == [Frame(PING, b"p"), Frame(TEXT, "\u20ac"), Frame(BINARY, b"")]


def test_what_follows_a_close_is_ignored() -> None:
    got = reader()
    assert got.feed(encode_close(1000, "bye", masked=True) + b"\xff\xff\xff") == [
        Closing(1000, "bye")
    ]
    assert got.feed(b"\xff") == []
    assert reader().feed(encode(CLOSE, b"", masked=True)) == [Closing(1005, "")]


@given(
    st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=70_000)), max_size=4),
    st.booleans(),
    st.lists(st.integers(1, 5000), min_size=1, max_size=5),
)
def test_what_is_written_is_read_whatever_way_it_is_sliced(
    messages: list[str | bytes], masked: bool, sizes: list[int]
) -> None:
    wire = b""
    for message in messages:
        if isinstance(message, str):
            wire += encode(TEXT, message.encode(), masked=masked)
        else:
            wire += encode(BINARY, message, masked=masked)
    got, at, turn = [], 0, 0
    reading = FrameReader(100_000, masked=masked)
    while at < len(wire):
        size = sizes[turn % len(sizes)]
        got += reading.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert [event.data for event in got if isinstance(event, Frame)] == messages


def test_a_flood_of_frames_is_read_in_turns() -> None:
    frames = reader()
    first = frames.feed(frame(0x89, b"") * 1000)
    assert len(first) == AT_ONCE
    assert frames.more
    assert len(first) + len(read_all(frames, b"")) == 1000


def test_a_long_reason_is_cut_at_a_character() -> None:
    wire = encode_close(1000, "\u20ac" * 100, masked=False)
    assert reader(masked=False).feed(wire) == [Closing(1000, "\u20ac" * 41)]


def test_a_reserved_code_is_not_sent() -> None:
    with pytest.raises(ValueError, match="1006"):
        encode_close(1006, "", masked=False)


@pytest.mark.parametrize("fragments", [False, True])
def test_tiny_pieces_weigh_little_more_than_their_bytes(fragments: bool) -> None:
    """Rule 26: 16 KiB and four times what was sent."""
    read, sent = reader(1 << 20), 0
    tracemalloc.start()
    try:
        if not fragments:
            read.feed(bytes([0x82, 0xFF]) + (1 << 20).to_bytes(8, "big") + MASK)
        for turn in range(30_000):
            tiny = frame(0x00 if turn else 0x02, b"xy") if fragments else bytes(bytearray(b"xy"))
            sent += len(tiny)
            assert read.feed(tiny) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < (16 << 10) + 4 * sent
