"""Balancing, in situations."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from switchgear.policy.balance import (
    BalanceSettings,
    Candidates,
    PeakEwma,
    PeakEwmaBalancer,
)
from switchgear.policy.balancers import LeastLoaded
from switchgear.policy.ejection import Ejection, EjectionSettings


@dataclass(eq=False)
class Process:
    """An endpoint as a gateway might keep it."""

    name: str
    in_flight: int = 0
    ewma: PeakEwma = field(default_factory=PeakEwma)
    well: bool = True
    since: float = float("-inf")

    def available(self, now: float) -> bool:
        return self.well


def processes(count: int, unwell: int = 0) -> list[Process]:
    made = [Process(f"p{number}") for number in range(count)]
    for process in made[:unwell]:
        process.well = False
    return made


def lots(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


def tally(
    endpoints: list[Process], tried: tuple[str, ...] = (), picks: int = 200, now: float = 0.0
) -> Counter[str]:
    balancer = PeakEwmaBalancer(random=random.Random(7).random)
    counted: Counter[str] = Counter()
    for _ in range(picks):
        pick = balancer.pick(endpoints, now, tried)
        assert pick is not None
        counted[pick.endpoint.name] += 1
    return counted


# -- the better of two


def test_with_nothing_known_the_choice_is_spread() -> None:
    assert min(tally(processes(4)).values()) > 25


def test_of_two_the_one_with_less_in_flight_is_taken() -> None:
    busy, idle = processes(2)
    busy.in_flight, idle.in_flight = 5, 1
    for process in (busy, idle):
        process.ewma.observe(0.01, 0.0)
    assert tally([busy, idle]) == {"p1": 200}


def test_of_two_the_quicker_is_taken() -> None:
    slow, quick = processes(2)
    slow.ewma.observe(0.1, 0.0)
    quick.ewma.observe(0.01, 0.0)
    quick.in_flight = 8
    assert tally([slow, quick]) == {"p1": 200}
    quick.in_flight = 10
    assert tally([slow, quick]) == {"p0": 200}


def test_an_endpoint_that_never_answered_gets_one_call_not_all() -> None:
    new, known = processes(2)
    known.ewma.observe(0.01, 0.0)
    assert tally([new, known]) == {"p0": 200}
    new.in_flight = 1
    assert tally([new, known]) == {"p1": 200}


def test_of_two_that_never_answered_the_one_with_less_in_flight_is_taken() -> None:
    busy, idle = processes(2)
    busy.in_flight, idle.in_flight = 3, 1
    assert tally([busy, idle]) == {"p1": 200}


@pytest.mark.parametrize(("seconds", "taken"), [(1_000_000.5, "p1"), (1_000_001.5, "p0")])
def test_no_answer_yet_weighs_as_a_million_seconds(seconds: float, taken: str) -> None:
    unknown, known = processes(2)
    unknown.in_flight = 1
    known.ewma.observe(seconds, 0.0)
    assert set(tally([unknown, known])) == {taken}


@pytest.mark.parametrize("idle", range(4))
def test_the_two_are_never_the_same_and_each_pair_comes_up_as_often(idle: int) -> None:
    endpoints = processes(4)
    for number, process in enumerate(endpoints):
        process.ewma.observe(0.01, 0.0)
        process.in_flight = 0 if number == idle else 1 + number
    draws = [(first / 4, second / 3) for first in range(4) for second in range(3)]
    taken = []
    for pair in draws:
        pick = PeakEwmaBalancer(random=iter(pair).__next__).pick(endpoints, 0.0)
        assert pick is not None
        taken.append(pick.endpoint.in_flight)
    assert taken.count(0) == 6, "the idle one is in half of the twelve pairs of four"
    busiest = max(process.in_flight for process in endpoints)
    assert busiest not in taken, "the busiest wins no pair, so none was a pair of itself"


def test_no_endpoints_no_pick() -> None:
    assert PeakEwmaBalancer(random=random.random).pick([], 0.0) is None


def test_ejection_can_be_set() -> None:
    ejection = Ejection(EjectionSettings(panic_below=0.0, most=1.0))
    balancer = PeakEwmaBalancer(random=iter([0.99]).__next__, ejection=ejection)
    endpoints = processes(4, unwell=3)
    assert balancer.pick(endpoints, 0.0) == (endpoints[3], False)


# -- the next attempt


def test_a_retry_goes_to_another_endpoint() -> None:
    assert "p0" not in tally(processes(3), tried=("p0",))
    assert tally(processes(3), tried=("p0", "p2")) == {"p1": 200}


def test_a_retry_with_all_tried_may_go_anywhere() -> None:
    assert tally(processes(1), tried=("p0",)) == {"p0": 200}
    assert len(tally(processes(2), tried=("p0", "p1"))) == 2


def test_a_retry_does_not_go_to_a_shut_gate() -> None:
    endpoints = processes(3, unwell=1)
    assert set(tally(endpoints, tried=("p1",))) == {"p2"}
    assert set(tally(endpoints, tried=("p1", "p2"))) == {"p1", "p2"}


# -- the new


def test_a_new_endpoint_gets_its_share_by_and_by() -> None:
    old, new = processes(2)
    new.since = 100.0
    for age, share in [(-1.0, 0.1), (0.0, 0.1), (0.5, 0.1), (2.5, 0.25), (7.5, 0.75), (10.0, 1.0)]:
        counted = tally([old, new], picks=2000, now=100.0 + age)
        assert counted["p1"] == pytest.approx(2000 * share / 2, rel=0.25), age


def test_a_new_endpoint_stands_by_lot_and_an_old_one_always() -> None:
    old, new = processes(2)
    new.since = 100.0
    lots = iter([0.5, 0.99, 0.0])
    pick = PeakEwmaBalancer(random=lots.__next__).pick([old, new], 105.0)
    assert pick == (old, False), "at half its share the lot of a half is too high"
    lots = iter([0.49, 0.5, 0.0])
    old.in_flight = new.in_flight = 1
    pick = PeakEwmaBalancer(random=lots.__next__).pick([old, new], 105.0)
    assert pick == (new, False)


def test_a_lone_endpoint_gets_everything_however_new() -> None:
    (new,) = processes(1)
    new.since = 100.0
    assert tally([new], now=100.0) == {"p0": 200}


def test_where_all_are_new_all_get_calls() -> None:
    endpoints = processes(3)
    for process in endpoints:
        process.since = 100.0
    assert min(tally(endpoints, now=100.0).values()) > 40


def test_the_only_one_not_tried_gets_the_retry_however_new() -> None:
    old, new = processes(2)
    new.since = 100.0
    assert tally([old, new], tried=("p0",), now=100.0) == {"p1": 200}


def test_in_a_panic_nobody_is_spared() -> None:
    endpoints = processes(4, unwell=3)
    endpoints[0].since = 100.0
    assert tally(endpoints, now=100.0)["p0"] > 30


def test_without_a_slow_start_the_new_get_their_full_share_at_once() -> None:
    endpoints = processes(2)
    endpoints[0].since = 100.0
    balancer = PeakEwmaBalancer(BalanceSettings(slow_start=0), random=iter([0.0, 0.0]).__next__)
    assert balancer.pick(endpoints, 100.0) == (endpoints[0], False)


def test_one_that_came_after_the_clock_was_read_is_new_and_no_defect() -> None:
    (endpoint,) = processes(1)
    endpoint.since = 100.5
    assert Candidates(None, BalanceSettings()).share(endpoint, 100.0) == 0.1
    assert Candidates(None, BalanceSettings(slow_start=0)).share(endpoint, 100.0) == 1.0


def test_the_newest_of_all_gets_a_tenth_however_short_the_start() -> None:
    (endpoint,) = processes(1)
    endpoint.since = 100.0
    assert Candidates(None, BalanceSettings(slow_start=2.0)).share(endpoint, 100.0) == 0.1


def test_one_that_has_just_started_needs_no_lot_any_more() -> None:
    endpoints = processes(2)
    endpoints[0].since = 90.0
    candidates = Candidates(None, BalanceSettings())
    assert candidates.drawn(endpoints, 100.0, lots()) == endpoints
    with pytest.raises(StopIteration):
        candidates.drawn(endpoints, 99.9, lots())


def test_an_endpoint_that_does_not_say_since_when_is_old() -> None:
    candidates = Candidates(None, BalanceSettings())

    class Plain:
        name, in_flight, ewma = "plain", 0, PeakEwma()

        def available(self, now: float) -> bool:
            return True

    plain = Plain()
    assert candidates.share(plain, -1e9) == 1.0
    assert candidates.drawn([plain], -1e9, lots()) == [plain]


# -- the expectation


def test_a_slow_answer_counts_at_once_and_fades() -> None:
    ewma = PeakEwma(decay=10.0, stale=60.0)
    ewma.observe(0.01, 0.0)
    ewma.observe(2.0, 1.0)
    assert ewma.at(1.0) == 2.0
    assert ewma.at(11.0) == pytest.approx(2.0 / 2.71828, rel=1e-4)
    assert ewma.at(0.0) == 2.0, "an instant from the past is taken as the newest"


def test_one_bad_second_keeps_the_calls_away_for_five_not_for_a_minute() -> None:
    once_slow, other = processes(2)
    once_slow.ewma.observe(1.0, 0.0)
    balancer = PeakEwmaBalancer(random=random.random)

    def taken(now: float) -> str:
        other.ewma.observe(0.002, now)
        pick = balancer.pick([once_slow, other], now)
        assert pick is not None
        return pick.endpoint.name

    assert taken(5.0) == "p1"
    assert taken(5.1) == "p0"
    once_slow.in_flight = 1
    assert taken(5.1) == "p1", "one call shows what it does now, not all of them"
    once_slow.in_flight = 0
    once_slow.ewma.observe(0.001, 5.2)
    assert once_slow.ewma.at(5.2) == 0.001
    assert taken(5.2) == "p0"


def test_a_quicker_answer_weighs_by_the_time_since_the_last() -> None:
    ewma = PeakEwma(decay=10.0, stale=60.0)
    ewma.observe(1.0, 0.0)
    ewma.observe(0.1, 10.0)
    third = 1 / 2.718281828
    assert ewma.at(10.0) == pytest.approx(1.0 * third + 0.1 * (1 - third))


def test_an_answer_that_took_what_was_expected_is_what_is_expected() -> None:
    ewma = PeakEwma()
    ewma.observe(1.0, 10.0)
    expected = ewma.at(13.0)
    assert expected == pytest.approx(0.74082, rel=1e-4), "exp(-0.3)"
    ewma.observe(expected, 13.0)
    assert ewma.at(13.0) == expected


def test_a_quicker_answer_weighs_by_the_time_passed_whatever_the_clock_shows() -> None:
    ewma = PeakEwma(stale=60.0)
    ewma.observe(1.0, 1000.0)
    ewma.observe(0.1, 1010.0)
    third = 1 / 2.718281828
    assert ewma.at(1010.0) == pytest.approx(1.0 * third + 0.1 * (1 - third))


def test_an_answer_from_the_past_makes_nothing_older_and_weighs_nothing() -> None:
    ewma = PeakEwma()
    ewma.observe(1.0, 10.0)
    ewma.observe(0.5, 7.0)
    assert ewma.at(10.0) == 1.0
    assert ewma.at(9.5) == 1.0
    assert ewma.at(10.5) == pytest.approx(0.951229), "exp(-0.05)"
    ewma.observe(2.0, 7.0)
    assert ewma.at(15.0) > 0, "known since 10, not since 7"


def test_quick_answers_bring_it_down_by_and_by() -> None:
    ewma = PeakEwma(decay=10.0)
    ewma.observe(1.0, 0.0)
    ewma.observe(0.1, 0.0)
    assert ewma.at(0.0) == 1.0, "many answers in one instant are one instant's worth"
    for second in range(1, 31):
        ewma.observe(0.1, float(second))
    assert 0.1 <= ewma.at(30.0) < 0.15


def test_nothing_known_is_nothing_expected() -> None:
    assert PeakEwma().at(5.0) == 0.0


@pytest.mark.parametrize("kind", [PeakEwmaBalancer, LeastLoaded])
def test_the_new_are_no_shelter_for_one_that_hangs(kind: Any) -> None:
    """With half a second of ten it gets a tenth: from the eleventh call on that hangs elsewhere."""
    old, new = Process("old"), Process("new")
    new.since = 99.5
    balancer = kind(random=lambda: 0.5)
    for in_flight, name in [(0, "old"), (10, "old"), (11, "new"), (1000, "new")]:
        old.in_flight = in_flight
        assert balancer.pick([old, new], 100.0).endpoint.name == name
    new.in_flight = 1
    for in_flight, name in [(20, "old"), (21, "new")]:
        old.in_flight = in_flight
        assert balancer.pick([old, new], 100.0).endpoint.name == name


def test_only_the_new_relieve_a_crowded_one() -> None:
    """Whoever stood for the choice and was not looked at is left to the next one."""
    first, second, third, new = Process("a"), Process("b"), Process("c"), Process("new")
    first.in_flight = second.in_flight = 20
    for each in (first, second):
        each.ewma.observe(0.1, 100.0)
    new.since, new.in_flight = 99.5, 5
    balancer = PeakEwmaBalancer(random=lots(0.9, 0.0, 0.0))  # the new one is not drawn; then a, b
    pick = balancer.pick([first, second, third, new], 100.0)
    assert pick is not None
    assert pick.endpoint is first


def test_how_long_a_start_is_slow_is_told() -> None:
    balancer = PeakEwmaBalancer(BalanceSettings(slow_start=7.0), random=lambda: 0.5)
    assert balancer.slow_start == 7.0
