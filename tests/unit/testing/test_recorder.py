"""The recorder: every event in its order, and answers to the questions tests ask."""

from typing import Any

import pytest

from switchgear import Policy
from switchgear.core.observe import AttemptEnded, CallEnded, Coalesced, Hedging, Refusing
from switchgear.policy.verdict import GOOD, Health
from switchgear.testing import EventRecorder, clock

EVENTS = [Hedging("mail", 0.1), Coalesced("mail"), Hedging("search", 0.2), Hedging("mail", 0.3)]


def recorded() -> EventRecorder:
    recorder = EventRecorder()
    for event in EVENTS:
        recorder(event)
    return recorder


def test_events_are_kept_in_their_order() -> None:
    recorder = recorded()
    assert recorder.events == list(recorder) == EVENTS
    recorder.clear()
    assert recorder.events == []


def test_an_empty_one_is_an_observer_all_the_same() -> None:
    assert bool(EventRecorder())  # `observe or something` must not pass it over


def test_events_are_found_by_kind_and_fields() -> None:
    recorder = recorded()
    assert recorder.of(Hedging) == [EVENTS[0], EVENTS[2], EVENTS[3]]
    assert recorder.of(Hedging, name="mail") == [EVENTS[0], EVENTS[3]]
    assert recorder.of(Hedging, name="mail", after=0.3) == [EVENTS[3]]
    assert recorder.count(Hedging, name="mail") == 2
    assert recorder.count(CallEnded) == 0
    assert recorder.one(Coalesced) is EVENTS[1]


def test_a_field_that_does_not_exist_is_no_silent_nothing() -> None:
    with pytest.raises(AttributeError, match="named"):
        recorded().count(Hedging, named="mail")


@pytest.mark.parametrize("recorder", [EventRecorder(), recorded()], ids=["empty", "recorded"])
def test_a_field_is_looked_for_in_the_kind_and_not_in_what_was_recorded(
    recorder: EventRecorder,
) -> None:
    with pytest.raises(AttributeError, match=r"^Refusing has no field 'gat': it has name, gate, d"):
        recorder.count(Refusing, gat="breaker")  # "== 0" would hold for ever
    with pytest.raises(AttributeError, match="Hedging has no field 'named'"):
        recorder.of(Hedging, name="nobody's", named="mail")
    assert recorder.count(Refusing, gate="breaker") == 0


@pytest.mark.parametrize("recorder", [EventRecorder(), recorded()], ids=["empty", "recorded"])
def test_what_is_no_kind_is_no_silent_nothing(recorder: EventRecorder) -> None:
    wrong: Any = "Hedging"
    for ask in (recorder.of, recorder.count, recorder.one):
        with pytest.raises(TypeError, match="must be a type"):
            ask(wrong)


def test_a_kind_of_ones_own_has_any_field() -> None:
    class Told:
        """An event of somebody else's."""

        words = "hello"

    recorder = EventRecorder()
    recorder(Told())
    assert recorder.count(Told, words="hello") == 1


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (CallEnded, {}, "0 of CallEnded in EventRecorder"),
        (Hedging, {"name": "mail"}, r"2 of Hedging \{'name': 'mail'\}"),
    ],
)
def test_one_of_none_or_many_tells_all_there_was(
    kind: type, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(AssertionError, match=words) as caught:
        recorded().one(kind, **fields)
    assert "\n  Coalesced(name='mail')\n  Hedging(name='search', after=0.2)" in str(caught.value)


@pytest.mark.virtual
async def test_it_observes_a_policy() -> None:
    async def work() -> int:
        return 1

    recorder = EventRecorder()
    assert await Policy("mail", observe=recorder, clock=clock).call(work) == 1
    assert recorder.one(AttemptEnded, name="mail", attempt=1).verdict.health is Health.GOOD
    assert recorder.one(CallEnded).verdict == GOOD
