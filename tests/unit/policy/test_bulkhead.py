"""The bulkhead, in situations: each trap is a test that bears its words."""

from math import inf

import pytest

from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Code, Refusal
from switchgear.policy.gate import ANYONE, Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL


def make(permits: int = 2, queue: int = 3, standing: float = 1000.0) -> Bulkhead:
    return Bulkhead("db", BulkheadSettings(permits=permits, queue=queue, standing=standing))


def inside(bulkhead: Bulkhead, now: float = 0.0, ask: Ask = ANYONE) -> Permit:
    permit = bulkhead.admit(ask, now)
    assert isinstance(permit, Permit), permit
    return permit


def waits(bulkhead: Bulkhead, now: float = 0.0, ask: Ask = ANYONE) -> Waiting:
    waiting = bulkhead.admit(ask, now)
    assert isinstance(waiting, Waiting), waiting
    return waiting


def refused(bulkhead: Bulkhead, now: float = 0.0, ask: Ask = ANYONE) -> Refused:
    refusal = bulkhead.admit(ask, now)
    assert isinstance(refusal, Refused), refusal
    return refusal


def detail(waiting: Waiting) -> str:
    assert isinstance(waiting.answer, Refused), waiting.answer
    return waiting.answer.detail


def test_permits_out_are_permits_back() -> None:
    bulkhead = make()
    for verdict in (GOOD, BAD, NEUTRAL):
        permits = [inside(bulkhead), inside(bulkhead)]
        for permit in permits:
            assert bulkhead.settle(permit, verdict, 1.0) == ()
    figures = bulkhead.statistics()
    assert (figures["out"], figures["free"]) == (0, 2)
    assert figures["admitted"] == figures["settled"] == 6


def test_the_queue_is_bounded_and_the_refusal_says_so() -> None:
    bulkhead = make()
    inside(bulkhead), inside(bulkhead)
    for _ in range(3):
        waits(bulkhead)
    refusal = refused(bulkhead)
    assert refusal.refusal is Refusal.FULL
    assert refusal.detail == "bulkhead 'db' is full: 2 of 2 permits out, 3 waiting"
    assert refusal.fault().code is Code.UNAVAILABLE


def test_without_a_queue_the_next_is_refused_at_once() -> None:
    bulkhead = make(queue=0)
    inside(bulkhead), inside(bulkhead)
    refused(bulkhead)


def test_a_freed_place_goes_to_the_first_in_line() -> None:
    bulkhead = make()
    first, _ = inside(bulkhead), inside(bulkhead)
    line = [waits(bulkhead, now) for now in (1.0, 2.0)]
    assert bulkhead.settle(first, GOOD, 3.0) == (line[0],)
    assert isinstance(line[0].answer, Permit)
    assert line[0].answer.at == 3.0
    assert line[1].answer is None


def test_a_newcomer_does_not_overtake_the_line() -> None:
    bulkhead = make(permits=4)
    first = inside(bulkhead, ask=Ask(weight=3))
    heavy = waits(bulkhead, ask=Ask(weight=2))
    newcomer = waits(bulkhead)
    assert bulkhead.settle(first, GOOD, 1.0) == (heavy, newcomer)


def test_a_more_urgent_newcomer_takes_what_is_too_little_for_the_line() -> None:
    bulkhead = make(permits=4)
    inside(bulkhead, ask=Ask(weight=3))
    waits(bulkhead, ask=Ask(weight=2))
    inside(bulkhead, ask=Ask(priority=9))
    assert bulkhead.statistics()["free"] == 0


def test_the_highest_priority_is_served_first() -> None:
    bulkhead = make(permits=1)
    permit = inside(bulkhead)
    cheap, plain, dear = (waits(bulkhead, ask=Ask(priority=p)) for p in (0, 5, 9))
    for expected in (dear, plain, cheap):
        assert bulkhead.settle(permit, GOOD, 1.0) == (expected,)
        assert isinstance(expected.answer, Permit)
        permit = expected.answer


def test_a_waiter_older_than_a_tenth_of_its_deadline_is_refused() -> None:
    bulkhead = make(permits=1)
    permit = inside(bulkhead)
    hurried = waits(bulkhead, 10.0, Ask(deadline=13.0))
    patient = waits(bulkhead, 10.0, Ask(deadline=40.0))
    assert hurried.until == pytest.approx(10.3)
    assert bulkhead.settle(permit, GOOD, 10.4) == (hurried, patient)
    assert detail(hurried) == "a waiter of bulkhead 'db' was not served in 0.4 s"
    assert isinstance(patient.answer, Permit)
    assert bulkhead.statistics()["expired"] == 1


def test_a_waiter_is_refused_at_the_very_end_of_its_patience() -> None:
    bulkhead = make(permits=1)
    permit = inside(bulkhead)
    waiting = waits(bulkhead, 0.0, Ask(deadline=16.0))
    bulkhead.settle(permit, GOOD, waiting.until)
    assert isinstance(waiting.answer, Refused)


def test_a_deadline_that_is_past_does_not_wait() -> None:
    bulkhead = make(permits=1)
    inside(bulkhead)
    assert refused(bulkhead, 5.0, Ask(deadline=5.0)).refusal is Refusal.HURRIED


def test_a_standing_queue_hurries_the_aged_and_serves_the_fresh() -> None:
    bulkhead = make(permits=1, queue=10, standing=0.2)
    permit = inside(bulkhead)
    aged = [waits(bulkhead, 0.0, Ask(deadline=10.0)) for _ in range(3)]
    fresh = waits(bulkhead, 0.6, Ask(deadline=10.6))
    assert bulkhead.settle(permit, GOOD, 0.7) == (*aged, fresh)
    assert all("has a standing queue" in detail(waiting) for waiting in aged)
    assert isinstance(fresh.answer, Permit)
    assert bulkhead.statistics()["hurried"] == 3


def test_a_waiter_as_old_as_its_hurried_patience_is_still_served() -> None:
    settings = BulkheadSettings(permits=1, queue=10, patience=0.25, standing=0.0, hurried=0.5)
    bulkhead = Bulkhead("db", settings)
    permit = inside(bulkhead)
    first = waits(bulkhead, 0.0, Ask(deadline=16.0))
    waits(bulkhead, 0.0, Ask(deadline=16.0))
    bulkhead.settle(permit, GOOD, 2.0)
    assert isinstance(first.answer, Permit)


def test_a_standing_queue_never_drops_its_last_waiter() -> None:
    bulkhead = make(permits=1, standing=0.2)
    permit = inside(bulkhead)
    last = waits(bulkhead, 0.0, Ask(deadline=10.0))
    bulkhead.settle(permit, GOOD, 0.9)
    assert isinstance(last.answer, Permit)


def test_a_queue_that_emptied_has_not_been_standing() -> None:
    bulkhead = make(permits=1, queue=10, standing=0.2)
    permit = inside(bulkhead)
    served = waits(bulkhead, 0.0, Ask(deadline=10.0))
    bulkhead.settle(permit, GOOD, 0.1)
    first = waits(bulkhead, 0.15, Ask(deadline=0.65))
    waits(bulkhead, 0.15, Ask(deadline=10.0))
    assert isinstance(served.answer, Permit)
    bulkhead.settle(served.answer, GOOD, 0.19)
    assert isinstance(first.answer, Permit), "aged, but the queue stands for 0.04 s only"


def test_heavy_waiters_hold_the_line_until_they_fit() -> None:
    bulkhead = make(permits=3)
    permits = [inside(bulkhead) for _ in range(3)]
    heavy, light = waits(bulkhead, ask=Ask(weight=2)), waits(bulkhead)
    assert bulkhead.settle(permits[0], GOOD, 1.0) == ()
    assert bulkhead.settle(permits[1], GOOD, 1.0) == (heavy,)
    assert light.answer is None
    assert bulkhead.settle(permits[2], GOOD, 1.0) == (light,)


def test_a_weight_that_never_fits_is_refused_at_once() -> None:
    refusal = refused(make(permits=2), ask=Ask(weight=3))
    assert "a weight of 3 never fits 2 permits" in refusal.detail


def test_work_past_its_deadline_is_overdue_and_its_place_is_not_given_away() -> None:
    bulkhead = make(permits=2, queue=0)
    zombie = inside(bulkhead, 0.0, Ask(deadline=3.0))
    inside(bulkhead, 0.0, Ask(deadline=30.0))
    assert bulkhead.overdue(3.0) == 0
    assert bulkhead.overdue(3.5) == 1
    refused(bulkhead, 1e6)
    assert bulkhead.statistics()["overdue"] == 2, "as of the last moment it was full"
    bulkhead.settle(zombie, NEUTRAL, 1e6)
    assert bulkhead.overdue(1e6) == 1
    inside(bulkhead, 1e6)


def test_a_permit_without_a_deadline_has_an_age_limit() -> None:
    bulkhead = make()
    inside(bulkhead, 0.0)
    assert bulkhead.overdue(299.0) == 0
    assert bulkhead.overdue(301.0) == 1


def test_a_stream_that_has_answered_is_not_overdue() -> None:
    bulkhead = make()
    permit = inside(bulkhead, 0.0, Ask(deadline=3.0))
    permit.answered = 0.1
    assert bulkhead.overdue(1e6) == 0


def test_a_caller_who_left_gives_up_its_place() -> None:
    bulkhead = make(permits=1)
    permit = inside(bulkhead)
    gone, next_one = waits(bulkhead), waits(bulkhead)
    bulkhead.abandon(gone, 1.0)
    assert bulkhead.settle(permit, GOOD, 2.0) == (next_one,)
    assert isinstance(gone.answer, Refused)
    assert bulkhead.statistics()["abandoned"] == 1


def test_a_sleeper_whose_time_is_over_finds_its_refusal() -> None:
    bulkhead = make(permits=1)
    inside(bulkhead)
    waiting = waits(bulkhead, 10.0, Ask(deadline=13.0))
    bulkhead.abandon(waiting, waiting.until)
    assert detail(waiting) == "a waiter of bulkhead 'db' was not served in 0.3 s"
    bulkhead.abandon(waiting, 11.0)
    assert bulkhead.statistics()["expired"] == 1


def test_an_answered_waiter_is_settled_not_abandoned() -> None:
    bulkhead = make(permits=1)
    permit = inside(bulkhead)
    waiting = waits(bulkhead)
    bulkhead.settle(permit, GOOD, 1.0)
    with pytest.raises(RuntimeError, match="holds a permit: settle it"):
        bulkhead.abandon(waiting, 1.0)
    assert isinstance(waiting.answer, Permit)
    bulkhead.settle(waiting.answer, NEUTRAL, 1.0)
    assert bulkhead.statistics()["out"] == 0


def test_a_stranger_can_not_be_abandoned() -> None:
    with pytest.raises(RuntimeError, match="does not wait here"):
        make().abandon(Waiting(ANYONE, 0.0, 1.0), 0.0)


def test_a_double_settle_raises_and_frees_nothing() -> None:
    bulkhead = make()
    permit = inside(bulkhead)
    inside(bulkhead)
    waits(bulkhead)
    assert len(bulkhead.settle(permit, GOOD, 1.0)) == 1
    waits(bulkhead)
    before = bulkhead.statistics()
    with pytest.raises(RuntimeError, match="'db' was settled twice"):
        bulkhead.settle(permit, GOOD, 1.0)
    assert bulkhead.statistics() == before


def test_the_permit_of_another_gate_raises_and_frees_nothing() -> None:
    bulkhead, other = make(), make()
    inside(bulkhead)
    with pytest.raises(RuntimeError, match="never given out by it"):
        bulkhead.settle(inside(other), GOOD, 1.0)
    assert bulkhead.statistics()["free"] == 1


@pytest.mark.parametrize("ask", [Ask(weight=0), Ask(weight=-1), Ask(priority=10), Ask(priority=-1)])
def test_an_ask_out_of_range_says_what_would_be_right(ask: Ask) -> None:
    bulkhead = make(permits=1)
    inside(bulkhead)
    with pytest.raises(ValueError, match="a weight from 1 and a priority from 0 to 9 would be"):
        bulkhead.admit(ask, 0.0)


def test_to_enter_and_to_leave_by_hand_is_to_take_a_place_and_to_give_it_back() -> None:
    bulkhead = make(permits=3)
    assert (bulkhead.kind, bulkhead.bounds) == ("bulkhead", True)
    assert (bulkhead.most, bulkhead.queued, bulkhead.entered, bulkhead.overrun) == (3, 0, 0, 0)
    for _ in range(2):
        bulkhead.entered += 1
    assert bulkhead.out == 2
    permit = inside(bulkhead, 1.0)
    assert (permit.at, permit.generation, permit.weight) == (1.0, 0, 1)
    assert bulkhead.out == 3
    waiting = waits(bulkhead, 1.0)
    named = bulkhead.named(0.5, 3.0)
    assert named.at == 0.5
    assert bulkhead.out == 3
    assert bulkhead.overdue(3.5) == 1
    bulkhead.overrun += 1
    assert bulkhead.overdue(3.5) == 2
    assert bulkhead.settle(named, GOOD, 4.0) == (waiting,)
    assert isinstance(waiting.answer, Permit)
    assert waiting.answer.generation == 0
    bulkhead.most += 1
    assert bulkhead.out == 2
    assert bulkhead.statistics()["settled"] == 2


def test_without_settings_the_defaults_hold() -> None:
    assert Bulkhead("db").statistics() == {
        "permits": 64,
        "free": 64,
        **dict.fromkeys(("out", "overdue", "waiting", "admitted", "settled"), 0),
        **dict.fromkeys(("refused", "expired", "hurried", "abandoned"), 0),
    }


def test_what_is_overdue_is_told_as_of_the_last_moment_it_was_full() -> None:
    bulkhead = make(permits=3)
    inside(bulkhead, 0.0, Ask(deadline=3.0))
    assert bulkhead.statistics()["overdue"] == 0
    inside(bulkhead, 9.0)
    inside(bulkhead, 9.0)
    assert bulkhead.statistics()["overdue"] == 0, "it was not full for anybody yet"
    waits(bulkhead, 9.0)
    assert bulkhead.statistics()["overdue"] == 1


def test_a_permit_of_just_its_greatest_age_is_not_overdue() -> None:
    bulkhead = make()
    inside(bulkhead, 0.0)
    assert bulkhead.overdue(300.0) == 0
    assert bulkhead.overdue(300.5) == 1


def test_a_queue_has_stood_when_it_has_stood_just_as_long() -> None:
    bulkhead = make(permits=1, queue=10, standing=0.5)
    permit = inside(bulkhead, 100.0)
    aged = waits(bulkhead, 100.0, Ask(deadline=108.0))  # patient for 0.8 s, when hurried for 0.4 s
    fresh = waits(bulkhead, 100.25, Ask(deadline=108.25))
    assert bulkhead.settle(permit, GOOD, 100.5) == (aged, fresh)
    assert "has a standing queue" in detail(aged)
    assert isinstance(fresh.answer, Permit)


def test_a_standing_queue_still_serves_whoever_has_not_waited_long() -> None:
    bulkhead = make(permits=1, queue=10, standing=0.5)
    permit = inside(bulkhead, 100.0)
    patient = waits(bulkhead, 100.0, Ask(deadline=116.0))  # for 1.6 s, when hurried for 0.8 s
    waits(bulkhead, 100.25, Ask(deadline=116.0))
    assert bulkhead.settle(permit, GOOD, 100.5) == (patient,)
    assert isinstance(patient.answer, Permit)


def test_a_queue_that_stood_not_so_long_hurries_nobody() -> None:
    bulkhead = make(permits=1, queue=10, standing=0.5)
    permit = inside(bulkhead, 100.0)
    aged = waits(bulkhead, 100.0, Ask(deadline=108.0))
    waits(bulkhead, 100.25, Ask(deadline=108.25))
    assert bulkhead.settle(permit, GOOD, 100.4375) == (aged,)
    assert isinstance(aged.answer, Permit)


def test_a_refusal_tells_how_many_are_out_also_where_a_few_are_free() -> None:
    bulkhead = make(permits=5, queue=0)
    inside(bulkhead, ask=Ask(weight=3))
    refusal = refused(bulkhead, ask=Ask(weight=3))
    assert refusal.detail == "bulkhead 'db' is full: 3 of 5 permits out, 0 waiting"


def test_whoever_leaves_or_is_left_waiting_is_counted_each_time() -> None:
    bulkhead = make(permits=1)
    inside(bulkhead, 0.0)
    for _ in range(2):
        bulkhead.abandon(waits(bulkhead, 0.0), 1.0)
        late = waits(bulkhead, 0.0, Ask(deadline=10.0))
        bulkhead.abandon(late, 1.0)
        assert detail(late) == "a waiter of bulkhead 'db' was not served in 1 s"
    figures = bulkhead.statistics()
    assert (figures["abandoned"], figures["expired"]) == (2, 2)


@pytest.mark.parametrize(("patience", "until"), [(0.1, inf), (0.0, 5.0)])
def test_who_has_no_deadline_waits_for_ever_or_not_at_all(patience: float, until: float) -> None:
    bulkhead = Bulkhead("mail", BulkheadSettings(permits=1, patience=patience))
    bulkhead.admit(Ask(), 5.0)
    waiting = bulkhead.admit(Ask(), 5.0)
    assert isinstance(waiting, Waiting)
    assert waiting.until == until
