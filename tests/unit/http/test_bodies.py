"""Bodies on the wire: whatever way the bytes are sliced, the payload is the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.http.bodies import AT_ONCE, EXTENSION_BYTES, Chunks, Counted, Rest, chunk, decoder
from switchgear.http.heads import CHUNKED, UNTIL_CLOSE
from switchgear.http.refusals import reason_of
from switchgear.policy.fault import Fault


def slices(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(points)]


def run(chunks: Chunks, pieces: list[bytes]) -> tuple[bytes, bytes]:
    payload, rest = b"", b""
    for piece in pieces:
        if chunks.done:
            rest += piece
            continue
        part, left = chunks.feed(piece)
        while chunks.more:
            payload += part
            part, left = chunks.feed(b"")
        payload += part
        rest += left
    return payload, rest


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 999)))
def test_chunks_survive_any_slicing(parts: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(chunk, parts)) + b"0\r\nX-Sum: 1\r\n\r\nnext"
    chunks = Chunks()
    payload, rest = run(chunks, slices(wire, cuts))
    assert payload == b"".join(parts)
    assert rest == b"next"
    assert chunks.done
    assert chunks.trailers == [("x-sum", "1")]


@given(st.binary(max_size=60), st.lists(st.integers(0, 99)))
def test_a_count_survives_any_slicing(data: bytes, cuts: list[int]) -> None:
    counted = Counted(20)
    payload = b""
    for piece in slices(data, cuts):
        if counted.done:
            break
        part, rest = counted.feed(piece)
        payload += part
        assert not rest or counted.done
    assert payload == data[:20]
    assert counted.done is (len(data) >= 20)


REFUSED = [
    ("no size", b"\r\n", "chunk"),
    ("a bare LF after the size", b"1\na\r\n", "chunk"),
    ("a bare CR after the size", b"1\ra\r\n", "chunk"),
    ("a sign", b"+1\r\na\r\n", "chunk"),
    ("a prefix", b"0x1\r\na\r\n", "chunk"),
    ("an underscore", b"1_0\r\n", "chunk"),
    ("a space before the size", b" 1\r\na\r\n", "chunk"),
    ("a space after the size", b"1 \r\na\r\n", "chunk"),
    ("a size beyond all use", b"1" * 17 + b"\r\n", "chunk"),
    ("no CRLF after the data", b"1\r\nab\r\n", "chunk"),
    ("a bare LF after the data", b"1\r\na\n", "chunk"),
    ("a bare CR after the data", b"1\r\na\rb", "chunk"),
    ("a NUL in an extension", b"1;\0\r\na\r\n", "chunk"),
    ("a bare CR in an extension", b"1;a\rb\r\na\r\n", "chunk"),
    ("a long extension", b"1;" + b"x" * 300, "chunk-extension"),
    ("many extensions", (b"1;" + b"x" * 200 + b"\r\na\r\n") * (EXTENSION_BYTES // 200 + 1),
     "chunk-extension"),
    ("a bare LF in trailers", b"0\r\nA: b\n\r\n", "line-break"),
    ("a malformed trailer", b"0\r\nA : b\r\n\r\n", "space-before-colon"),
    ("folded trailers", b"0\r\nA: b\r\n c\r\n\r\n", "folding"),
    ("long trailers", b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n", "trailers-too-large"),
    ("endless trailers", b"0\r\nA: " + b"b" * 9000, "trailers-too-large"),
    ("many trailers", b"0\r\n" + b"A: b\r\n" * 40 + b"\r\n", "too-many-headers"),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "reason"), [pytest.param(w, r, id=n) for n, w, r in REFUSED])
def test_loose_chunks_are_refused(wire: bytes, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        Chunks().feed(wire)
    assert reason_of(caught.value) == reason
    one_by_one = Chunks()
    with pytest.raises(Fault):
        for value in wire:
            one_by_one.feed(bytes([value]))


def test_a_short_extension_is_skipped() -> None:
    assert Chunks().feed(b"3;a=b\r\nabc\r\n0;z\r\n\r\n") == (b"abc", b"")


def test_a_cut_is_not_an_end() -> None:
    assert not Chunks().close()
    counted = Counted(3)
    counted.feed(b"ab")
    assert not counted.close()
    rest = Rest()
    assert rest.feed(b"ab") == (b"ab", b"")
    assert rest.close()


def test_each_length_has_its_decoder() -> None:
    assert isinstance(decoder(CHUNKED), Chunks)
    assert isinstance(decoder(UNTIL_CLOSE), Rest)
    assert decoder(0).done
    with pytest.raises(ValueError, match="-7"):
        decoder(-7)


def test_an_empty_piece_never_becomes_the_last_chunk() -> None:
    assert chunk(b"") == b""


def test_so_many_chunks_are_read_in_a_turn() -> None:
    wire = chunk(b"x") * (2 * AT_ONCE) + b"0\r\n\r\nnext"
    chunks = Chunks(tiny=True)
    assert chunks.feed(wire[:-9]) == (b"x" * AT_ONCE, b"")
    assert chunks.more
    assert chunks.feed(wire[-9:]) == (b"x" * AT_ONCE, b"")  # what had been read already
    assert chunks.more
    assert not chunks.close()
    assert chunks.feed(b"") == (b"", b"next")
    assert (chunks.done, chunks.more) == (True, False)


def test_chunks_that_are_as_many_as_that_leave_nothing() -> None:
    chunks = Chunks()
    assert chunks.feed(chunk(b"x") * AT_ONCE) == (b"x" * AT_ONCE, b"")
    assert not chunks.more
