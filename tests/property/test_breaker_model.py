"""The breaker against a model that keeps everything that happened and counts it anew each time."""

from dataclasses import dataclass, field
from itertools import takewhile

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from switchgear.policy.breaker import Breaker, BreakerSettings, State, Transition
from switchgear.policy.gate import ANYONE, Permit, Refused
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from switchgear.policy.window import WindowSettings
from tests.property.instants import brief, instants

SPAN, LEASE, RAMP, SLOW_AFTER = 8, 6.0, 16.0, 2.0
SETTINGS = BreakerSettings(
    failures=0.5,
    calls=6,
    consecutive=4,
    slow=0.75,
    slow_after=SLOW_AFTER,
    window=WindowSettings(span=float(SPAN), buckets=SPAN),
    open_for=4.0,
    open_most=16.0,
    probes=3,
    probe_lease=LEASE,
    ramp=RAMP,
)


@dataclass
class Ended:
    """One call that counted."""

    at: float
    bad: bool
    slow: bool
    begun: float


@dataclass
class Model:
    """What a breaker is, written down as plainly as possible."""

    state: State = State.CLOSED
    forced: bool = False
    since: float = 0.0
    generation: int = 0
    open_for: float = 0.0
    ramp_from: float = float("-inf")
    shares: list[float] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    probe: Permit | None = None
    born: dict[int, int] = field(default_factory=dict)

    def enter(self, state: State, now: float, ramp: bool = False) -> None:
        if state is State.OPEN:
            recovered = self.state is State.CLOSED and now - self.ramp_from >= RAMP
            self.open_for = 4.0 if recovered or not self.open_for else min(16.0, self.open_for * 2)
        if ramp:
            self.ramp_from, self.shares = now, []
        self.state, self.since = state, now
        self.generation += 1
        self.ended, self.probe = [], None

    def admits(self, now: float) -> bool:
        if self.state is State.CLOSED:
            return self.forced or now - self.ramp_from >= RAMP or self.ramp_admits(now)
        if self.forced:
            return False
        if self.state is State.OPEN:
            return now >= self.since + self.open_for
        return self.probe is None or now - self.probe.at >= LEASE

    def ramp_admits(self, now: float) -> bool:
        """Let through as many as the shares of all the calls so far add up to, and the first."""
        before = int(1 + sum(self.shares))
        after = int(1 + sum(self.shares) + (now - self.ramp_from) / RAMP)
        return after > before or (not self.shares)

    def admit(self, permit: Permit, now: float) -> None:
        if self.state is State.OPEN:
            self.enter(State.HALF_OPEN, now)
        if self.state is State.HALF_OPEN:
            self.probe = permit
        self.born[id(permit)] = self.generation

    def end(self, permit: Permit, verdict: Verdict, now: float) -> None:
        if self.born[id(permit)] != self.generation:
            return
        if permit is self.probe:
            self.probe = None
        if verdict is NEUTRAL:
            return
        ended = Ended(now, verdict is BAD, now - permit.at > SLOW_AFTER, permit.at)
        self.ended.append(ended)
        if self.state is State.HALF_OPEN:
            self.judge_probes(now)
        elif (ended.bad or ended.slow) and not self.forced:
            self.judge_calls(now)

    def judge_probes(self, now: float) -> None:
        if self.ended[-1].bad:
            self.enter(State.OPEN, now)
        elif len(self.ended) == 3:
            slow = sum(ended.slow for ended in self.ended)
            if slow / 3 >= 0.75:
                self.enter(State.OPEN, now)
            else:
                self.enter(State.CLOSED, now, ramp=True)

    def judge_calls(self, now: float) -> None:
        recent = [ended for ended in self.ended if ended.at // 1 > now // 1 - SPAN]
        row = self.in_a_row() >= 4
        many = len(recent) >= 6
        failing = many and sum(ended.bad for ended in recent) / len(recent) >= 0.5
        crawling = many and sum(ended.slow for ended in recent) / len(recent) >= 0.75
        if row or failing or crawling:
            self.enter(State.OPEN, now)

    def in_a_row(self) -> int:
        """Count the last failures; of those that one event may have ended, one."""
        last = list(takewhile(lambda ended: ended.bad, reversed(self.ended)))
        counted: list[Ended] = []
        for ended in reversed(last):
            apart = not counted or ended.at - counted[-1].at >= 0.01
            if apart or ended.slow or ended.begun >= counted[-1].at:
                counted.append(ended)
        return len(counted)


class BreakerAgainstHistory(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.seen: list[Transition] = []
        self.model = Model()
        self.breaker = Breaker("mail", SETTINGS, jitter=lambda: 0.5, on_transition=self.seen.append)
        self.admitted = self.settled = 0
        self.by_hand: list[Permit] = []  # kept, because the model knows permits by identity

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(target=permits)
    def admit(self) -> object:
        before = self.model.admits(self.now)
        ramping = self.model.state is State.CLOSED and not self.model.forced
        answer = self.breaker.admit(ANYONE, self.now)
        if ramping and self.now - self.model.ramp_from < RAMP:
            self.model.shares.append((self.now - self.model.ramp_from) / RAMP)
        assert isinstance(answer, Permit) is before, answer
        if isinstance(answer, Refused):
            return multiple()
        self.admitted += 1
        self.model.admit(answer, self.now)
        return answer

    @rule(permit=permits, verdict=st.sampled_from([GOOD, BAD, NEUTRAL]))
    def settle(self, permit: Permit, verdict: Verdict) -> None:
        """Settle any permit at any time; those that are never drawn are lost for ever."""
        if permit.spent:
            before = self.breaker.statistics()
            with pytest.raises(RuntimeError, match="settled twice"):
                self.breaker.settle(permit, verdict, self.now)
            assert self.breaker.statistics() == before
            return
        self.settled += 1
        self.model.end(permit, verdict, self.now)
        assert self.breaker.settle(permit, verdict, self.now) == ()

    @rule(count=st.integers(1, 6), verdict=st.sampled_from([GOOD, BAD, NEUTRAL]), took=instants)
    def calls(self, count: int, verdict: Verdict, took: float) -> None:
        """Run some calls from beginning to end: bundles alone seldom get a breaker anywhere."""
        for _ in range(count):
            permit = self.admit()
            self.now += took / 16
            if isinstance(permit, Permit):
                self.settle(permit, verdict)

    @rule(count=st.integers(1, 6), took=instants)
    def good_calls_by_hand(self, count: int, took: float) -> None:
        """Do as a frame does while everybody is let through: ask nobody, and only count."""
        for _ in range(count):
            breaker, at, generation = self.breaker, self.now, self.breaker.generation
            if not breaker.freely:
                return
            breaker.admitted += 1
            self.admitted += 1
            permit = Permit(at, generation)
            self.by_hand.append(permit)
            self.model.admit(permit, at)
            self.now += took / 16
            self.settled += 1
            self.model.end(permit, GOOD, self.now)
            quick = self.now - at <= breaker.slow_after
            if self.now < breaker.edge and breaker.generation == generation and quick:
                breaker.fresh += 1
            else:
                assert breaker.settle(permit, GOOD, self.now) == ()

    @rule()
    def recover(self) -> None:
        """Wait until it may probe, and go on from there."""
        if self.model.state is State.OPEN and not self.model.forced:
            self.now = max(self.now, self.model.since + self.model.open_for)

    @rule(what=st.sampled_from(["force_open", "force_closed", "reset"]), go=st.integers(0, 9))
    def operate(self, what: str, go: int) -> None:
        if go:
            return  # seldom: an operator's hand hides everything else
        getattr(self.breaker, what)(self.now)
        model = self.model
        model.forced = what != "reset"
        if what == "force_open":
            model.enter(State.OPEN, self.now)
            model.open_for = self.kept
            return
        if what == "reset":
            model.open_for, model.ramp_from = 0.0, float("-inf")
        model.enter(State.CLOSED, self.now)

    @invariant()
    def state_agrees(self) -> None:
        self.kept = self.model.open_for
        figures = self.breaker.statistics()
        assert self.breaker.state is self.model.state
        assert figures["generation"] == self.model.generation
        assert (figures["admitted"], figures["settled"]) == (self.admitted, self.settled)
        if self.model.state is not State.CLOSED:
            assert self.breaker.available(self.now) is self.model.admits(self.now)

    @invariant()
    def nobody_goes_by_hand_who_would_be_refused(self) -> None:
        model = self.model
        if self.breaker.freely:
            assert model.state is State.CLOSED
            assert model.forced or self.now - model.ramp_from >= RAMP

    @invariant()
    def transitions_tell_the_whole_story(self) -> None:
        states = [State.CLOSED] + [transition.new for transition in self.seen]
        assert [transition.old for transition in self.seen] == states[:-1]
        assert states[-1] is self.breaker.state

    @invariant()
    def it_never_sticks(self) -> None:
        """Whatever was lost or left out: after the longest wait, it would let somebody through."""
        if not self.model.forced:
            assert self.breaker.available(self.now + 16.0)


TestBreaker = BreakerAgainstHistory.TestCase
TestBreaker.settings = brief
