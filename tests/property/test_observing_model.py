"""An observed gate never stops anybody, and behaves as a twin that is asked the same in earnest."""

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from switchgear.policy.adaptive import AdaptiveLimit, AdaptiveSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.gate import Ask, Gate, Permit, Refused, Waiting
from switchgear.policy.observing import Observing
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.property.instants import brief, instants

KINDS = ["breaker", "bulkhead", "bucket", "adaptive"]


def make(kind: str) -> Gate:
    if kind == "breaker":
        settings = BreakerSettings(consecutive=2, open_for=2.0, probes=2, ramp=4.0)
        return Breaker("twin", settings, jitter=lambda: 0.5)
    if kind == "bulkhead":
        return Bulkhead("twin", BulkheadSettings(permits=3, queue=2))
    if kind == "bucket":
        return TokenBucket("twin", BucketSettings(rate=2.0, burst=3.0))
    return AdaptiveLimit("twin", AdaptiveSettings(initial=3, least=2, samples=2))


class ObservedAgainstTwin(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.told: list[Refused] = []
        self.twins: dict[Permit, Permit | None] = {}  # ours to the twin's, if it gave one
        self.would_refuse = self.would_wait = 0

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: str) -> None:
        self.inner, self.twin = make(kind), make(kind)
        self.gate = Observing(self.inner, self.told.append)

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(target=permits, weight=st.integers(1, 2), left=st.sampled_from([0.0, 4.0]))
    def ask(self, weight: int, left: float) -> Permit:
        ask = Ask("", weight, 5, self.now + left)
        got = self.gate.admit(ask, self.now)
        assert type(got) is Permit, "never refused, never kept waiting"
        expected = self.twin.admit(ask, self.now)
        self.twins[got] = expected if isinstance(expected, Permit) else None
        if isinstance(expected, Refused):
            self.would_refuse += 1
            assert self.told[-1] == expected
        elif isinstance(expected, Waiting):
            self.would_wait += 1
            self.twin.abandon(expected, self.now)
        return got

    @rule(permit=consumes(permits), verdict=st.sampled_from([GOOD, GOOD, BAD, BAD, NEUTRAL]))
    def settle(self, permit: Permit, verdict: Verdict) -> None:
        assert self.gate.settle(permit, verdict, self.now) == ()
        twin = self.twins.pop(permit)
        if twin is not None:
            self.twin.settle(twin, verdict, self.now)

    @invariant()
    def figures_agree(self) -> None:
        if not hasattr(self, "gate"):
            return
        figures = self.gate.statistics()
        assert (figures.pop("would_refuse"), figures.pop("would_wait")) == (
            self.would_refuse,
            self.would_wait,
        )
        assert len(self.told) == self.would_refuse
        unheld = sum(twin is None for twin in self.twins.values())
        assert figures.pop("unheld") == unheld
        assert figures == self.twin.statistics()

    def teardown(self) -> None:
        if not hasattr(self, "gate"):
            return
        for permit in self.twins:
            self.gate.settle(permit, NEUTRAL, self.now)
        figures = self.inner.statistics()
        assert figures["admitted"] == figures["settled"], "all that went out came back"
        assert figures["out"] == self.gate.statistics()["unheld"] == 0


TestObserved = ObservedAgainstTwin.TestCase
TestObserved.settings = brief
