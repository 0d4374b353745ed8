"""The shedder against all that was ever observed, averaged anew, and against counted calls."""

from collections import Counter
from math import exp

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused
from switchgear.policy.shedder import Shedder, ShedderSettings
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL
from tests.property.instants import brief, instants

SETTINGS = ShedderSettings(
    begin=1.0, full=10.0, queue_begin=2.0, queue_full=20.0, smoothing=4.0, stale=8.0
)


class ShedderAgainstHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.shedder = Shedder("edge", SETTINGS)
        self.seen: dict[str, list[tuple[float, float]]] = {"lag": [], "queue": []}
        self.shed: Counter[int] = Counter()
        self.out: list[Permit] = []
        self.admitted = self.settled = 0
        self.owed = 0.0

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(
        kind=st.sampled_from(["lag", "queue"]), seconds=st.integers(0, 64), times=st.integers(1, 9)
    )
    def observe(self, kind: str, seconds: int, times: int) -> None:
        for _ in range(times):
            self.now += 0.5
            observe = self.shedder.observe_lag if kind == "lag" else self.shedder.observe_queue
            observe(seconds, self.now)
            self.seen[kind].append((self.now, seconds))

    def average(self, kind: str) -> float:
        average, last = 0.0, float("-inf")
        longest = 2 * (SETTINGS.full if kind == "lag" else SETTINGS.queue_full)
        for at, observed in self.seen[kind]:
            seconds = min(observed, longest)
            if at - last > SETTINGS.stale:
                average = 0.0
            weight = min(0.25, 1 - exp(-(at - last) / SETTINGS.smoothing))
            average, last = average + weight * (seconds - average), at
        return average

    def level(self, kind: str, begin: float, full: float) -> float:
        above = 9 * (self.average(kind) - begin) / (full - begin)
        return min(9.0, max(0.0, above))

    @rule(priority=st.integers(0, 10))
    def ask(self, priority: int) -> None:
        for seen in self.seen.values():
            if seen and self.now - seen[-1][0] > SETTINGS.stale and self.asleep() is False:
                seen.clear()
        lag, queue = self.level("lag", 1.0, 10.0), self.level("queue", 2.0, 20.0)
        level = max(lag, queue)
        answer = self.shedder.admit(Ask(priority=priority), self.now)
        sheds = False
        if priority < 9 and priority <= level and level:
            share = min(1.0, level - priority)
            if share < 1.0:
                self.owed += share
            sheds = share == 1.0 or self.owed >= 1.0
            self.owed -= sheds and share < 1.0
        assert isinstance(answer, Refused) is sheds
        if isinstance(answer, Refused):
            assert answer.refusal is Refusal.SHED
            assert ("queue" in answer.detail) is (queue > lag)
            self.shed[priority] += 1
        else:
            self.admitted += 1
            self.out.append(answer)

    def asleep(self) -> bool:
        """Say whether the shedder need not look: then it forgets nothing either."""
        return not self.shedder.statistics()["level"]

    @rule(data=st.data(), verdict=st.sampled_from([GOOD, BAD, NEUTRAL]))
    def settle(self, data: st.DataObject, verdict: object) -> None:
        if self.out:
            permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            assert self.shedder.settle(permit, GOOD, self.now) == ()
            self.settled += 1
            with pytest.raises(RuntimeError, match="settled twice"):
                self.shedder.settle(permit, GOOD, self.now)

    @invariant()
    def figures_agree(self) -> None:
        figures = self.shedder.statistics()
        assert (figures["admitted"], figures["settled"]) == (self.admitted, self.settled)
        assert figures["out"] == len(self.out)
        assert figures["refused"] == self.shed.total()
        assert all(figures[f"shed_{each}"] == self.shed[each] for each in range(9))
        assert figures["lag"] == pytest.approx(self.average("lag"))
        assert figures["queue"] == pytest.approx(self.average("queue"))


TestShedder = ShedderAgainstHistory.TestCase
TestShedder.settings = brief
