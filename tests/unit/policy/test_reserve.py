"""The last places of a bulkhead, in situations: one client of many cannot take them all."""

from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.reserve import Reserve
from switchgear.policy.verdict import GOOD

NOW = 1.0


def make(queue: int = 4) -> Bulkhead:
    """Four places, and eight in reserve, of which each client gets two."""
    settings = BulkheadSettings(permits=12, queue=queue, standing=1000.0)
    return Bulkhead("db", settings, reserve=Reserve(8, lambda key: key.partition("/")[0]))


def ask(key: str, weight: int = 1, priority: int = 5) -> Ask:
    return Ask(key, weight, priority, NOW + 10.0)


def taken(bulkhead: Bulkhead, key: str) -> list[Permit]:
    """Take all that one client gets."""
    permits = []
    while isinstance(answer := bulkhead.admit(ask(key), NOW), Permit):
        permits.append(answer)
    assert isinstance(answer, (Waiting, Refused))
    return permits


def test_who_takes_all_he_can_leaves_room_for_others() -> None:
    bulkhead = make()
    assert len(taken(bulkhead, "greedy")) == 6
    assert bulkhead.statistics()["free"] == 6
    assert [len(taken(bulkhead, key)) for key in ("a", "b", "c", "d")] == [2, 2, 2, 0]
    assert bulkhead.statistics()["free"] == 0


def test_a_client_is_one_however_many_keys_he_has() -> None:
    bulkhead = make()
    taken(bulkhead, "greedy/1")
    assert taken(bulkhead, "greedy/2") == []


def test_his_part_comes_back_with_his_permits() -> None:
    bulkhead = make(queue=0)
    permits = taken(bulkhead, "greedy")
    for permit in permits:
        assert bulkhead.settle(permit, GOOD, NOW) == ()
    assert bulkhead.statistics()["free"] == 12
    assert len(taken(bulkhead, "greedy")) == 6


def test_who_waits_for_more_than_his_part_holds_up_nobody() -> None:
    bulkhead = make()
    _, *_, last = taken(bulkhead, "greedy")
    other = bulkhead.admit(ask("other"), NOW)
    assert isinstance(other, Permit)
    assert bulkhead.settle(other, GOOD, NOW) == ()  # the place that is free is not for him
    (served,) = bulkhead.settle(last, GOOD, NOW)
    assert served.ask.key == "greedy"
    assert isinstance(served.answer, Permit)


def test_a_place_before_the_reserve_goes_to_the_first_in_line_whoever_he_is() -> None:
    bulkhead = make()
    first, *_ = taken(bulkhead, "greedy")
    for key in "abc":
        taken(bulkhead, key)
    assert bulkhead.statistics()["waiting"] == 2
    (served,) = bulkhead.settle(first, GOOD, NOW)
    assert served.ask.key == "greedy"


def test_the_last_of_the_queue_is_for_others_too() -> None:
    """Four may wait: two thirds of the permits are kept, and so are two of those places."""
    bulkhead = make()
    for key in "abcd":
        taken(bulkhead, key)
    waiting = bulkhead.statistics()["waiting"]
    refused = bulkhead.admit(ask("a"), NOW)
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.FULL
    assert waiting == 2
    assert isinstance(bulkhead.admit(ask("new"), NOW), Waiting)
    assert isinstance(bulkhead.admit(ask("newer"), NOW), Waiting)
    assert isinstance(bulkhead.admit(ask("newest"), NOW), Refused)


def test_the_first_who_has_a_part_left_is_served_before_those_who_have_none() -> None:
    bulkhead = make(queue=12)
    permits = {key: taken(bulkhead, key) for key in "abcd"}  # "a" has the places before, too
    waiting = bulkhead.admit(ask("new", priority=0), NOW)
    assert isinstance(waiting, Waiting)
    served = bulkhead.settle(permits["b"][0], GOOD, NOW)
    assert [one.ask.key for one in served] == ["b"]  # more urgent, and with a part again
    assert bulkhead.settle(permits["c"][0], GOOD, NOW)[0].ask.key == "c"
    bulkhead.abandon(next(iter(_waiting(bulkhead, "d"))), NOW)
    assert [one.ask.key for one in bulkhead.settle(permits["d"][0], GOOD, NOW)] == ["new"]


def _waiting(bulkhead: Bulkhead, key: str) -> list[Waiting]:
    lines = bulkhead._lines
    return [waiting for line in lines for waiting in line if waiting.ask.key == key]


def test_heavy_asks_have_their_place_on_one_side_of_the_line() -> None:
    bulkhead = make()
    heavy = bulkhead.admit(ask("a", 5), NOW)
    assert isinstance(heavy, Refused)
    assert (
        heavy.detail
        == "bulkhead 'db' a weight of 5 never fits 4 permits: 0 of 12 permits out, 0 waiting"
    )
    three = bulkhead.admit(ask("a", 3), NOW)
    assert isinstance(three, Permit)
    two = bulkhead.admit(ask("a", 2), NOW)  # one is left before the reserve, and two of it are his
    assert isinstance(two, Permit)
    assert bulkhead.statistics()["free"] == 7
    assert isinstance(bulkhead.admit(ask("a", 1), NOW), Permit)
    assert isinstance(bulkhead.admit(ask("a", 1), NOW), Waiting)
    assert bulkhead.settle(two, GOOD, NOW)[0].ask.key == "a"
    assert bulkhead.settle(three, GOOD, NOW) == ()
    figures = bulkhead.statistics()
    assert (figures["free"], figures["out"], figures["admitted"]) == (10, 2, 4)


def test_who_is_too_heavy_for_his_part_waits_for_the_places_before_it() -> None:
    bulkhead = make()
    first = bulkhead.admit(ask("a", 4), NOW)
    assert isinstance(first, Permit)
    heavy = bulkhead.admit(ask("b", 3), NOW)
    assert isinstance(heavy, Waiting)
    assert bulkhead.statistics()["free"] == 8
    assert bulkhead.settle(first, GOOD, NOW) == (heavy,)


def test_a_heavy_one_holds_the_line_before_the_reserve() -> None:
    bulkhead = make()
    assert isinstance(bulkhead.admit(ask("a", 3), NOW), Permit)
    assert isinstance(bulkhead.admit(ask("b", 4), NOW), Waiting)
    assert isinstance(bulkhead.admit(ask("c", 1), NOW), Waiting)


def test_a_heavy_one_holds_the_line_in_the_reserve() -> None:
    bulkhead = make()
    for key, weight in {"a": 4, "b": 2, "c": 2, "d": 2, "e": 1}.items():
        assert isinstance(bulkhead.admit(ask(key, weight), NOW), Permit)
    assert isinstance(bulkhead.admit(ask("f", 2), NOW), Waiting)
    assert isinstance(bulkhead.admit(ask("g", 1), NOW), Waiting)
    assert bulkhead.statistics()["free"] == 1


def test_who_has_nothing_any_more_is_forgotten() -> None:
    """Else whoever comes from ever more addresses would fill the memory."""
    reserve = Reserve(12, str)
    permits = [Permit(NOW) for _ in range(3)]
    for permit in permits:
        assert reserve.is_due(ask("a"))
        reserve.take(permit, ask("a"))
    assert not reserve.is_due(ask("a"))  # a quarter it is
    assert (len(reserve), reserve.free) == (1, 9)
    assert all(reserve.give(permit) for permit in permits)
    assert (len(reserve), reserve.free) == (0, 12)
    assert not reserve.give(permits[0])


def test_even_the_smallest_reserve_gives_each_client_a_place() -> None:
    settings = BulkheadSettings(permits=4, queue=0)
    bulkhead = Bulkhead("db", settings, reserve=Reserve(3, str))
    assert len(taken(bulkhead, "a")) == 2
    assert [len(taken(bulkhead, key)) for key in "bcd"] == [1, 1, 0]


def test_one_who_waits_many_times_beyond_his_part_is_passed_by_each_time() -> None:
    bulkhead = make(queue=12)
    taken(bulkhead, "greedy")  # who waits by now
    assert isinstance(bulkhead.admit(ask("greedy"), NOW), Waiting)
    held = {key: taken(bulkhead, key) for key in ("a", "b")}
    held["c"] = [
        permit for _ in range(2) if isinstance(permit := bulkhead.admit(ask("c"), NOW), Permit)
    ]
    other = bulkhead.admit(ask("other"), NOW)
    assert isinstance(other, Waiting)
    served = bulkhead.settle(held["c"][0], GOOD, NOW)
    assert served == (other,)
