"""The quantiles against the plain list of all samples, sorted."""

from math import ceil

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from switchgear.policy.quantile import Latencies, LatencySettings
from tests.property.instants import brief, instants

SPAN, SAMPLES, CLOSE = 8.0, 5, 0.026
latencies = st.floats(1e-5, 1e4)


class QuantileAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.latencies = Latencies(LatencySettings(span=SPAN, samples=SAMPLES))
        self.all: list[tuple[int, float]] = []
        self.told: dict[float, float] = {}
        self.told_in = -1
        self.told_from = 0

    def half(self) -> int:
        return int(self.now // (SPAN / 2))

    def remembered(self) -> list[float]:
        return sorted(seconds for half, seconds in self.all if half >= self.half() - 1)

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(seconds=latencies, times=st.integers(1, 20))
    def observe(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.latencies.observe(seconds, self.now)
            self.all.append((self.half(), seconds))

    @rule(seconds=latencies, calls=st.integers(1, 20))
    def observe_a_sample(self, seconds: float, calls: int) -> None:
        self.latencies.observe(seconds, self.now, calls)
        self.all += [(self.half(), seconds)] * calls

    @rule(share=st.sampled_from([0.0, 0.25, 0.5, 0.95, 1.0]))
    def ask(self, share: float) -> None:
        remembered = self.remembered()
        count = len(remembered)
        told = self.latencies.quantile(share, self.now)
        assert self.latencies.seen(self.now) == count
        if count < SAMPLES:
            assert told is None
            return
        fresh = count - self.told_from
        if self.half() != self.told_in or fresh > self.told_from // 16:
            self.told, self.told_in, self.told_from = {}, self.half(), count
        exact = self.told.setdefault(share, remembered[max(1, ceil(share * count)) - 1])
        assert told == pytest.approx(exact, rel=CLOSE)


TestQuantile = QuantileAgainstList.TestCase
TestQuantile.settings = brief
