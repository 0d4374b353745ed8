"""A gate that is only observed, in situations."""

import pytest

from switchgear.policy.breaker import Breaker, BreakerSettings, State
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.observing import Observing
from switchgear.policy.verdict import BAD, GOOD


def bulkhead(permits: int = 1, queue: int = 0) -> Bulkhead:
    return Bulkhead("db", BulkheadSettings(permits=permits, queue=queue))


def test_who_would_be_refused_goes_on_and_is_counted_and_told() -> None:
    told: list[Refused] = []
    gate = Observing(bulkhead(), told.append)
    assert isinstance(gate.admit(ANYONE, 0.0), Permit)
    permit = gate.admit(Ask(weight=2), 7.0)
    assert isinstance(permit, Permit)
    assert (permit.at, permit.weight, permit.generation) == (7.0, 2, 0)
    figures = gate.statistics()
    assert (figures["would_refuse"], figures["would_wait"], figures["unheld"]) == (1, 0, 1)
    assert [each.refusal for each in told] == [Refusal.FULL]
    assert "db" in told[0].detail


def test_nobody_need_be_told() -> None:
    gate = Observing(TokenBucket("api", BucketSettings(rate=1.0, burst=1.0)))
    assert [isinstance(gate.admit(ANYONE, 0.0), Permit) for _ in range(3)] == [True] * 3
    assert gate.statistics()["would_refuse"] == 2


def test_who_would_wait_goes_on_and_leaves_the_queue_at_once() -> None:
    told: list[Refused] = []
    inner = bulkhead(queue=1)
    gate = Observing(inner, told.append)
    first = gate.admit(ANYONE, 0.0)
    for _ in range(3):
        assert isinstance(gate.admit(Ask(deadline=9.0), 0.0), Permit)
    figures = gate.statistics()
    assert (figures["would_wait"], figures["would_refuse"], figures["unheld"]) == (3, 0, 3)
    assert (figures["waiting"], figures["abandoned"]) == (0, 3)
    assert told == []
    assert gate.settle(first, GOOD, 1.0) == ()
    assert inner.statistics()["free"] == 1


def test_the_gates_own_permits_go_back_to_it_and_ours_do_not() -> None:
    inner = bulkhead()
    gate = Observing(inner)
    held, unheld = gate.admit(ANYONE, 0.0), gate.admit(ANYONE, 0.0)
    assert gate.settle(unheld, GOOD, 1.0) == ()
    assert inner.statistics()["out"] == 1
    assert gate.statistics()["unheld"] == 0
    assert gate.settle(held, GOOD, 1.0) == ()
    assert inner.statistics()["out"] == 0


def test_a_double_settle_raises_whosever_permit_it_is() -> None:
    gate = Observing(bulkhead())
    for permit in [gate.admit(ANYONE, 0.0), gate.admit(ANYONE, 0.0)]:
        gate.settle(permit, GOOD, 0.0)
        assert permit.spent
        with pytest.raises(RuntimeError, match="'db', observed, was settled twice"):
            gate.settle(permit, GOOD, 0.0)


def state(breaker: Breaker) -> State:
    """Read the state anew, as a type checker thinks that no call changes it."""
    return breaker.state


def test_an_observed_breaker_opens_and_probes_as_it_would_and_stops_nobody() -> None:
    inner = Breaker("mail", BreakerSettings(consecutive=2, open_for=5.0), jitter=lambda: 0.5)
    gate = Observing(inner)
    for _ in range(2):
        gate.settle(gate.admit(ANYONE, 0.0), BAD, 0.0)
    assert state(inner) is State.OPEN
    for _ in range(3):
        gate.settle(gate.admit(ANYONE, 1.0), GOOD, 1.0)
    assert state(inner) is State.OPEN, "in earnest it would not have seen these"
    assert gate.statistics()["would_refuse"] == 3
    for _ in range(3):
        gate.settle(gate.admit(ANYONE, 5.0), GOOD, 5.0)
    assert state(inner) is State.CLOSED
    assert not inner.available(0.0) or gate.available(0.0)


def test_it_is_always_available_and_bears_the_gates_name() -> None:
    inner = Breaker("mail", BreakerSettings(), jitter=lambda: 0.5)
    inner.force_open(0.0)
    assert Observing(inner).available(0.0) is True
    assert Observing(inner).name == "mail"


def test_it_bounds_what_the_gate_bounds() -> None:
    assert Observing(bulkhead()).bounds is True
    assert Observing(Breaker("mail", BreakerSettings(), jitter=lambda: 0.5)).bounds is False


def test_the_gates_own_figures_are_told_too() -> None:
    figures = Observing(bulkhead(permits=3)).statistics()
    assert (figures["permits"], figures["free"]) == (3, 3)
    assert (figures["would_refuse"], figures["would_wait"], figures["unheld"]) == (0, 0, 0)


def test_a_defect_of_the_caller_is_one_in_any_mode() -> None:
    with pytest.raises(ValueError, match="a weight from 1"):
        Observing(bulkhead()).admit(Ask(weight=0), 0.0)


def test_it_gives_out_no_waiting_places() -> None:
    with pytest.raises(RuntimeError, match="'db', observed, gives out no waiting places"):
        Observing(bulkhead()).abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)
