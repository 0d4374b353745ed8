"""Refresh families against a naive model: a ledger of every answer that was ever given."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from switchgear.identity.refresh import (
    Family,
    RefreshSettings,
    Repeated,
    Reused,
    Rotated,
    decide,
)

SETTINGS = RefreshSettings(idle=1e9, whole=1e9, grace=10.0)


class Families(RuleBasedStateMachine):
    """Racing clients present any token they ever saw; the storage compares and sets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.row = Family("f", 1, 0.0, 1e9)
        self.issued = [(1, 0.0)]  # every answer: which generation, and when
        self.reads: list[tuple[Family, int]] = []
        self.over = False

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.9, 10.0, 10.1]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(age=st.integers(0, 3))
    def read(self, age: int) -> None:
        """Present a token; the decision is taken on the row as it is now."""
        generation = self.row.generation - age
        if generation >= 1:
            self.reads.append((self.row, generation))

    @rule(late=st.booleans())
    def write(self, late: bool) -> None:
        """Decide and write, perhaps after others have written; who loses reads again."""
        if not self.reads:
            return
        seen, generation = self.reads.pop(-1 if late else 0)
        if seen != self.row:
            seen = self.row
        found = decide(seen, generation, self.now, SETTINGS)
        if isinstance(found, Rotated):
            assert not self.over
            assert generation == max(number for number, _ in self.issued)
            self.issued.append((found.family.generation, self.now))
            self.row = found.family
        elif isinstance(found, Repeated):
            assert not self.over
            first = [at for number, at in self.issued if number == found.family.generation]
            assert len(first) == 1, "the same successor, once"
            assert self.now - first[0] <= 10.0
            assert generation == found.family.generation - 1
            self.issued.append((found.family.generation, self.now))
            self.row = found.family
        elif isinstance(found, Reused):
            assert not self.over
            self.over = True
            self.row = found.family
        else:
            assert self.over

    @invariant()
    def every_generation_is_answered_at_most_twice(self) -> None:
        numbers = [number for number, _ in self.issued]
        assert all(numbers.count(number) <= 2 for number in numbers)
        assert set(numbers) == set(range(1, max(numbers) + 1))

    @invariant()
    def a_revoked_family_stays_so(self) -> None:
        assert self.row.revoked == self.over


TestFamilies = Families.TestCase
TestFamilies.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
