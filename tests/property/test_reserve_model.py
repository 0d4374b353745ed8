"""A bulkhead with a reserve against plain lists: who is inside of each part, and who waits."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.reserve import Reserve
from switchgear.policy.verdict import GOOD
from tests.property.instants import brief

PLACES, KEPT, EACH = 4, 8, 2  # before the reserve, in it, and of that for each client
QUEUE, LAST = 6, 4
SETTINGS = BulkheadSettings(PLACES + KEPT, QUEUE, patience=1.0, standing=1e9)
KEYS = st.sampled_from(["a 1", "a 2", "b", "c"])


def whose(key: str) -> str:
    return key[0]


class ReserveAgainstLists(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bulkhead = Bulkhead("db", SETTINGS, reserve=Reserve(KEPT, whose))
        self.before: list[Permit | None] = []  # None: entered by hand
        self.kept: dict[Permit, str] = {}
        self.line: list[Waiting] = []

    def is_due(self, ask: Ask) -> bool:
        return Counter(self.kept.values())[whose(ask.key)] < EACH

    def let_in(self, permit: object, ask: Ask) -> Permit:
        assert isinstance(permit, Permit)
        if len(self.before) < PLACES:
            self.before.append(permit)
        else:
            assert len(self.kept) < KEPT
            self.kept[permit] = whose(ask.key)
        return permit

    @rule(target=permits, key=KEYS, priority=st.sampled_from([0, 5]))
    def ask(self, key: str, priority: int) -> object:
        ask = Ask(key, 1, priority, self.now + 100.0)
        answer = self.bulkhead.admit(ask, self.now)
        if len(self.before) < PLACES and not self.line:
            return self.let_in(answer, ask)
        if self.is_due(ask) and len(self.kept) < KEPT:
            return self.let_in(answer, ask)  # whoever waits has had his part
        if len(self.line) >= (QUEUE if self.is_due(ask) else QUEUE - LAST):
            assert isinstance(answer, Refused)
        else:
            assert isinstance(answer, Waiting)
            self.line.append(answer)
        return multiple()

    @rule(target=permits, permit=consumes(permits))
    def settle(self, permit: Permit) -> object:
        answered = self.bulkhead.settle(permit, GOOD, self.now)
        if self.kept.pop(permit, None) is None:
            self.before.remove(permit)
        expected, granted = [], []
        in_order = sorted(self.line, key=lambda waiting: -waiting.ask.priority)
        room = len(self.before) < PLACES
        served = next((one for one in in_order if room or self.is_due(one.ask)), None)
        if served is not None:
            self.line.remove(served)
            expected.append(served)
            granted.append(self.let_in(served.answer, served.ask))
        assert list(answered) == expected
        return multiple(*granted)

    @rule()
    def enter_by_hand(self) -> None:
        """Do as a frame does: it never leads into the reserve."""
        if self.bulkhead.entered < self.bulkhead.most and not self.bulkhead.queued:
            assert len(self.before) < PLACES
            self.bulkhead.entered += 1
            self.before.append(None)

    @rule(target=permits)
    def leave_by_hand(self) -> object:
        if None not in self.before:
            return multiple()
        self.before.remove(None)
        if not self.bulkhead.queued:
            self.bulkhead.most += 1
            return multiple()
        permit = self.bulkhead.named(self.now, self.now + 100.0)
        self.before.append(permit)
        return self.settle(permit=permit)

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        if self.line:
            waiting = data.draw(st.sampled_from(self.line))
            self.bulkhead.abandon(waiting, self.now)
            self.line.remove(waiting)

    @invariant()
    def figures_agree(self) -> None:
        figures = self.bulkhead.statistics()
        inside = len(self.before) + len(self.kept)
        assert figures["free"] == PLACES + KEPT - inside >= 0
        assert figures["out"] == inside
        assert figures["waiting"] == len(self.line)

    @invariant()
    def nobody_has_more_than_his_part(self) -> None:
        assert all(held <= EACH for held in Counter(self.kept.values()).values())


TestReserve = ReserveAgainstLists.TestCase
TestReserve.settings = brief
