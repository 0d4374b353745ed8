"""The bulkhead against a plain list of who is inside and a plain list of who waits."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from tests.property.instants import brief, instants

SETTINGS = BulkheadSettings(permits=4, queue=3, patience=0.25, standing=2.0, hurried=0.5)


@dataclass(eq=False)
class Place:
    """One who waits, as the model knows it."""

    ask: Ask
    since: float
    waiting: Waiting

    def patience(self) -> float:
        return SETTINGS.patience * (self.ask.deadline - self.since)


class BulkheadAgainstLists(RuleBasedStateMachine):
    permits = Bundle("permits")
    places = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bulkhead = Bulkhead("db", SETTINGS)
        self.inside: dict[Permit, Ask] = {}
        self.by_hand: list[float] = []  # when each of those came in who asked nobody
        self.line: list[Place] = []
        self.stands_since: float | None = None
        self.admitted = self.settled = self.refused = 0

    def free(self) -> int:
        inside = sum(ask.weight for ask in self.inside.values())
        return SETTINGS.permits - inside - len(self.by_hand)

    def leave(self, place: Place) -> None:
        self.line.remove(place)
        if not self.line:
            self.stands_since = None

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(
        target=permits,
        weight=st.integers(1, 5),
        priority=st.sampled_from([0, 5, 9]),
        remaining=st.sampled_from([-1.0, 0.0, 4.0, 16.0, float("inf")]),
    )
    def ask(self, weight: int, priority: int, remaining: float) -> object:
        ask = Ask("", weight, priority, self.now + remaining)
        first = all(place.ask.priority < priority for place in self.line)
        answer = self.bulkhead.admit(ask, self.now)
        if first and weight <= self.free():
            assert isinstance(answer, Permit)
            self.inside[answer] = ask
            self.admitted += 1
            return answer
        if weight > SETTINGS.permits or len(self.line) == SETTINGS.queue or remaining <= 0:
            assert isinstance(answer, Refused)
            self.refused += 1
            roomy = weight <= SETTINGS.permits and len(self.line) < SETTINGS.queue
            assert answer.refusal is (Refusal.HURRIED if roomy else Refusal.FULL)
            return multiple()
        assert isinstance(answer, Waiting)
        if not self.line:
            self.stands_since = self.now
        self.line.append(Place(ask, self.now, answer))
        assert answer.until == self.now + self.line[-1].patience()
        return multiple()

    @rule(target=permits, permit=consumes(permits), verdict=st.sampled_from([GOOD, BAD, NEUTRAL]))
    def settle(self, permit: Permit, verdict: Verdict) -> object:
        answered = self.bulkhead.settle(permit, verdict, self.now)
        del self.inside[permit]
        self.settled += 1
        expected, granted = [], []
        while self.line:
            head = max(self.line, key=lambda place: place.ask.priority)  # the first of the highest
            age = self.now - head.since
            standing = self.stands_since is not None and self.now - self.stands_since >= 2.0
            tired = len(self.line) > 1 and standing and age > head.patience() / 2
            if self.now >= head.waiting.until or tired:
                assert isinstance(head.waiting.answer, Refused)
            elif head.ask.weight <= self.free():
                assert isinstance(head.waiting.answer, Permit)
                assert head.waiting.answer.at == self.now
                self.inside[head.waiting.answer] = head.ask
                granted.append(head.waiting.answer)
                self.admitted += 1
            else:
                break
            expected.append(head.waiting)
            self.leave(head)
        assert list(answered) == expected
        self.spent = permit
        return multiple(*granted)

    @rule()
    def enter_by_hand(self) -> None:
        """Do as a frame does while nobody waits: take a place, and ask nobody."""
        if not self.bulkhead.queued and self.bulkhead.free:
            self.bulkhead.entered += 1
            self.by_hand.append(self.now)
            self.admitted += 1

    @rule(target=permits, overdue=st.booleans())
    def leave_by_hand(self, overdue: bool) -> object:
        """Give the place back by hand, or by a permit where somebody waits for it."""
        if not self.by_hand:
            return multiple()
        at = self.by_hand.pop(0)
        if not self.bulkhead.queued and not overdue:
            self.bulkhead.most += 1
            self.settled += 1
            return multiple()
        permit = self.bulkhead.named(at, at + 4.0)
        self.inside[permit] = Ask(deadline=at + 4.0)
        assert permit.at == at
        return permit if overdue else self.settle(permit=permit, verdict=GOOD)

    @rule()
    def settle_again(self) -> None:
        if hasattr(self, "spent"):
            with pytest.raises(RuntimeError, match="settled twice"):
                self.bulkhead.settle(self.spent, GOOD, self.now)

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        if self.line:
            place = data.draw(st.sampled_from(self.line))
            self.bulkhead.abandon(place.waiting, self.now)
            assert isinstance(place.waiting.answer, Refused)
            self.leave(place)

    @invariant()
    def figures_agree(self) -> None:
        figures = self.bulkhead.statistics()
        assert figures["free"] == self.free() >= 0
        assert figures["out"] == len(self.inside) + len(self.by_hand)
        assert (figures["admitted"], figures["settled"]) == (self.admitted, self.settled)
        assert figures["refused"] == self.refused
        assert figures["waiting"] == len(self.line) <= SETTINGS.queue
        assert all(place.waiting.answer is None for place in self.line)

    @invariant()
    def zombies_are_counted(self) -> None:
        zombies = sum(
            ask.deadline < self.now or self.now - permit.at > SETTINGS.permit_age
            for permit, ask in self.inside.items()
        )
        assert self.bulkhead.overdue(self.now) == zombies


TestBulkhead = BulkheadAgainstLists.TestCase
TestBulkhead.settings = brief
