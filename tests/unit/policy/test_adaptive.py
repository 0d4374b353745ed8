"""The adaptive limit, in situations."""

import heapq
from math import exp, sqrt

import pytest

from switchgear.policy.adaptive import AdaptiveLimit, AdaptiveSettings
from switchgear.policy.fault import Code, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict

SETTINGS = AdaptiveSettings(
    initial=16.0, most=100.0, smoothing=0.5, window=1.0, samples=4, memory=100.0
)


def make(settings: AdaptiveSettings = SETTINGS) -> AdaptiveLimit:
    return AdaptiveLimit("mail", settings)


def admitted(gate: AdaptiveLimit, now: float, count: int = 1, ask: Ask = ANYONE) -> list[Permit]:
    permits = [gate.admit(ask, now) for _ in range(count)]
    assert all(isinstance(permit, Permit) for permit in permits), permits
    return permits  # type: ignore[return-value]  # just asserted


def round_of(
    gate: AdaptiveLimit, at: float, seconds: float, *verdicts: Verdict, count: int = 8
) -> float:
    """Let `count` calls begin at `at`, four of which teach after `seconds`; return the limit."""
    permits = admitted(gate, at, count)
    taught = (verdicts or (GOOD,)) * 4
    for number, permit in enumerate(reversed(permits)):
        gate.settle(permit, NEUTRAL if number < count - 4 else taught[number % 4], at + seconds)
    return float(gate.statistics()["limit"])


def test_it_admits_as_many_as_the_limit_and_refuses_the_rest() -> None:
    gate = make()
    admitted(gate, 0.0, 16)
    refusal = gate.admit(ANYONE, 0.0)
    assert isinstance(refusal, Refused)
    assert refusal.refusal is Refusal.FULL
    assert refusal.retry_after is None
    assert refusal.detail == "adaptive limit 'mail' is reached: 16 in flight of 16.0"
    assert refusal.fault().code is Code.UNAVAILABLE


def test_a_fraction_of_a_place_is_none() -> None:
    gate = make(AdaptiveSettings(initial=5.9))
    admitted(gate, 0.0, 5)
    assert isinstance(gate.admit(ANYONE, 0.0), Refused)


def test_a_place_is_free_again_when_its_call_has_ended() -> None:
    gate = make()
    permits = admitted(gate, 0.0, 16)
    assert gate.settle(permits[0], NEUTRAL, 1.0) == ()
    admitted(gate, 1.0)
    assert isinstance(gate.admit(ANYONE, 1.0), Refused)


def test_a_call_takes_as_many_places_as_it_weighs() -> None:
    gate = make()
    (heavy,) = admitted(gate, 0.0, ask=Ask(weight=10))
    assert isinstance(gate.admit(Ask(weight=7), 0.0), Refused)
    admitted(gate, 0.0, ask=Ask(weight=6))
    assert gate.statistics()["in_flight"] == 16
    gate.settle(heavy, GOOD, 0.0)
    assert gate.statistics()["in_flight"] == 6


def test_a_call_heavier_than_the_limit_goes_alone() -> None:
    gate = make()
    (light,) = admitted(gate, 0.0)
    assert isinstance(gate.admit(Ask(weight=17), 0.0), Refused)
    gate.settle(light, GOOD, 0.0)
    admitted(gate, 0.0, ask=Ask(weight=17))
    assert isinstance(gate.admit(ANYONE, 0.0), Refused)


@pytest.mark.parametrize("weight", [0, -1])
def test_a_call_that_weighs_nothing_is_a_defect(weight: int) -> None:
    with pytest.raises(ValueError, match="a weight from 1 would be right"):
        make().admit(Ask(weight=weight), 0.0)


def test_while_calls_are_as_quick_as_ever_it_grows_by_a_small_queue() -> None:
    gate = make()
    assert round_of(gate, 0.0, 0.25) == 16 + 0.5 * sqrt(16)
    assert round_of(gate, 2.0, 0.25, count=9) == 18 + 0.5 * sqrt(18)


def test_it_grows_to_its_most_and_no_further() -> None:
    gate = make(AdaptiveSettings(initial=16.0, most=17.0, smoothing=0.5, samples=4))
    assert round_of(gate, 0.0, 0.25) == 17.0
    assert round_of(gate, 2.0, 0.25, count=10) == 17.0


def test_it_holds_its_size_within_the_tolerance_and_shrinks_beyond() -> None:
    gate = make(AdaptiveSettings(initial=16, smoothing=1, samples=4, memory=1e9, most=1000))
    assert round_of(gate, 0.0, 1.0) == 20.0
    assert round_of(gate, 2.0, 1.5, count=12) == pytest.approx(20 + sqrt(20)), "tolerated"
    limit = 20 + sqrt(20)
    shrunk = round_of(gate, 4.0, 2.0, count=16)
    assert shrunk == pytest.approx(limit * 0.75 + sqrt(limit), rel=1e-6)


def test_no_window_takes_more_than_half() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4, memory=1e9))
    assert round_of(gate, 0.0, 0.01, count=40) == 72.0
    assert round_of(gate, 2.0, 60.0, count=40) == pytest.approx(36 + sqrt(72))


def test_it_shrinks_to_its_least_and_no_further() -> None:
    gate = make(AdaptiveSettings(initial=64, least=50, smoothing=1, samples=4, memory=1e9))
    round_of(gate, 0.0, 0.01, count=40)
    for start in (2.0, 100.0):
        limit = round_of(gate, start, 60.0, count=40)
    assert limit == 50.0
    assert isinstance(limit, float)


def test_a_limit_less_than_half_in_use_does_not_move() -> None:
    gate = make()
    assert round_of(gate, 0.0, 0.25, count=7) == 16.0
    assert gate.statistics()["short"] == 0.25, "but how long calls take is learnt"
    assert round_of(gate, 2.0, 5.0, count=7) == 16.0
    assert round_of(gate, 9.0, 0.25, count=8) > 16.0


def test_in_use_is_the_most_that_was_in_flight_at_once() -> None:
    gate = make()
    first = admitted(gate, 0.0, 8)
    for permit in first[:3]:
        gate.settle(permit, GOOD, 0.25)
    admitted(gate, 0.5, 2)  # seven now, eight once
    gate.settle(first[3], GOOD, 0.75)
    assert gate.statistics()["limit"] == 18.0


def test_each_window_looks_at_its_own_use_and_at_what_it_began_with() -> None:
    gate = make()
    assert round_of(gate, 0.0, 0.25, count=12) == 18.0
    assert round_of(gate, 2.0, 0.25, count=5) == 18.0, "the twelve were those of the window before"
    admitted(gate, 3.0, 9)  # these go on
    assert round_of(gate, 3.0, 0.25, count=4) > 18.0
    after = gate.statistics()["limit"]
    assert isinstance(after, float)
    assert round_of(gate, 5.0, 0.25, count=4) > after, "thirteen of twenty, with what was there"


def test_a_window_lasts_its_time_and_until_it_has_its_samples() -> None:
    gate = make()
    round_of(gate, 0.0, 0.0)  # the first window ends with its samples, at once
    assert gate.statistics()["limit"] == 18.0
    permits = admitted(gate, 0.0, 14)
    for permit in permits[:9]:
        gate.settle(permit, GOOD, 0.99)
    assert gate.statistics()["limit"] == 18.0, "not before its time"
    gate.settle(permits[9], GOOD, 1.0)
    moved = gate.statistics()["limit"]
    assert moved != 18.0
    for permit in permits[10:13]:
        gate.settle(permit, GOOD, 50.0)
    assert gate.statistics()["limit"] == moved, "not before it has four"
    gate.settle(permits[13], GOOD, 50.0)
    assert gate.statistics()["short"] == 50.0


def test_slowness_is_measured_to_the_head_of_an_answer_that_streams() -> None:
    gate = make()
    permits = admitted(gate, 1.0, 4)
    for permit in permits:
        permit.answered = 1.5
        gate.settle(permit, GOOD, 90.0)
    assert gate.statistics()["short"] == 0.5


def test_a_clock_that_stepped_back_made_no_call_quicker_than_nothing() -> None:
    gate = make()
    round_of(gate, 5.0, -1.0)
    assert gate.statistics()["short"] == 0.0


def test_what_says_nothing_teaches_nothing() -> None:
    gate = make()
    assert round_of(gate, 0.0, 9.0, NEUTRAL, count=16) == 16.0
    figures = gate.statistics()
    assert (figures["short"], figures["long"], figures["settled"]) == (0.0, 0.0, 16)


def test_timeouts_shrink_it() -> None:
    gate = make()
    assert round_of(gate, 0.0, 0.25) == 18.0
    assert round_of(gate, 2.0, 2.0, BAD, count=9) == 18 + 0.5 * (-9 + sqrt(18))
    assert gate.statistics()["long"] == 0.25
    assert gate.statistics()["short"] == 0.25, "what failed is no part of the averages"


def test_failures_shrink_it_however_fast_they_are() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4))
    assert round_of(gate, 0.0, 1.0, count=40) == 72.0
    assert round_of(gate, 2.0, 0.0, BAD, count=40) == 36 + sqrt(72)


def test_a_few_failures_are_tolerated() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4))
    round_of(gate, 0.0, 1.0, count=40)
    grown = round_of(gate, 2.0, 1.0, BAD, GOOD, GOOD, GOOD, count=40)
    assert grown == 72 + sqrt(72), "a quarter at 3 and the rest at 1 make 1.5"
    shrunk = round_of(gate, 4.0, 1.0, BAD, GOOD, count=42)
    assert shrunk == pytest.approx(grown * 0.75 + sqrt(grown)), "half at 3, half at 1: 2"


def test_failures_count_as_long_as_they_took_where_that_is_longer() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4, memory=1e12))
    round_of(gate, 0.0, 1.0, count=40)
    permits = admitted(gate, 2.0, 40)
    for permit in permits[:3]:
        gate.settle(permit, GOOD, 3.0)
    gate.settle(permits[3], BAD, 2.0 + 5.0)
    assert gate.statistics()["limit"] == pytest.approx(72 * 0.75 + sqrt(72)), "8 s in 4 calls"


def test_each_failure_counts_with_its_own_time() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4, memory=1e12))
    round_of(gate, 0.0, 1.0, count=40)
    permits = admitted(gate, 2.0, 40)
    for permit, verdict, seconds in zip(
        permits, (GOOD, GOOD, BAD, BAD), (1.0, 1.0, 5.0, 4.0), strict=False
    ):
        gate.settle(permit, verdict, 2.0 + seconds)
    shrunk = 72 * 1.5 / (11 / 4) + sqrt(72)
    assert gate.statistics()["limit"] == pytest.approx(shrunk), "11 s in 4 calls"


@pytest.mark.parametrize("seconds", [0.0, 0.001, 9.0])
def test_nothing_but_failures_from_the_start_shrinks_it(seconds: float) -> None:
    assert round_of(make(), 0.0, seconds, BAD) == 16 + 0.5 * (-8 + 4)


def test_the_long_average_follows_slowly_when_crowded() -> None:
    gate = make()
    round_of(gate, 0.0, 1.0)  # learnt at 1
    round_of(gate, 10.0, 1.5, count=10)  # learnt at 11.5
    slowly = 1 - exp(-10.5 / 100)
    assert gate.statistics()["long"] == pytest.approx(1 + slowly * 0.5)


def test_the_long_average_follows_sooner_what_is_not_our_crowding() -> None:
    gate = make()
    round_of(gate, 0.0, 1.0, count=7)
    round_of(gate, 10.0, 1.5, count=7)
    sooner = 1 - exp(-10.5 / 10)
    assert gate.statistics()["long"] == pytest.approx(1 + sooner * 0.5)


@pytest.mark.parametrize(("seconds", "memory"), [(0.5, 100.0), (0.375, 10.0)])
def test_the_long_average_sinks_sooner_when_calls_are_twice_as_quick(
    seconds: float, memory: float
) -> None:
    gate = make()
    round_of(gate, 0.0, 1.0)
    round_of(gate, 11.0 - seconds, seconds, count=10)
    weight = 1 - exp(-10 / memory)
    assert gate.statistics()["long"] == pytest.approx(1 + weight * (seconds - 1))


def test_slowness_that_stays_when_the_limit_was_halved_for_it_is_learnt_sooner() -> None:
    gate = make(AdaptiveSettings(initial=64, smoothing=1, samples=4, memory=100, window=1.0))
    assert round_of(gate, 0.0, 1.0, count=40) == 72.0  # that was well
    before, long, last = 72.0, 1.0, 1.0
    memories = []
    for start in (10.0, 20.0, 30.0):
        count = int(before)
        halved = before * 2 < 72.0
        limit = round_of(gate, start, 4.0, count=count)
        memory = 10.0 if halved else 100.0
        memories.append(memory)
        long += (1 - exp((last - start - 4.0) / memory)) * (4.0 - long)
        last = start + 4.0
        assert gate.statistics()["long"] == pytest.approx(long)
        before = limit
    assert memories == [100.0, 100.0, 10.0]


def test_a_limit_that_was_just_halved_is_still_taken_for_crowded() -> None:
    gate = make(AdaptiveSettings(initial=64, least=36, smoothing=1, samples=4, memory=100))
    assert round_of(gate, 0.0, 1.0, count=40) == 72.0
    round_of(gate, 9.0, 9.0, count=72)
    assert round_of(gate, 19.0, 9.0, count=44) == 36.0
    before = float(gate.statistics()["long"])
    round_of(gate, 29.0, 9.0, count=36)
    slowly = 1 - exp(-10 / 100)
    assert gate.statistics()["long"] == pytest.approx(before + slowly * (9 - before))


def test_a_double_settle_raises_and_frees_no_second_place() -> None:
    gate = make()
    first, _ = admitted(gate, 0.0, 2)
    gate.settle(first, GOOD, 0.0)
    with pytest.raises(RuntimeError, match="adaptive limit 'mail' was settled twice"):
        gate.settle(first, GOOD, 0.0)
    assert gate.statistics()["in_flight"] == 1
    assert first.spent


def test_work_that_never_ends_keeps_its_place() -> None:
    gate = make(AdaptiveSettings(initial=4))
    admitted(gate, 0.0, 4)
    assert isinstance(gate.admit(ANYONE, 1e6), Refused)


def test_it_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="adaptive limit 'mail' gives out no waiting places"):
        make().abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)


def test_statistics() -> None:
    gate = make(AdaptiveSettings(initial=4))
    permits = admitted(gate, 3.0, 4)
    gate.admit(ANYONE, 3.0)
    assert (permits[0].at, permits[0].generation) == (3.0, 0)
    gate.settle(permits[0], GOOD, 3.5)
    assert gate.statistics() == {
        "limit": 4.0,
        "in_flight": 3,
        "short": 0.0,
        "long": 0.0,
        "admitted": 4,
        "settled": 1,
        "out": 3,
        "refused": 1,
    }


def test_what_kind_of_gate_it_is_and_its_name_are_told() -> None:
    gate = AdaptiveLimit("mail")
    assert (gate.kind, gate.name) == ("adaptive", "mail")
    assert gate.bounds is True


def test_defaults() -> None:
    settings = AdaptiveSettings()
    assert (settings.initial, settings.least, settings.most) == (20.0, 4.0, 200.0)
    assert (settings.tolerance, settings.smoothing) == (1.5, 0.2)
    assert (settings.window, settings.samples, settings.memory) == (0.25, 10, 300.0)
    assert AdaptiveLimit("mail").statistics()["limit"] == 20.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"least": 0.5},
        {"most": 3.0},
        {"initial": 3.0},
        {"initial": 201.0},
        {"tolerance": 0.9},
        {"smoothing": 0.0},
        {"smoothing": 1.1},
        {"window": 0.0},
        {"samples": 0},
        {"memory": 0.0},
    ],
)
def test_wrong_settings_say_what_where_and_what_would_be_right(wrong: dict[str, float]) -> None:
    field = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"AdaptiveSettings\.{field} is .*would be right"):
        AdaptiveSettings(**wrong)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    "edge",
    [
        {"least": 1},
        {"most": 20},
        {"tolerance": 1},
        {"smoothing": 0.01},
        {"smoothing": 1},
        {"window": 0.01},
        {"samples": 1},
        {"memory": 0.5},
    ],
)
def test_the_edges_of_the_ranges_are_right(edge: dict[str, float]) -> None:
    AdaptiveSettings(**edge)  # type: ignore[arg-type]  # numbers of both kinds


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    settings = AdaptiveSettings()
    with pytest.raises(AttributeError):
        settings.least = 1  # type: ignore[misc]  # the point of the test


# -- against a dependency that queues


class Dependency:
    """So many calls at once, each taking `takes`; the rest queues. Asked as often as possible."""

    def __init__(self, room: int, takes: float) -> None:
        self.gate = AdaptiveLimit("mail")
        self.takes = takes
        self.now = 0.0
        self.busy_until = [0.0] * room
        self.under_way: list[tuple[float, int, Permit]] = []
        self.begun = self.ended = 0

    def serve(self, until: float) -> float:
        """Let the time pass, and return how many calls ended a second."""
        before, since = self.ended, self.now
        while self.now < until:
            while isinstance(permit := self.gate.admit(ANYONE, self.now), Permit):
                end = max(self.now, heapq.heappop(self.busy_until)) + self.takes
                heapq.heappush(self.busy_until, end)
                self.begun += 1
                heapq.heappush(self.under_way, (end, self.begun, permit))
            self.now, _, ending = heapq.heappop(self.under_way)
            self.gate.settle(ending, GOOD, self.now)
            self.ended += 1
        return (self.ended - before) / (self.now - since)

    def limit(self) -> float:
        return float(self.gate.statistics()["limit"])


def test_under_all_the_demand_there_is_it_finds_the_room_and_keeps_it_used() -> None:
    for room in (8, 64):
        dependency = Dependency(room, takes=0.02)
        dependency.serve(20.0)
        assert dependency.serve(40.0) == pytest.approx(room / 0.02, rel=0.02)
        assert room <= dependency.limit() <= 3 * room


def test_a_dependency_that_became_slower_for_good_is_soon_used_in_full_again() -> None:
    dependency = Dependency(64, takes=0.02)
    dependency.serve(20.0)
    dependency.takes = 0.06
    dependency.serve(25.0)
    assert dependency.limit() < 40, "that might have been our crowding"
    dependency.serve(60.0)
    assert dependency.serve(70.0) == pytest.approx(64 / 0.06, rel=0.05)


def test_after_a_slow_spell_it_is_used_in_full_at_once() -> None:
    dependency = Dependency(32, takes=0.02)
    dependency.serve(10.0)
    dependency.takes = 0.5
    dependency.serve(40.0)
    dependency.takes = 0.02
    dependency.serve(45.0)
    assert dependency.serve(50.0) == pytest.approx(32 / 0.02, rel=0.05)
