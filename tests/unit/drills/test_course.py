"""The proxy's pure machine: what happens to which byte."""

from collections import Counter
from itertools import pairwise

import pytest

from switchgear.drills.course import Act, Course
from switchgear.drills.injection import (
    Cut,
    Delay,
    Drip,
    Garble,
    Hang,
    Injection,
    Insert,
    Pause,
    Refuse,
    Reset,
    Slice,
)


def course(*injections: Injection, seed: int = 7, name: int = 1) -> tuple[Course, Counter[str]]:
    injected: Counter[str] = Counter()
    made = Course("down", seed, name, injected)
    made.adopt(dict(enumerate(injections, 1)))
    return made, injected


def passed(made: Course, data: bytes) -> tuple[bytes, Act]:
    """Send `data` as a pipe would; return what came through, and why it stopped."""
    out = b""
    while len(out) < len(data):
        step = made.step(data[len(out) :])
        if step.act is not Act.PASS:
            return out, step.act
        out += step.data
    return out, made.step(b"").act


def test_without_injections_everything_passes_at_once() -> None:
    made, injected = course()
    assert made.step(b"hello") == (Act.PASS, b"hello", 0.0)
    assert made.release(5.0) == 5.0
    assert not injected


@pytest.mark.parametrize(
    ("injection", "act"),
    [
        (Reset(after_bytes=4), Act.RESET),
        (Cut(after_bytes=4), Act.CUT),
        (Hang(after_bytes=4), Act.HOLD),
    ],
)
def test_an_ending_comes_after_exactly_n_bytes(injection: Injection, act: Act) -> None:
    made, _ = course(injection)
    assert passed(made, b"abcdefgh") == (b"abcd", act)
    made, _ = course(injection)
    assert passed(made, b"abcd") == (b"abcd", act)  # with nothing more to come, too
    made, _ = course(injection)
    assert passed(made, b"abc") == (b"abc", Act.PASS)


def test_an_offset_counts_from_the_injection_when_the_connection_is_older() -> None:
    made, _ = course()
    assert made.step(b"old bytes").act is Act.PASS
    made.adopt({1: Cut(after_bytes=3)})
    assert passed(made, b"abcdef") == (b"abc", Act.CUT)


def test_an_injection_that_goes_on_keeps_its_place() -> None:
    made, _ = course(Cut(after_bytes=5))
    made.step(b"abc")
    made.adopt({1: Cut(after_bytes=5), 2: Slice(size=1)})
    assert passed(made, b"defg") == (b"de", Act.CUT)


def test_a_reset_wins_over_a_cut_and_a_cut_over_a_hang() -> None:
    made, _ = course(Hang(), Cut(), Reset())
    assert made.step(b"").act is Act.RESET
    made.adopt({1: Hang(), 2: Cut()})
    assert made.step(b"").act is Act.CUT


def test_a_hang_counts_once_and_only_when_it_holds_bytes_back() -> None:
    made, injected = course(Hang())
    assert made.step(b"").act is Act.HOLD
    assert injected["hang"] == 0
    for _ in range(3):
        assert made.step(b"x").act is Act.HOLD
    assert injected["hang"] == 1
    made.adopt({})
    assert made.step(b"x").data == b"x"


def test_a_drip_passes_its_size_and_asks_for_its_interval() -> None:
    made, injected = course(Drip(size=2, interval=0.5))
    assert made.step(b"abcde") == (Act.PASS, b"ab", 0.5)
    assert made.step(b"cde") == (Act.PASS, b"cd", 0.5)
    assert made.step(b"e") == (Act.PASS, b"e", 0.5)
    assert injected["drip"] == 3


def test_slices_carry_every_byte_in_order() -> None:
    made, injected = course(Slice(size=3))
    assert passed(made, bytes(range(200))) == (bytes(range(200)), Act.PASS)
    assert injected["slice"] == 67


def test_garble_changes_exactly_its_count_the_first_at_the_offset() -> None:
    data = bytes(1000)
    made, injected = course(Garble(after_bytes=10, count=4, gap=50), Slice(size=7))
    changed, _ = passed(made, data)
    wrong = [at for at, byte in enumerate(changed) if byte]
    assert len(changed) == 1000
    assert len(wrong) == 4
    assert wrong[0] == 10
    assert all(1 <= later - at <= 50 for at, later in pairwise(wrong))
    assert injected["garble"] == 4


def test_the_same_seed_garbles_alike_and_another_connection_differs() -> None:
    garble = Garble(count=8)
    first, _ = passed(course(garble)[0], bytes(999))
    again, _ = passed(course(garble)[0], bytes(999))
    other, _ = passed(course(garble, name=2)[0], bytes(999))
    assert first == again
    assert first != other


def test_a_delay_never_reorders_whatever_its_jitter() -> None:
    made, injected = course(Delay(seconds=1.0, jitter=5.0))
    instants = [made.release(now / 10) for now in range(100)]
    assert instants == sorted(instants)
    assert all(at >= now / 10 + 1.0 for now, at in enumerate(instants))
    assert injected["delay"] == 100


def test_only_its_direction_is_hit() -> None:
    made, _ = course(Cut(direction="up"))
    assert made.step(b"x").act is Act.PASS


def test_a_share_hits_that_share_of_the_connections_and_both_directions_alike() -> None:
    injections: dict[int, Injection] = {1: Cut(share=0.3)}
    hits = 0
    for name in range(1000):
        acts = set()
        for direction in ("up", "down"):
            made = Course(direction, 7, name, Counter())
            made.adopt(injections)
            acts.add(made.step(b"").act)
        assert len(acts) == 1
        hits += acts == {Act.CUT}
    assert 230 < hits < 370


def test_a_refusal_does_not_touch_a_live_connection() -> None:
    made, _ = course(Refuse(how="reset"))
    assert made.step(b"x").data == b"x"


@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_a_byte_is_put_in_beside_the_one_before_it(at: int) -> None:
    made, injected = course(Insert(after_bytes=at))
    step = made.step(b"abcdef")
    assert len(step.data) == 7
    assert step.data[:at] + step.data[at + 1 :] == b"abcdef"
    assert made.passed == 6
    assert made.step(b"gh").data == b"gh"
    assert injected == {"insert": 1}


def test_a_pause_makes_two_segments_of_one() -> None:
    made, injected = course(Pause(after_bytes=4, seconds=0.5), Pause(after_bytes=2, seconds=0.1))
    assert made.step(b"abcdef") == (Act.PASS, b"ab", 0.1)
    assert made.step(b"cdef") == (Act.PASS, b"cd", 0.5)
    assert made.step(b"ef") == (Act.PASS, b"ef", 0.0)
    assert injected == {"pause": 2}


def test_a_pause_stands_where_it_was_told_to_though_the_pieces_are_small() -> None:
    made, _ = course(Slice(size=3), Pause(after_bytes=4, seconds=0.5))
    assert made.step(b"abcdef") == (Act.PASS, b"abc", 0.0)
    assert made.step(b"def") == (Act.PASS, b"d", 0.5)


def test_the_first_connections_alone_are_hit() -> None:
    for name in range(1, 6):
        made, _ = course(Cut(first=2), name=name)
        assert made.step(b"").act is (Act.CUT if name <= 2 else Act.PASS)
