"""The waits of guesses, in figures: they double, end at a bound, and are forgotten."""

from itertools import pairwise

import pytest

from switchgear.accounts.guesses import GuessSettings, Tally

DAY = 86_400.0


class Guesser:
    """Guesses whenever it may."""

    def __init__(self, settings: GuessSettings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.now = 1_800_000_000.0

    def guess(self) -> float:
        """Guess as soon as that is allowed, and return the wait for it."""
        wait = self.tally.left(self.now, self.settings)
        self.now += wait
        assert self.tally.left(self.now, self.settings) < 1e-6
        self.tally = self.tally.after(self.now, self.settings)
        return wait


def test_the_first_guesses_are_free_and_each_further_one_waits_twice_as_long() -> None:
    guesser = Guesser(GuessSettings())
    waits = [guesser.guess() for _ in range(40)]
    assert waits[:10] == [0.0] * 10
    assert waits[10:19] == pytest.approx([2.0**n for n in range(9)], rel=0.5)
    assert all(before < after for before, after in pairwise(waits[9:20]))
    assert waits[-4:] == pytest.approx([900.0] * 4, rel=0.001)


def test_a_guesser_of_infinite_patience_has_a_hundred_a_day() -> None:
    """NIST SP 800-63B section 5.2.2 allows no more than a hundred in a row at all."""
    guesser = Guesser(GuessSettings())
    end, count = guesser.now + DAY, 0
    while guesser.now < end:
        guesser.guess()
        count += 1
    assert 100 <= count <= 120
    end, count = guesser.now + DAY, 0
    while guesser.now < end:
        guesser.guess()
        count += 1
    assert 95 <= count <= 97


def test_whatever_was_tried_before_no_wait_is_longer_than_the_longest() -> None:
    settings = GuessSettings()
    tally = Tally()
    for now in range(10_000):
        tally = tally.after(float(now), settings)
    assert tally.left(9999.0, settings) == pytest.approx(900.0)
    assert tally.left(9999.0 + 900.0, settings) == 0.0
    written_before = Tally(1e300, 0.0)  # by other settings
    assert written_before.left(0.0, settings) == 900.0


def test_failures_are_forgotten_one_by_one() -> None:
    settings = GuessSettings()
    tally = Tally()
    for _ in range(10):
        tally = tally.after(0.0, settings)
    assert tally.after(4500.0, settings).failed == pytest.approx(6.0)
    assert tally.after(DAY, settings).failed == 1.0


def test_a_clock_that_was_wrong_holds_nobody_off() -> None:
    settings = GuessSettings()
    tally = Tally(20.0, at=1e9)
    assert tally.left(1e9 - 100, settings) > 0  # another process's, a bit ahead
    assert tally.left(1e9 - 1000, settings) == 0.0
    assert tally.after(1e9 - 1000, settings).at == 1e9 - 1000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("free", 0),
        ("free", 1_000_001),
        ("first", 0.0),
        ("first", 901.0),
        ("longest", 0.5),
        ("longest", 86_401.0),
        ("longest", float("nan")),
    ],
)
def test_what_would_lock_out_or_let_in_everybody_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        GuessSettings(**{field: value})  # type: ignore[arg-type]  # one field of its own kind
