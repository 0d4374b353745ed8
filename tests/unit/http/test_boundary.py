"""Boundaries of frames that are passed through: known after any number of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from switchgear.http.boundary import AT_ONCE, Boundary
from switchgear.http.frames import BINARY, PONG, encode, encode_close

FRAMES = st.lists(
    st.tuples(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536]), st.booleans()), max_size=4
)


@given(FRAMES, st.lists(st.integers(1, 70_000), max_size=8))
def test_it_is_known_however_the_bytes_come(sizes: list[tuple[int, bool]], cuts: list[int]) -> None:
    frames = [encode(BINARY, b"x" * size, masked=masked) for size, masked in sizes]
    data = b"".join(frames)
    ends = {0}
    for frame in frames:
        ends.add(max(ends) + len(frame))
    boundary, at = Boundary(), 0
    for cut in [*cuts, len(data)]:
        piece = data[at : at + cut]
        boundary.take(piece)
        at += len(piece)
        assert boundary.here is (at in ends)


@given(FRAMES)
def test_one_byte_at_a_time(sizes: list[tuple[int, bool]]) -> None:
    frames = [encode(BINARY, b"x" * min(size, 200), masked=masked) for size, masked in sizes]
    boundary = Boundary()
    for frame in frames:
        for number in range(len(frame)):
            assert boundary.here is (number == 0)
            boundary.take(frame[number : number + 1])
        assert boundary.here


@given(st.booleans(), st.integers(1, 40))
def test_a_close_frame_is_known_when_it_is_whole_and_the_last(masked: bool, cut: int) -> None:
    behind = encode(BINARY, encode_close(1000, "", masked=masked), masked=masked)
    data = behind + encode_close(4000, "so long", masked=masked)
    boundary = Boundary()
    for at in range(0, len(data), cut):
        assert not boundary.closed
        boundary.take(data[at : at + cut])
    assert boundary.closed
    for number in encode(PONG, b"", masked=masked):
        boundary.take(bytes([number]))
        assert not boundary.closed


@given(st.lists(st.integers(1, 3 * AT_ONCE), max_size=4))
def test_so_many_frames_are_looked_at_in_a_turn(cuts: list[int]) -> None:
    data = encode(PONG, b"", masked=False) * (2 * AT_ONCE) + encode_close(1000, "", masked=False)
    boundary, at = Boundary(), 0
    for cut in [*cuts, len(data)]:
        boundary.take(data[at : at + cut])  # the rest of the last one may be there still
        at += cut
    turns = 0
    while boundary.behind:
        assert not boundary.here
        assert not boundary.closed
        boundary.take(b"")
        turns += 1
    assert boundary.closed
    assert turns == 2 or cuts
