"""Turns: who asks seldom is next, whatever those who ask often have waiting."""

import random

import pytest

from switchgear.identity.turns import Asker, Turn, Turns, TurnTerms
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Refused

TERMS = TurnTerms(workers=2, queue=16, per_address=4, per_account=6, every=60.0)


class Pool:
    """Turns with a clock, as their owner uses them."""

    def __init__(self, terms: TurnTerms = TERMS) -> None:
        self.turns = Turns(terms)
        self.now = 1000.0
        self.running: list[Turn] = []
        self.given_way: list[Turn] = []

    def ask(self, address: str, account: str = "") -> Turn | Refused:
        self.now += 0.001
        turn = Turn(Asker(address, account))
        found = self.turns.ask(turn, self.now)
        if isinstance(found, Refused):
            return found
        if found is not None:
            self.given_way.append(found)
        self.start()
        return turn

    def start(self) -> None:
        while (turn := self.turns.next()) is not None:
            self.running.append(turn)

    def work(self) -> Turn:
        """End what has run longest, after the quarter of a second that a hash takes."""
        self.now += 0.25
        turn = self.running.pop(0)
        self.turns.end(turn)
        self.start()
        return turn

    def order(self, count: int) -> list[str]:
        return [self.work().asker.address for _ in range(count)]


def test_who_asks_seldom_comes_before_who_asked_often_before() -> None:
    pool = Pool()
    for address in "aaaabbbc":
        pool.ask(address)
    assert pool.order(8) == ["a", "a", "c", "b", "b", "b", "a", "a"]


def test_those_who_ask_as_seldom_come_in_the_order_of_their_asks() -> None:
    pool = Pool()
    addresses = [f"10.0.0.{n}" for n in range(18)]
    for address in addresses:
        pool.ask(address)
    assert pool.order(18) == addresses


@pytest.mark.parametrize("hammering", [5, 50, 500])
def test_a_new_address_is_next_however_many_hammer(hammering: int) -> None:
    pool = Pool()
    drawn = random.Random(7)
    for number in range(3 * hammering):
        pool.ask(f"10.0.{number % hammering}.1")
    for number in range(200):
        for _ in range(drawn.randrange(20, 200)):
            pool.ask(f"10.0.{drawn.randrange(hammering)}.1", f"{drawn.random()}")
        mine = pool.ask(f"192.0.2.{number}", "ada")
        assert isinstance(mine, Turn)
        assert mine not in pool.running
        pool.work()
        assert mine in pool.running, "it began when the first worker was free"
    assert 15 <= pool.turns.out <= 18


def test_a_refused_ask_counts_too() -> None:
    """Else fifty who come at once would be as good as new, with all the room in hand."""
    pool = Pool()
    for number in range(50):
        pool.ask(f"10.0.0.{number}")
    assert isinstance(pool.ask("192.0.2.1"), Refused), "all of them asked once, and before"
    for number in range(50):
        pool.ask(f"10.0.0.{number}")
    assert isinstance(pool.ask("192.0.2.2"), Turn)
    assert len(pool.given_way) == 1


def test_who_gives_way_is_the_one_that_asked_most() -> None:
    pool = Pool(TERMS._replace(queue=3))
    for address in ("x", "y", "a", "b", "b"):
        pool.ask(address)
    assert isinstance(pool.ask("c"), Turn)
    assert [turn.asker.address for turn in pool.given_way] == ["b"]
    refused = pool.ask("b")
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.retry_after) == (Refusal.FULL, 1.0)
    assert "full: 5 of 5 places out" in refused.detail
    assert pool.turns.refused == 2
    assert pool.order(5) == ["x", "y", "a", "c", "b"]


def test_what_runs_gives_way_to_nobody() -> None:
    pool = Pool(TERMS._replace(queue=0))
    for _ in range(2):
        pool.ask("a")
    for _ in range(10):
        assert isinstance(pool.ask("a"), Refused)
    assert isinstance(pool.ask("b"), Refused)


def test_an_ask_is_forgotten_after_its_time_and_no_address_is_put_off_for_ever() -> None:
    pool = Pool()
    for _ in range(10_000):
        pool.ask("a")
    for _ in range(4):
        pool.work()
    pool.now += 15 * 60.0
    pool.ask("x"), pool.ask("y")
    pool.ask("a"), pool.ask("b")
    assert pool.order(4) == ["x", "y", "a", "b"]


def test_work_without_an_address_waits_like_that_of_a_new_one() -> None:
    pool = Pool()
    for address in ("x", "y", "a", "a", "", "b"):
        pool.ask(address)
    assert pool.order(6) == ["x", "y", "", "b", "a", "a"]


def test_an_account_that_has_its_part_is_crowded() -> None:
    pool = Pool()
    for number in range(6):
        assert not pool.turns.crowded("ada")
        pool.ask(f"10.0.0.{number}", "ada")
    assert pool.turns.crowded("ada")
    assert not pool.turns.crowded("bob")
    assert not pool.turns.crowded("")


def test_what_waits_may_be_refused_and_what_runs_may_not() -> None:
    pool = Pool()
    turns = [turn for turn in (pool.ask(one) for one in "xya") if isinstance(turn, Turn)]
    assert [pool.turns.leave(turn) for turn in (*turns, turns[2])] == [False, False, True, False]
    assert (pool.turns.out, pool.turns.refused) == (2, 1)


def test_places_come_back_once_each() -> None:
    pool = Pool()
    turns = [turn for turn in (pool.ask("a", "n") for _ in range(4)) if isinstance(turn, Turn)]
    limited = pool.ask("a")
    assert isinstance(limited, Refused)
    assert limited.refusal is Refusal.LIMITED
    for turn in (turns[3], turns[3], turns[0], turns[0]):
        pool.turns.end(turn)
    assert pool.turns.out == 2
    assert pool.turns._parts == {"address a": 2, "account n": 2}
    pool.turns.clear()
    pool.turns.end(turns[1])
    assert pool.turns.out == 0
    assert pool.turns._parts == {}


def test_a_million_addresses_take_no_more_memory() -> None:
    pool = Pool()
    size = len(pool.turns._due)
    for number in range(5000):
        pool.ask(f"2001:db8:{number:x}::/64", f"{number}@example.org")
    assert len(pool.turns._due) == size
    assert len(pool.turns._parts) <= 2 * 18
