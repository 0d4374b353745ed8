"""The retry budget against a list of everything that happened."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from switchgear.policy.budget import BudgetSettings, RetryBudget
from switchgear.policy.window import WindowSettings
from tests.property.instants import brief, instants

RATIO, FLOOR, SPAN = 0.25, 0.5, 8


class BudgetAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        window = WindowSettings(span=float(SPAN), buckets=SPAN)
        self.budget = RetryBudget(BudgetSettings(ratio=RATIO, floor=FLOOR, window=window))
        self.now = 0.0
        self.requests: list[float] = []
        self.retries: list[float] = []

    def recent(self, instants: list[float]) -> int:
        return sum(at // 1 > self.now // 1 - SPAN for at in instants)

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(count=st.integers(1, 10))
    def requests_come(self, count: int) -> None:
        for _ in range(count):
            self.budget.deposit(self.now)
            self.requests.append(self.now)

    @rule(count=st.integers(1, 10))
    def requests_come_and_are_counted_by_hand(self, count: int) -> None:
        for _ in range(count):
            if self.now < self.budget.edge:
                self.budget.fresh += 1
            else:
                self.budget.deposit(self.now)
            self.requests.append(self.now)

    @rule(count=st.integers(1, 5))
    def retries_are_wanted(self, count: int) -> None:
        for _ in range(count):
            allowed = RATIO * self.recent(self.requests) + FLOOR * SPAN
            expected = self.recent(self.retries) + 1 <= allowed
            assert self.budget.withdraw(self.now) is expected
            if expected:
                self.retries.append(self.now)


TestBudget = BudgetAgainstList.TestCase
TestBudget.settings = brief
