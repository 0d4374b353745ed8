"""The adaptive limit against a model that keeps every call and counts it anew each time.

The model rounds as the limit does: a window may end exactly on a threshold.
"""

from dataclasses import dataclass, field
from math import exp, sqrt

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from switchgear.policy.adaptive import AdaptiveLimit, AdaptiveSettings
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.property.instants import brief, instants

SETTINGS = AdaptiveSettings(
    initial=6, least=2, most=12, tolerance=1.5, smoothing=0.5, window=1.0, samples=3, memory=16.0
)


@dataclass
class Model:
    """What the limit is, written down as plainly as possible."""

    limit: float = 6.0
    since: float | None = None
    ended: list[tuple[bool, float]] = field(default_factory=list)
    uses: list[int] = field(default_factory=lambda: [0])
    longs: list[tuple[float, float]] = field(default_factory=list)
    well: float = 0.0

    def learn(self, good: bool, elapsed: float, now: float) -> None:
        self.ended.append((good, elapsed))
        if len(self.ended) < 3 or (self.since is not None and now < self.since + 1.0):
            return
        quick = [elapsed for good, elapsed in self.ended if good]
        busy = max(self.uses) >= self.limit / 2
        if quick:
            self.average(sum(quick) / len(quick), now, busy)
        if busy:
            self.move()
        self.since, self.ended, self.uses = now, [], [self.uses[-1]]

    def average(self, short: float, now: float, busy: bool) -> None:
        if not self.longs:
            self.longs.append((now, short))
            return
        then, long = self.longs[-1]
        ours = busy and short >= long / 2 and self.limit >= self.well / 2
        share = 1.0 - exp((then - now) / (16.0 if ours else 1.6))
        self.longs.append((now, long + share * (short - long)))

    def move(self) -> None:
        gradient = 0.5
        if self.longs:
            tolerated = 1.5 * self.longs[-1][1]
            bad = [elapsed for good, elapsed in self.ended if not good]
            taken = sum(elapsed for good, elapsed in self.ended if good)
            taken += max(sum(bad), 2 * tolerated * len(bad))
            mean = taken / len(self.ended)
            gradient = 1.0 if mean <= tolerated else max(0.5, tolerated / mean)
        target = gradient * self.limit + sqrt(self.limit)
        self.limit = sorted([2.0, self.limit + 0.5 * (target - self.limit), 12.0])[1]
        if gradient == 1.0:
            self.well = self.limit


class AdaptiveAgainstModel(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.gate = AdaptiveLimit("db", SETTINGS)
        self.model = Model()
        self.inside: dict[Permit, int] = {}
        self.admitted = self.settled = self.refused = 0

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(target=permits, weight=st.sampled_from([1, 1, 1, 2, 5, 14]), count=st.integers(1, 4))
    def ask(self, weight: int, count: int) -> object:
        got = []
        for _ in range(count):
            inside = sum(self.inside.values())
            answer = self.gate.admit(Ask(weight=weight), self.now)
            if inside + weight <= float(self.gate.statistics()["limit"]) or not inside:
                assert isinstance(answer, Permit)
                assert (answer.at, answer.weight) == (self.now, weight)
                self.inside[answer] = weight
                self.model.uses.append(inside + weight)
                self.admitted += 1
                got.append(answer)
            else:
                assert isinstance(answer, Refused)
                assert answer.refusal is Refusal.FULL
                assert f"{inside} in flight of {self.model.limit:.1f}" in answer.detail
                self.refused += 1
        return multiple(*got)

    @rule(
        permit=consumes(permits),
        verdict=st.sampled_from([GOOD, GOOD, GOOD, BAD, NEUTRAL]),
        streamed=st.sampled_from([0.0, 0.0, 0.5]),
    )
    def settle(self, permit: Permit, verdict: Verdict, streamed: float) -> None:
        if streamed:
            permit.answered = max(permit.at, self.now - streamed)
        elapsed = (self.now if permit.answered is None else permit.answered) - permit.at
        assert self.gate.settle(permit, verdict, self.now) == ()
        del self.inside[permit]
        self.settled += 1
        self.model.uses.append(sum(self.inside.values()))
        if verdict is not NEUTRAL:
            self.model.learn(verdict is GOOD, elapsed, self.now)
        with pytest.raises(RuntimeError, match="settled twice"):
            self.gate.settle(permit, verdict, self.now)

    @invariant()
    def figures_agree(self) -> None:
        figures = self.gate.statistics()
        assert figures["limit"] == pytest.approx(self.model.limit)
        assert 2.0 <= float(figures["limit"]) <= 12.0
        assert figures["in_flight"] == sum(self.inside.values())
        assert figures["out"] == len(self.inside)
        assert (figures["admitted"], figures["settled"]) == (self.admitted, self.settled)
        assert figures["refused"] == self.refused
        long = self.model.longs[-1][1] if self.model.longs else 0.0
        assert figures["long"] == pytest.approx(long)


TestAdaptive = AdaptiveAgainstModel.TestCase
TestAdaptive.settings = brief
