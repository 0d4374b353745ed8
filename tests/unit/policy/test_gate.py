"""What gates are asked, give out and refuse."""

import pytest

from switchgear.policy.fault import Code, Effect, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from tests.unit.policy.settings import stays


def test_an_ask_that_says_nothing_is_of_nobody_light_and_in_no_hurry() -> None:
    assert Ask() == ANYONE == Ask(key="", weight=1, priority=5, deadline=float("inf"))
    stays(Ask())


def test_a_permit_is_fresh_when_it_is_given_out() -> None:
    permit = Permit(3.0)
    assert (permit.at, permit.generation, permit.weight) == (3.0, 0, 1)
    assert permit.spent is False
    assert permit.answered is None


def test_two_permits_of_one_instant_are_two() -> None:
    assert Permit(3.0) != Permit(3.0)
    assert len({Permit(3.0), Permit(3.0)}) == 2


def test_a_place_in_a_queue_has_no_answer_at_first() -> None:
    ask = Ask(key="ada")
    waiting = Waiting(ask, 1.0, 2.0)
    assert waiting.ask is ask
    assert (waiting.since, waiting.until) == (1.0, 2.0)
    assert waiting.answer is None
    assert waiting.wake is None


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_becomes_a_fault_that_surely_had_no_effect(refusal: Refusal) -> None:
    fault = Refused(refusal, "bulkhead 'mail' is full", 2.0).fault()
    codes = {
        Refusal.LIMITED: Code.RESOURCE_EXHAUSTED,
        Refusal.HURRIED: Code.DEADLINE_EXCEEDED,
    }
    assert fault.code is codes.get(refusal, Code.UNAVAILABLE)
    assert fault.detail == "bulkhead 'mail' is full"
    assert fault.effect is Effect.NONE
    assert fault.refusal is refusal
    assert fault.retry_after == 2.0


def test_a_refusal_need_not_know_when_to_come_back() -> None:
    assert Refused(Refusal.FULL, "full").fault().retry_after is None
