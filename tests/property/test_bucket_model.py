"""The token bucket against counted tokens, and its bounded table against an unbounded one."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.gate import Ask, Permit, Refused
from tests.property.instants import brief, instants

RATE, BURST = 2.0, 4.0
keys = st.sampled_from(["", "a", "b", "c", "d", "e", "f", "g"])
weights = st.integers(0, 5)


class Tokens:
    """The plain thing: a number of tokens that grows with time."""

    def __init__(self) -> None:
        self.held, self.since = BURST, 0.0

    def refill(self, now: float) -> float:
        self.held = min(BURST, self.held + (now - self.since) * RATE)
        self.since = now
        return self.held


class BucketAgainstTokens(RuleBasedStateMachine):
    table = 1000

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bucket = TokenBucket("api", BucketSettings(rate=RATE, burst=BURST, keys=self.table))
        self.tokens: dict[str, Tokens] = {}
        self.admitted = self.refused = 0

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(key=keys, weight=weights)
    def ask(self, key: str, weight: int) -> None:
        tokens = self.tokens.setdefault(key, Tokens())
        held = tokens.refill(self.now)
        answer = self.bucket.admit(Ask(key, weight), self.now)
        self.compare(answer, held, weight)
        if isinstance(answer, Permit):
            tokens.held -= weight
            self.admitted += 1
        else:
            self.refused += 1
        figures = self.bucket.statistics()
        assert (figures["admitted"], figures["refused"]) == (self.admitted, self.refused)
        assert figures["out"] == self.admitted, "nothing is settled here"

    def compare(self, answer: Permit | Refused, held: float, weight: int) -> None:
        assert isinstance(answer, Permit) is (weight <= held)
        if isinstance(answer, Refused):
            expected = None if weight > BURST else (weight - held) / RATE
            assert answer.retry_after == expected

    @rule(key=keys)
    def look(self, key: str) -> None:
        held = self.tokens.setdefault(key, Tokens()).refill(self.now)
        assert self.bucket.left(key, self.now) == held


class SmallTableAgainstTokens(BucketAgainstTokens):
    """With too few places, nobody gets a token that was not there; some may wait for longer."""

    table = 2

    def compare(self, answer: Permit | Refused, held: float, weight: int) -> None:
        if isinstance(answer, Permit):
            assert weight <= held
        elif weight <= BURST:
            assert answer.retry_after is not None
            assert answer.retry_after <= BURST / RATE

    @rule(key=keys)
    def look(self, key: str) -> None:
        held = self.tokens.setdefault(key, Tokens()).refill(self.now)
        assert 0 <= self.bucket.left(key, self.now) <= held

    @rule(key=keys)
    def a_burst_later_all_is_forgotten(self, key: str) -> None:
        self.now += BURST / RATE
        assert self.bucket.left(key, self.now) == BURST


TestBucket = BucketAgainstTokens.TestCase
TestBucket.settings = brief
TestSmallTable = SmallTableAgainstTokens.TestCase
TestSmallTable.settings = brief
