"""Hurry against a sorted list, and that it never locks anybody out for longer than its span."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused
from switchgear.policy.hurry import Hurry, HurrySettings
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.property.instants import brief, instants

SETTINGS = HurrySettings(quantile=0.5, samples=3, span=8.0)
HALF = 4.0


class HurryAgainstList(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.hurry = Hurry("db", SETTINGS)
        self.good: list[tuple[int, float]] = []
        self.admitted = self.settled = self.refused = 0
        self.refusing_since: float | None = None

    def usual(self) -> float | None:
        """Return the exact median (with so few samples, each counts at once)."""
        first = self.now // HALF - 1
        known = sorted(seconds for half, seconds in self.good if half >= first)
        return known[(len(known) - 1) // 2] if len(known) >= 3 else None

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(
        target=permits,
        left=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 3.0, 10.0, 60.0]),
        scale=st.sampled_from([0.0, 0.97, 1.03]),
    )
    def ask(self, left: float, scale: float) -> object:
        usual = self.usual()
        if scale and usual:
            left = usual * scale  # just less and just more than needed
        answer = self.hurry.admit(Ask(deadline=self.now + left), self.now)
        told = float(self.hurry.statistics()["usual"])
        assert told == pytest.approx(max(usual, 1e-5) if usual is not None else 0.0, rel=0.026)
        if isinstance(answer, Refused):
            assert usual is not None
            assert self.now + left - self.now < told
            assert answer.refusal is Refusal.HURRIED
            self.refused += 1
            return multiple()
        assert usual is None or self.now + left - self.now >= told
        self.admitted += 1
        return answer

    @rule(permit=consumes(permits), verdict=st.sampled_from([GOOD, GOOD, BAD, NEUTRAL]))
    def settle(self, permit: Permit, verdict: Verdict) -> None:
        assert self.hurry.settle(permit, verdict, self.now) == ()
        self.settled += 1
        if verdict is GOOD:
            self.good.append((int(self.now // HALF), self.now - permit.at))
        with pytest.raises(RuntimeError, match="settled twice"):
            self.hurry.settle(permit, GOOD, self.now)
        figures = self.hurry.statistics()
        assert (figures["admitted"], figures["settled"]) == (self.admitted, self.settled)
        assert (figures["out"], figures["refused"]) == (
            self.admitted - self.settled,
            self.refused,
        )


TestHurry = HurryAgainstList.TestCase
TestHurry.settings = brief


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.125, 1.0, 9.0]), st.sampled_from([0.25, 2.0, 30.0])),
        min_size=3,
        max_size=20,
    )
)
def test_whoever_asks_steadily_is_let_in_within_the_span_whatever_the_past(
    spells: list[tuple[float, float]],
) -> None:
    """Callers with a second each ask eight times a second; how long answers take changes."""
    hurry = Hurry("db", SETTINGS)
    now = learnt = 0.0
    under_way: list[tuple[float, Verdict, Permit]] = []
    for lasts, takes in spells:
        until = now + lasts
        while now < until:
            for ending in [each for each in under_way if each[0] <= now]:
                under_way.remove(ending)
                at, verdict, permit = ending
                hurry.settle(permit, verdict, at)
                learnt = at
            answer = hurry.admit(Ask(deadline=now + 1.0), now)
            if isinstance(answer, Permit):
                under_way.append((now + takes, GOOD if takes < 9 else BAD, answer))
            else:
                assert now - learnt < SETTINGS.span, "refused by what was learnt of late, or not"
            now += 0.125
