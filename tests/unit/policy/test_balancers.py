"""The least loaded, each in turn, and where a key belongs: in situations."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from switchgear.policy.balance import Balancer, BalanceSettings, PeakEwma
from switchgear.policy.balancers import (
    LeastLoaded,
    Rendezvous,
    RendezvousSettings,
    RoundRobin,
    _drawn,
)
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


def picked(
    balancer: Balancer,
    endpoints: list[Process],
    now: float = 0.0,
    tried: tuple[str, ...] = (),
    key: str = "",
) -> str:
    pick = balancer.pick(endpoints, now, tried, key)
    assert pick is not None
    return pick.endpoint.name


def keyed(endpoints: list[Process], now: float = 0.0, keys: int = 4000) -> dict[str, str]:
    balancer = Rendezvous()
    return {key: picked(balancer, endpoints, now, key=key) for key in map(str, range(keys))}


EVERY: list[Callable[[], Balancer]] = [
    lambda: LeastLoaded(random=random.Random(7).random),
    RoundRobin,
    Rendezvous,
]


# -- what all have in common


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("key", ["", "ada"])
def test_no_endpoints_no_pick(make: Callable[[], Balancer], key: str) -> None:
    assert make().pick([], 0.0, (), key) is None


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("key", ["", "ada"])
def test_what_is_shut_or_was_tried_is_left_out(make: Callable[[], Balancer], key: str) -> None:
    endpoints = processes(4, unwell=1)
    for _ in range(20):
        assert picked(make(), endpoints, tried=("p1", "p2"), key=key) == "p3"
        assert picked(make(), endpoints, tried=("p1", "p2", "p3"), key=key) != "p0"


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("key", ["", "ada"])
def test_a_panic_is_told_and_nobody_is_left_out_or_spared(
    make: Callable[[], Balancer], key: str
) -> None:
    endpoints = processes(4, unwell=3)
    for process in endpoints[:3]:
        process.since = 0.0
    balancer = make()
    got = Counter()  # type: ignore[var-annotated]  # of names
    for number in range(400):
        pick = balancer.pick(endpoints, 0.0, (), key and f"{key} {number}")
        assert pick is not None
        assert pick.panic
        got[pick.endpoint.name] += 1
    assert min(got[name] for name in ("p0", "p1", "p2", "p3")) > 60
    pick = make().pick(processes(4, unwell=2), 0.0, (), key)
    assert pick is not None
    assert not pick.panic


@pytest.mark.parametrize("key", ["", "ada"])
def test_ejection_can_be_set(key: str) -> None:
    ejection = Ejection(EjectionSettings(panic_below=0.0, most=1.0))
    for balancer in (
        LeastLoaded(random=lots(0.0), ejection=ejection),
        RoundRobin(ejection=ejection),
        Rendezvous(ejection=ejection),
    ):
        pick = balancer.pick(processes(4, unwell=3), 0.0, (), key)
        assert pick is not None
        assert (pick.endpoint.name, pick.panic) == ("p3", False)


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("key", ["", "ada"])
def test_a_lone_endpoint_gets_everything_however_new(
    make: Callable[[], Balancer], key: str
) -> None:
    old, new = processes(2)
    new.since = 100.0
    balancer = make()
    for _ in range(10):
        assert picked(balancer, [new], 100.0, key=key) == "p1"
        assert picked(balancer, [old, new], 100.0, ("p0",), key) == "p1"


# -- the least loaded


def test_the_one_with_the_fewest_in_flight_is_taken() -> None:
    endpoints = processes(3)
    for process, in_flight in zip(endpoints, (3, 1, 2), strict=True):
        process.in_flight = in_flight
    assert picked(LeastLoaded(random=lots(0.99)), endpoints) == "p1"


def test_of_several_one_is_drawn() -> None:
    endpoints = processes(4)
    endpoints[1].in_flight = 1
    drawn = [picked(LeastLoaded(random=lots(lot)), endpoints) for lot in (0.0, 0.34, 0.67, 0.99)]
    assert drawn == ["p0", "p2", "p3", "p3"]


def test_the_least_loaded_of_the_old_is_taken_where_the_new_draws_a_blank() -> None:
    old, new = processes(2)
    old.in_flight, new.since = 1, 100.0
    assert picked(LeastLoaded(random=lots(0.5, 0.0)), [old, new], 105.0) == "p0"
    assert picked(LeastLoaded(random=lots(0.49, 0.0)), [old, new], 105.0) == "p1"
    slow = LeastLoaded(BalanceSettings(slow_start=20.0), random=lots(0.49, 0.0))
    assert picked(slow, [old, new], 105.0) == "p0"


# -- each in turn


def test_each_has_its_turn() -> None:
    balancer, endpoints = RoundRobin(), processes(3)
    assert [picked(balancer, endpoints) for _ in range(7)] == [
        "p0", "p1", "p2", "p0", "p1", "p2", "p0",
    ]  # fmt: skip


def test_one_that_was_left_out_is_next_and_then_one_among_others() -> None:
    balancer, endpoints = RoundRobin(), processes(3)
    endpoints[2].well = False
    assert [picked(balancer, endpoints) for _ in range(5)] == ["p0", "p1", "p0", "p1", "p0"]
    endpoints[2].well = True
    assert [picked(balancer, endpoints) for _ in range(4)] == ["p2", "p1", "p0", "p2"]


def test_a_retry_takes_the_turn_of_whom_it_goes_to() -> None:
    balancer, endpoints = RoundRobin(), processes(3)
    assert picked(balancer, endpoints) == "p0"
    assert picked(balancer, endpoints, tried=("p0",)) == "p1"
    assert picked(balancer, endpoints) == "p2"


def test_a_new_one_takes_as_many_of_its_turns_as_its_share_says() -> None:
    balancer, endpoints = RoundRobin(), processes(2)
    endpoints[1].since = 100.0
    for age, in_hundred in [(0.0, 10), (2.5, 25), (5.0, 50), (10.0, 100)]:
        got = Counter(picked(balancer, endpoints, 100.0 + age) for _ in range(100 + in_hundred))
        assert got["p1"] == pytest.approx(in_hundred, abs=1)


def test_its_turns_are_spread_evenly() -> None:
    balancer, endpoints = RoundRobin(), processes(2)
    endpoints[1].since = 100.0
    got = [picked(balancer, endpoints, 102.5) for _ in range(10)]
    assert got == ["p0"] * 4 + ["p1"] + ["p0"] * 4 + ["p1"]


def test_where_all_are_new_each_has_its_turn() -> None:
    balancer, endpoints = RoundRobin(), processes(3)
    for process in endpoints:
        process.since = 100.0
    got = [picked(balancer, endpoints, 101.0) for _ in range(60)]
    assert got[:4] == ["p0", "p1", "p2", "p0"]
    assert min(Counter(got).values()) >= 18


def test_the_slow_start_of_turns_can_be_set() -> None:
    balancer, endpoints = RoundRobin(BalanceSettings(slow_start=0)), processes(2)
    endpoints[0].since = 100.0
    assert picked(balancer, endpoints, 100.0) == "p0"


def test_names_that_are_gone_are_forgotten() -> None:
    balancer = RoundRobin()
    for number in range(1000):
        new = Process(f"{number}", since=float(number))
        steady = Process("steady")
        picked(balancer, [new, steady], float(number))
        assert len(balancer._last) <= 6
        assert len(balancer._saved) <= 6
    balancer, endpoints = RoundRobin(), processes(3)
    for _ in range(4):
        picked(balancer, endpoints)
    assert picked(balancer, endpoints[:1]) == "p0"
    assert set(balancer._last) == {"p0"}
    assert [picked(balancer, endpoints) for _ in range(3)] == ["p1", "p2", "p0"]


def after(*picks: str) -> RoundRobin:
    """Return a balancer after picks from such endpoints, each named by a letter."""
    balancer = RoundRobin()
    for names in picks:
        picked(balancer, [Process(name) for name in names])
    return balancer


@pytest.mark.parametrize("picks", [("b", "a", "c"), ("b", "a", "cd")])
def test_who_is_not_there_for_a_while_is_remembered(picks: tuple[str, ...]) -> None:
    assert picked(after(*picks), [Process(name) for name in "abc"]) == "b"


def test_who_is_still_there_keeps_its_turn_when_others_are_forgotten() -> None:
    balancer = after("b", "a", "vwxyz", "wxyz", "xyz")
    assert picked(balancer, [Process("a"), Process("b")]) == "b"
    assert set(balancer._last) == {"a", "b"}


# -- where a key belongs


def test_a_hash_never_draws_nothing_nor_everything() -> None:
    assert 0.0 < _drawn(bytes(6)) < 1e-14
    assert 1.0 - 1e-14 < _drawn(b"\xff" * 6) < 1.0


def test_a_key_need_not_be_given() -> None:
    balancer, endpoints = Rendezvous(), processes(2)
    got = [balancer.pick(endpoints, 0.0) for _ in range(3)]
    assert [pick and pick.endpoint.name for pick in got] == ["p0", "p1", "p0"]


def test_a_key_belongs_to_the_same_endpoint_in_every_process() -> None:
    endpoints = processes(3)
    got = "".join(picked(Rendezvous(), endpoints, key=key)[1] for key in "abcdefghijklmnop")
    assert got == "2100212210110220"


def test_the_order_of_the_endpoints_does_not_matter() -> None:
    endpoints = processes(5)
    assert keyed(endpoints, keys=200) == keyed(endpoints[::-1], keys=200)


def test_keys_are_spread_evenly() -> None:
    counted = Counter(keyed(processes(4)).values())
    assert all(count == pytest.approx(1000, rel=0.1) for count in counted.values())


def test_only_the_keys_of_one_that_goes_move_and_they_spread() -> None:
    endpoints = processes(5)
    before, after = keyed(endpoints), keyed(endpoints[1:])
    moved = Counter(after[key] for key in before if before[key] == "p0")
    assert all(after[key] == before[key] for key in before if before[key] != "p0")
    assert min(moved[f"p{number}"] for number in (1, 2, 3, 4)) > 150


def test_a_new_one_takes_as_few_of_its_keys_as_its_share_says() -> None:
    endpoints = processes(4)
    endpoints[0].since = 100.0
    before = set[str]()
    for age, share in [(0.0, 0.1), (2.5, 0.25), (5.0, 0.5), (10.0, 1.0)]:
        placed = keyed(endpoints, 100.0 + age)
        its = {key for key, name in placed.items() if name == "p0"}
        assert len(its) == pytest.approx(4000 * share / (3 + share), rel=0.15)
        assert before <= its, "what it has it keeps"
        before = its


def test_a_crowded_endpoint_passes_a_key_on_to_its_second() -> None:
    endpoints = processes(3)
    balancer = Rendezvous(RendezvousSettings(bound=1.5))
    first = picked(balancer, endpoints, key="ada")
    home = next(each for each in endpoints if each.name == first)
    others = [each for each in endpoints if each is not home]
    second = picked(balancer, others, key="ada")
    home.in_flight = 1
    assert picked(balancer, endpoints, key="ada") == second, "room for 1.5 x 2 / 3 = 1"
    for each in others:
        each.in_flight = 2
    home.in_flight = 4
    assert picked(balancer, endpoints, key="ada") == first, "1.5 x 9 / 3: room for a fifth"
    home.in_flight = 5
    assert picked(balancer, endpoints, key="ada") == second, "1.5 x 10 / 3: no room for a sixth"
    assert picked(Rendezvous(), endpoints, key="ada") == first, "without a bound it never moves"


def test_a_bound_of_one_still_has_room_for_each() -> None:
    endpoints = processes(3)
    balancer = Rendezvous(RendezvousSettings(bound=1))
    for _ in range(9):
        pick = balancer.pick(endpoints, 0.0, (), "ada")
        assert pick is not None
        pick.endpoint.in_flight += 1
    assert [each.in_flight for each in endpoints] == [3, 3, 3]


def test_calls_without_a_key_go_to_each_in_turn() -> None:
    balancer, endpoints = Rendezvous(), processes(3)
    assert [picked(balancer, endpoints) for _ in range(4)] == ["p0", "p1", "p2", "p0"]
    slow = Rendezvous(RendezvousSettings(slow_start=0))
    endpoints[0].since = 100.0
    assert picked(slow, endpoints, 100.0) == "p0"
    assert picked(balancer, endpoints, 100.0) == "p1"


def test_defaults_and_ranges() -> None:
    assert (RendezvousSettings().bound, RendezvousSettings().slow_start) == (None, 10.0)
    with pytest.raises(AttributeError):
        RendezvousSettings().bound = 1.0  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValueError, match=r"RendezvousSettings\.bound is .*at least 1"):
        RendezvousSettings(bound=0.9)
    with pytest.raises(ValueError, match=r"RendezvousSettings\.slow_start is .*at least 0"):
        RendezvousSettings(slow_start=-1.0)
