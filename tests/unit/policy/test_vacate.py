"""After a fork: what is under way is another process's, and takes no place here."""

from typing import Any

import pytest

from switchgear.core.coalesce import coalescing
from switchgear.policy.adaptive import AdaptiveLimit, AdaptiveSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings, Gcra, GcraSettings, TokenBucket
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting, vacate
from switchgear.policy.observing import Observing
from switchgear.policy.reserve import Reserve
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict


def test_a_breaker_begins_a_generation_that_never_was() -> None:
    breaker = Breaker("db", BreakerSettings(), jitter=lambda: 0.5)
    for _ in range(3):
        before = breaker.generation
        breaker.vacate(1.0)
        assert breaker.generation > before


def test_a_bulkhead_has_all_its_places_again() -> None:
    bulkhead = Bulkhead("db", BulkheadSettings(permits=3, queue=2))
    heavy = bulkhead.admit(Ask(weight=2), 1.0)
    bulkhead.entered += 1  # by hand
    bulkhead.overrun = 1
    waiting = [bulkhead.admit(Ask(deadline=9.0, priority=one), 1.0) for one in (5, 9)]
    assert isinstance(heavy, Permit)
    vacate(bulkhead, 2.0)
    figures = bulkhead.statistics()
    assert [figures[one] for one in ("free", "out", "waiting", "overdue")] == [3, 0, 0, 0]
    assert figures["admitted"] == figures["settled"] == 2
    for one in waiting:
        assert isinstance(one, Waiting)
        assert isinstance(one.answer, Refused)
        bulkhead.abandon(one, 3.0)  # as its sleeper does that is called off here
    permits = [bulkhead.admit(ANYONE, 3.0) for _ in range(3)]
    assert all(isinstance(permit, Permit) for permit in permits)
    # Whose coroutine is ended here, too, as a loop does that is closed, gives nothing back.
    assert bulkhead.settle(heavy, NEUTRAL, 4.0) == ()
    assert bulkhead.settle(bulkhead.named(1.5, 9.0), NEUTRAL, 4.0) == ()
    assert bulkhead.free == 0
    with pytest.raises(RuntimeError, match="settled twice"):
        bulkhead.settle(heavy, NEUTRAL, 4.0)
    for permit in permits:
        assert isinstance(permit, Permit)
        bulkhead.settle(permit, GOOD, 5.0)
    assert (bulkhead.free, bulkhead.out) == (3, 0)
    # What comes in at the very instant is ours.
    bulkhead.entered += 1
    assert bulkhead.settle(bulkhead.named(2.0, 9.0), GOOD, 5.0) == ()
    assert (bulkhead.free, bulkhead.out) == (3, 0)
    with pytest.raises(RuntimeError, match="never given out"):
        bulkhead.settle(Permit(2.0), GOOD, 5.0)


def test_a_reserve_has_all_its_places_again() -> None:
    reserve = Reserve(4, str)
    bulkhead = Bulkhead("db", BulkheadSettings(permits=6, queue=0), reserve=reserve)
    for _ in range(3):
        assert isinstance(bulkhead.admit(Ask("a"), 1.0), Permit)
    assert (bulkhead.free, reserve.free) == (3, 3)
    vacate(bulkhead, 2.0)
    assert (bulkhead.free, reserve.free, len(reserve), bulkhead.out) == (6, 4, 0, 0)
    assert [type(bulkhead.admit(Ask("a"), 3.0)) for _ in range(4)] == [Permit] * 3 + [Refused]


def test_an_adaptive_limit_has_nothing_in_flight() -> None:
    limit = AdaptiveLimit("db", AdaptiveSettings(initial=2, least=2, most=2))
    before = [limit.admit(ANYONE, 1.0) for _ in range(2)]
    assert isinstance(limit.admit(ANYONE, 1.0), Refused)
    vacate(limit, 2.0)
    assert limit.statistics()["in_flight"] == limit.statistics()["out"] == 0
    here = limit.admit(ANYONE, 2.0)
    for permit in before:
        assert isinstance(permit, Permit)
        assert limit.settle(permit, BAD, 3.0) == ()
    assert isinstance(here, Permit)
    assert limit.statistics()["in_flight"] == 1
    limit.settle(here, GOOD, 3.0)
    assert limit.statistics()["in_flight"] == 0


def test_a_breaker_learns_nothing_from_what_was_under_way() -> None:
    """Nor is it settled by hand, which would give the bulkhead's place back that it has not."""
    breaker = Breaker("db", BreakerSettings(consecutive=1), jitter=lambda: 0.5)
    before = breaker.admit(ANYONE, 1.0)
    epoch = breaker.generation
    vacate(breaker, 2.0)
    assert breaker.generation != epoch
    assert isinstance(before, Permit)
    breaker.settle(before, BAD, 3.0)
    here = breaker.admit(ANYONE, 3.0)
    assert isinstance(here, Permit)
    breaker.settle(here, GOOD, 4.0)
    figures = breaker.statistics()
    assert [figures[one] for one in ("state", "late", "out")] == ["closed", 1, 0]


@pytest.mark.parametrize("observed", [False, True])
def test_a_breaker_waits_for_no_probe_of_another_process(observed: bool) -> None:
    settings = BreakerSettings(consecutive=1, open_for=1.0, jitter=0, probe_lease=100.0, probes=2)
    breaker = Breaker("db", settings, jitter=lambda: 0.5)
    failed = breaker.admit(ANYONE, 0.0)
    assert isinstance(failed, Permit)
    breaker.settle(failed, BAD, 0.0)
    first = breaker.admit(ANYONE, 2.0)
    assert isinstance(first, Permit)
    breaker.settle(first, GOOD, 2.0)
    probe = breaker.admit(ANYONE, 2.0)
    assert isinstance(probe, Permit)
    assert isinstance(breaker.admit(ANYONE, 2.0), Refused)
    vacate(Observing(breaker) if observed else breaker, 3.0)
    again = breaker.admit(ANYONE, 3.0)
    assert isinstance(again, Permit)
    assert breaker.statistics()["state"] == "half_open"
    breaker.settle(again, GOOD, 3.0)
    assert breaker.statistics()["state"] == "closed", "what the first probe found is still known"
    assert breaker.statistics()["lapsed"] == 0


def test_what_has_no_places_is_left_as_it_is() -> None:
    vacate(object(), 1.0)


async def test_flights_of_another_process_are_forgotten() -> None:
    layer = coalescing(lambda _: None, name="db")
    layer(no_handler)
    (table,) = layer._tables
    inherited: Any = {"key": "a flight"}
    table.flights["a loop"] = inherited  # type: ignore[index]  # its own are as opaque
    vacate(layer, 1.0)
    assert layer.statistics()["flights"] == 0


async def no_handler(_: Any) -> None:
    raise AssertionError


GATES = [
    lambda: Breaker("db", BreakerSettings(), jitter=lambda: 0.5),
    lambda: TokenBucket("db", BucketSettings(rate=9.0, burst=9.0)),
    lambda: Gcra("db", GcraSettings(interval=0.001)),
    lambda: Bulkhead("db", BulkheadSettings()),
    lambda: AdaptiveLimit("db", AdaptiveSettings(initial=9, least=2, most=9)),
]


@pytest.mark.parametrize("made", GATES)
@pytest.mark.parametrize("observed", [False, True])
def test_what_is_out_in_another_process_is_not_told_of_here(made: Any, observed: bool) -> None:
    gate = Observing(made()) if observed else made()
    there = [gate.admit(ANYONE, at) for at in (1.0, 1.1)]
    assert gate.statistics()["out"] == 2
    vacate(gate, 2.0)
    assert gate.statistics()["out"] == 0
    here = gate.admit(ANYONE, 2.0)
    assert gate.statistics()["out"] == 1
    gate.settle(there[0], GOOD, 3.0)  # whose coroutine is ended here, too
    assert gate.statistics()["out"] == 1
    gate.settle(here, GOOD, 3.0)
    gate.settle(there[1], BAD, 3.0)
    figures = gate.statistics()
    assert figures["out"] == 0
    assert figures["admitted"] == figures["settled"] == 3


def test_nor_are_those_whom_an_observed_gate_would_have_turned_away() -> None:
    gate = Observing(Bulkhead("db", BulkheadSettings(permits=1, queue=0)))
    held, unheld = gate.admit(ANYONE, 1.0), gate.admit(ANYONE, 1.0)
    assert gate.statistics()["unheld"] == 1
    vacate(gate, 2.0)
    assert gate.statistics()["unheld"] == 0
    for permit in (held, unheld):
        gate.settle(permit, GOOD, 3.0)
        with pytest.raises(RuntimeError, match="settled twice"):
            gate.settle(permit, GOOD, 3.0)
    assert (gate.statistics()["unheld"], gate.statistics()["out"]) == (0, 0)


class Closed:
    """A gate that admits nobody, and is never given back what it has not given out."""

    name = "closed"

    def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        return Refused(Refusal.FULL, "closed")

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        raise AssertionError("it was never given out")

    def abandon(self, waiting: Waiting, now: float) -> None:
        raise AssertionError("nobody waits")

    def available(self, now: float) -> bool:
        return False

    def statistics(self) -> dict[str, float | str]:
        return {}


def test_what_an_observed_gate_has_not_admitted_is_never_given_back_to_it() -> None:
    gate = Observing(Closed())
    permits = []
    for at in (1.0, 2.0, 3.0):
        permits.append(gate.admit(ANYONE, at))
        gate.vacate(at + 0.5)
    permits.append(gate.admit(ANYONE, 4.0))
    assert gate.statistics()["unheld"] == 1
    for permit in permits:
        assert gate.settle(permit, GOOD, 5.0) == ()
    assert gate.statistics()["unheld"] == 0


def test_a_breaker_takes_its_good_calls_over_before_it_forgets_what_is_out() -> None:
    breaker = Breaker("db", BreakerSettings(), jitter=lambda: 0.5)
    for at in (1.0, 1.1, 1.2):
        permit = breaker.admit(ANYONE, at)
        assert isinstance(permit, Permit)
        breaker.settle(permit, GOOD, at)
    vacate(breaker, 2.0)
    figures = breaker.statistics()
    assert (figures["admitted"], figures["settled"], figures["out"]) == (3, 3, 0)
