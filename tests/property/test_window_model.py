"""The window against a list of everything that happened."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from switchgear.policy.window import Window, WindowSettings
from tests.property.instants import brief, instants

KINDS = 2
BUCKETS = 4


class WindowAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.window = Window(KINDS, WindowSettings(span=float(BUCKETS), buckets=BUCKETS))
        self.happened: list[tuple[float, int]] = []

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(kind=st.integers(0, KINDS - 1), count=st.integers(0, 3))
    def add(self, kind: int, count: int) -> None:
        self.window.add(kind, self.now, count)
        self.happened += [(self.now, kind)] * count

    @rule(kind=st.integers(0, KINDS - 1), ago=instants)
    def add_late(self, kind: int, ago: float) -> None:
        self.window.add(kind, self.now)  # so that now is the newest instant it has seen
        self.window.add(kind, self.now - ago)
        self.happened += [(self.now, kind)] * 2

    @rule()
    def clear(self) -> None:
        self.window.clear()
        self.happened = []

    @invariant()
    def totals_agree(self) -> None:
        for kind in range(KINDS):
            expected = sum(
                each == kind and at // 1 > self.now // 1 - BUCKETS for at, each in self.happened
            )
            assert self.window.total(kind, self.now) == expected


TestWindow = WindowAgainstList.TestCase
TestWindow.settings = brief
