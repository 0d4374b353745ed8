"""Both rate limits against naive models and each other; a small table against a large one."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from switchgear.policy.bucket import BucketSettings, Gcra, GcraSettings, TokenBucket
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


class Expected:
    """The plain thing: when the next one is due, as the standard's virtual scheduling puts it."""

    def __init__(self) -> None:
        self.due = 0.0

    def admits(self, now: float, weight: int, interval: float, tolerance: float) -> bool:
        starts = max(now, self.due)
        if starts + (weight - 1) * interval - now > tolerance:
            return False
        self.due = starts + weight * interval
        return True


class GcraAgainstSchedule(RuleBasedStateMachine):
    """And against a token bucket of rate 1 / interval and burst 1 + tolerance / interval."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.expected: dict[str, Expected] = {}
        self.refused = self.admitted = 0

    @initialize(
        interval=st.sampled_from([0.125, 0.5, 2.0]), tolerance=st.sampled_from([0.0, 0.25, 1, 5])
    )
    def begin(self, interval: float, tolerance: float) -> None:
        self.interval, self.tolerance = interval, tolerance
        self.gcra = Gcra("api", GcraSettings(interval=interval, tolerance=tolerance))
        rate, burst = 1 / interval, 1 + tolerance / interval
        self.bucket = TokenBucket("api", BucketSettings(rate=rate, burst=burst))

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(key=keys, weight=st.sampled_from([1, 1, 1, 2, 3, 0]), count=st.integers(1, 4))
    def ask(self, key: str, weight: int, count: int) -> None:
        for _ in range(count):
            answer = self.gcra.admit(Ask(key, weight), self.now)
            twin = self.bucket.admit(Ask(key, weight), self.now)
            schedule = self.expected.setdefault(key, Expected())
            admits = schedule.admits(self.now, weight, self.interval, self.tolerance)
            assert isinstance(answer, Permit) is isinstance(twin, Permit) is admits
            if isinstance(answer, Refused):
                self.refused += 1
                assert isinstance(twin, Refused)
                assert answer.retry_after == twin.retry_after
                if answer.retry_after is None:
                    assert (weight - 1) * self.interval > self.tolerance
                else:
                    again = self.now + answer.retry_after
                    assert again == schedule.due + (weight - 1) * self.interval - self.tolerance
            else:
                self.admitted += 1

    @rule(key=keys)
    def look(self, key: str) -> None:
        due = self.expected.setdefault(key, Expected()).due
        left = 1 + (self.tolerance - max(0.0, due - self.now)) / self.interval
        assert self.gcra.left(key, self.now) == self.bucket.left(key, self.now) == left
        figures = self.gcra.statistics()
        assert (figures["admitted"], figures["refused"]) == (self.admitted, self.refused)
        assert figures == self.bucket.statistics()


TestGcra = GcraAgainstSchedule.TestCase
TestGcra.settings = brief
TestBucket = BucketAgainstTokens.TestCase
TestBucket.settings = brief
TestSmallTable = SmallTableAgainstTokens.TestCase
TestSmallTable.settings = brief
