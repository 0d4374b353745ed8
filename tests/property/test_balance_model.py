"""The balancers against plain lists, while endpoints come, go, fall ill, and carry calls."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from switchgear.policy.balance import Balancer, PeakEwma, PeakEwmaBalancer, Pick
from switchgear.policy.balancers import LeastLoaded, Rendezvous, RendezvousSettings, RoundRobin
from tests.property.instants import brief, instants

NAMES = [f"p{number}" for number in range(6)]
SLOW_START = 10.0


@dataclass(eq=False)
class Process:
    """An endpoint as a gateway might keep it."""

    name: str
    since: float
    in_flight: int = 0
    well: bool = True
    ewma: PeakEwma = field(default_factory=PeakEwma)

    def available(self, now: float) -> bool:
        return self.well


class BalancersAgainstLists(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.endpoints: list[Process] = []
        self.lots: list[float] = []
        self.turns: list[str] = []  # whoever had a turn, in order
        self.saved: dict[str, float] = {}
        self.peak = PeakEwmaBalancer(random=self.lot)
        self.least = LeastLoaded(random=self.lot)
        self.round = RoundRobin()
        self.rendezvous = Rendezvous()
        self.bounded = Rendezvous(RendezvousSettings(bound=1.25))

    def lot(self) -> float:
        return self.lots.pop(0)

    # -- the world

    @rule(passed=instants)
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(name=st.sampled_from(NAMES), age=st.sampled_from([0.0, 2.5, 100.0]))
    def comes(self, name: str, age: float) -> None:
        if name not in {each.name for each in self.endpoints}:
            self.endpoints.append(Process(name, self.now - age))

    @rule(data=st.data())
    def goes(self, data: st.DataObject) -> None:
        if self.endpoints:
            self.endpoints.remove(data.draw(st.sampled_from(self.endpoints)))

    @rule(data=st.data(), well=st.booleans(), in_flight=st.integers(0, 5))
    def changes(self, data: st.DataObject, well: bool, in_flight: int) -> None:
        if self.endpoints:
            each = data.draw(st.sampled_from(self.endpoints))
            each.well, each.in_flight = well, in_flight
            each.ewma.observe(0.125 * (1 + in_flight % 3), self.now)

    # -- what is expected of all

    def usable(self, tried: set[str]) -> tuple[list[Process], bool]:
        well = [each for each in self.endpoints if each.well]
        panic = len(well) * 2 < len(self.endpoints)
        usable = list(self.endpoints) if panic else well
        fresh = [each for each in usable if each.name not in tried]
        return fresh or usable, panic

    def share(self, each: Process) -> float:
        return min(1.0, max(0.1, (self.now - each.since) / SLOW_START))

    def standing(self, usable: list[Process], panic: bool, lots: list[float]) -> list[Process]:
        """Take a lot for each new one, as the balancer should."""
        if panic:
            return usable
        stand = [each for each in usable if self.share(each) == 1 or lots.pop(0) < self.share(each)]
        return stand or usable

    def relieved(self, best: Process, usable: list[Process], standing: list[Process]) -> Process:
        """Whom a new one relieves that has fewer calls in flight, by its share."""
        others = [each for each in usable if each not in standing]
        free = [each for each in others if each.in_flight + 1 < best.in_flight * self.share(each)]
        return free[0] if free else best

    def check(self, pick: Pick[Process] | None, tried: set[str]) -> Process | None:
        usable, panic = self.usable(tried)
        if pick is None:
            assert not usable
            return None
        assert pick.panic is panic
        assert pick.endpoint in usable
        return pick.endpoint

    # -- each of them

    tried = st.sets(st.sampled_from(NAMES), max_size=3)
    draws = st.lists(st.integers(0, 99).map(lambda n: n / 100), min_size=9, max_size=9)

    @rule(tried=tried, draws=draws)
    def the_better_of_two(self, tried: set[str], draws: list[float]) -> None:
        self.lots = list(draws)
        got = self.check(self.peak.pick(self.endpoints, self.now, tried), tried)
        if got is not None:
            lots = list(draws)
            usable, panic = self.usable(tried)
            drawn = self.standing(usable, panic, lots)
            standing = list(drawn)
            first = standing.pop(int(lots.pop(0) * len(standing)))
            pair = [first, standing[int(lots.pop(0) * len(standing))]] if standing else [first]
            costs = [each.ewma.at(self.now) * (each.in_flight + 1) for each in pair]
            unknown = [
                1e6 + each.in_flight if not cost and each.in_flight else cost
                for each, cost in zip(pair, costs, strict=True)
            ]
            assert got is self.relieved(pair[unknown.index(min(unknown))], usable, drawn)
            assert self.lots == lots, "as many lots as are needed"

    @rule(tried=tried, draws=draws)
    def the_least_loaded(self, tried: set[str], draws: list[float]) -> None:
        self.lots = list(draws)
        got = self.check(self.least.pick(self.endpoints, self.now, tried), tried)
        if got is not None:
            lots = list(draws)
            usable, panic = self.usable(tried)
            standing = self.standing(usable, panic, lots)
            fewest = min(each.in_flight for each in standing)
            idle = [each for each in standing if each.in_flight == fewest]
            assert got is self.relieved(idle[int(lots.pop(0) * len(idle))], usable, standing)

    @rule(tried=tried)
    def each_in_turn(self, tried: set[str]) -> None:
        got = self.check(self.round.pick(self.endpoints, self.now, tried), tried)
        if got is None:
            return
        if len(set(self.turns)) > 2 * len(self.endpoints):
            present = {each.name for each in self.endpoints}
            self.turns = [name for name in self.turns if name in present]
            self.saved = {name: saved for name, saved in self.saved.items() if name in present}
        usable, panic = self.usable(tried)
        last = {name: at for at, name in enumerate(self.turns)}
        line = sorted(usable, key=lambda each: last.get(each.name, -1))
        for each in line:
            self.turns.append(each.name)
            if panic:
                assert got is each
                return
            saved = self.saved.get(each.name, 0.0) + self.share(each)
            self.saved[each.name] = saved - 1 if saved >= 1 else saved
            if saved >= 1:
                assert got is each
                return
        self.turns.append(line[0].name)
        assert got is line[0]

    @rule(tried=tried, key=st.text(min_size=1, max_size=3))
    def where_a_key_belongs(self, tried: set[str], key: str) -> None:
        got = self.check(self.rendezvous.pick(self.endpoints, self.now, tried, key), tried)
        if got is None:
            return
        usable, panic = self.usable(tried)
        assert self.alone(usable[::-1], key, panic) is got, "whatever the order"
        for gone in usable:
            if gone is not got:
                rest = [each for each in usable if each is not gone]
                assert self.alone(rest, key, panic) is got, "only the keys of who goes move"
        for each in usable:
            pair = sorted([each, got], key=lambda one: one.name)
            assert each is got or self.alone(pair, key, panic) is got, "it wins every pair"

    def alone(self, endpoints: list[Process], key: str, panic: bool) -> Process:
        """Ask again of some, all of them well; in a panic nobody counts as new."""
        some = [Process(each.name, -1e9 if panic else each.since) for each in endpoints]
        pick = self.rendezvous.pick(some, self.now, (), key)
        assert pick is not None
        return next(each for each in endpoints if each.name == pick.endpoint.name)

    @rule(tried=tried, key=st.text(min_size=1, max_size=3))
    def where_a_key_belongs_and_is_room(self, tried: set[str], key: str) -> None:
        got = self.check(self.bounded.pick(self.endpoints, self.now, tried, key), tried)
        if got is None:
            return
        usable, panic = self.usable(tried)
        total = sum(each.in_flight for each in usable) + 1
        roomy = [each for each in usable if each.in_flight < 1.25 * total / len(usable)]
        assert got in roomy
        assert got is self.alone(roomy, key, panic)

    @invariant()
    def books_are_bounded(self) -> None:
        assert len(self.round._last) <= 2 * len(NAMES) + 1


TestBalancers = BalancersAgainstLists.TestCase
TestBalancers.settings = brief


@pytest.mark.parametrize("share", [0.125, 0.25, 0.5])
def test_while_it_starts_a_new_one_never_gets_more_than_its_share(share: float) -> None:
    old, new = Process("old", -1e9), Process("new", 0.0)
    lots = [number / 64 for number in range(64)]
    got = []
    for lot in lots:
        balancers: list[Balancer] = [
            PeakEwmaBalancer(random=iter([lot, 0.99, 0.0]).__next__),
            LeastLoaded(random=iter([lot, 0.99]).__next__),
        ]
        got += [balancer.pick([old, new], share * SLOW_START) for balancer in balancers]
    picks = sum(pick is not None and pick.endpoint is new for pick in got)
    assert picks <= 2 * share * len(lots)
    assert picks >= share * len(lots)
