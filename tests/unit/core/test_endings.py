"""Answers that stream: settled when they end, once, by the worse of head and end."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from switchgear.core.endings import _KNOWN, judged, streams
from switchgear.core.frames import Frame, Kit, Timeout
from switchgear.core.handler import Ending, Handler
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.core.policy import Policy
from switchgear.core.sweep import sweep_of
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, Health, Verdict
from switchgear.testing.virtual import START, clock
from tests.support.core import Door, Plain, Stream, call, retry

pytestmark = pytest.mark.virtual


def by_status(answer: Stream) -> Verdict:
    return BAD_AGAIN if answer.status == 503 else GOOD


def framed(answer: Any, *doors: Any, events: list[Any] | None = None, **parts: Any) -> Any:
    async def give(call: Call[Any]) -> Any:
        await asyncio.sleep(0.1)
        return answer

    kit = Kit("mail", None if events is None else events.append, by_status, clock)
    run: Handler[Any, Any] = Frame(kit, give, gates=doors, **parts).run
    return run


@pytest.mark.parametrize(
    ("status", "end", "joined"),
    [
        (200, GOOD, GOOD),
        (200, BAD, BAD),
        (200, NEUTRAL, NEUTRAL),
        (503, GOOD, BAD_AGAIN),
        (503, NEUTRAL, BAD_AGAIN),
    ],
)
async def test_a_stream_is_settled_at_its_end_with_the_worse_verdict(
    status: int, end: Verdict, joined: Verdict
) -> None:
    inner, outer, answer, events = Door("inner"), Door("outer"), Stream(status), list[Any]()
    parts = {"retry": retry(Plain([])), "outer": [outer], "timeout": Timeout(3.0)}
    run = framed(answer, inner, events=events, **parts)
    assert await run(call(START + 3)) is answer
    assert (inner.verdicts, outer.verdicts, events) == ([], [], [])
    await asyncio.sleep(60.0)  # the deadline bounds the head; what streams on outlives it
    answer.end(end)
    answer.end(GOOD)
    assert (inner.verdicts, outer.verdicts) == ([joined], [joined])
    assert [type(event) for event in events] == [AttemptEnded, CallEnded]
    assert [event.verdict for event in events] == [joined, joined]
    assert events[0].elapsed == pytest.approx(60.1)


async def test_nothing_is_armed_while_a_stream_goes_on() -> None:
    answer = Stream()
    await framed(answer, Door(), timeout=Timeout(3.0))(call(START + 3))
    assert sweep_of(asyncio.get_running_loop(), clock).armed == 0
    answer.abandon()


async def test_an_abandoned_answer_is_neutral() -> None:
    door, answer = Door(), Stream()
    await framed(answer, door)(call(START + 3))
    answer.abandon()
    assert door.verdicts == [NEUTRAL]


async def test_an_answer_that_has_ended_already_is_settled_at_return() -> None:
    door, answer = Door(), Stream()
    answer.end(BAD)
    assert await framed(answer, door)(call(START + 3)) is answer
    assert door.verdicts == [BAD]


async def test_an_answer_that_tells_its_end_twice_is_settled_once() -> None:
    class Twice(Stream):
        def on_end(self, done: Callable[[Verdict], None], /) -> None:
            done(GOOD)
            done(BAD)

    door = Door()
    await framed(Twice(), door)(call(START + 3))
    assert door.verdicts == [GOOD]


@pytest.mark.parametrize("registers_first", [False, True])
async def test_on_end_raising_settles_abandons_and_raises(registers_first: bool) -> None:
    class Broken(Stream):
        def on_end(self, done: Callable[[Verdict], None], /) -> None:
            if registers_first:
                super().on_end(done)
            raise ZeroDivisionError("on_end is broken")

    inner, outer, answer = Door("inner"), Door("outer"), Broken()
    run = framed(answer, inner, retry=retry(Plain([])), outer=[outer])
    with pytest.raises(ZeroDivisionError):
        await run(call(START + 3))
    assert answer.ended == NEUTRAL
    assert (inner.verdicts, outer.verdicts) == ([BAD], [BAD])


async def test_on_end_raising_on_an_answer_to_be_replaced_leaks_no_permit() -> None:
    class Broken(Stream):
        def on_end(self, done: Callable[[Verdict], None], /) -> None:
            raise ZeroDivisionError("on_end is broken")

    inner, outer = Door("inner"), Door("outer")
    run = framed(Broken(503), inner, retry=retry(Plain([0.1])), outer=[outer])
    with pytest.raises(ZeroDivisionError):
        await run(call(START + 3, repeatable=True))
    assert (inner.verdicts, outer.verdicts) == ([BAD_AGAIN], [BAD])


async def test_abandon_raising_on_an_answer_to_be_replaced_leaks_no_permit() -> None:
    class Stuck(Stream):
        def abandon(self) -> None:
            raise ZeroDivisionError("abandon is broken")

    inner, outer = Door("inner"), Door("outer")
    run = framed(Stuck(503), inner, retry=retry(Plain([0.1])), outer=[outer])
    with pytest.raises(ZeroDivisionError):
        await run(call(START + 3, repeatable=True))
    assert (inner.verdicts, outer.verdicts) == ([BAD_AGAIN], [BAD])


async def test_a_judge_that_breaks_leaves_no_answer_streaming() -> None:
    def broken(answer: Any) -> Verdict:
        raise ZeroDivisionError

    async def give(call: Call[Any]) -> Any:
        return answer

    for answer in (Stream(), "plain"):
        door = Door()
        with pytest.raises(ZeroDivisionError):
            await Frame(Kit("x", None, broken, clock), give, gates=[door]).run(call(START + 3))
        assert door.verdicts == [BAD]
        assert not isinstance(answer, Stream) or answer.ended == NEUTRAL


async def test_nested_frames_each_settle_at_the_one_end() -> None:
    inner, outer, answer = Door("inner"), Door("outer"), Stream()
    nested = framed(answer, inner)
    kit = Kit("outer", None, None, clock)
    assert await Frame(kit, nested, gates=[outer]).run(call(START + 3)) is answer
    assert (inner.verdicts, outer.verdicts) == ([], [])
    answer.end(BAD)
    assert (inner.verdicts, outer.verdicts) == ([BAD], [BAD])


async def test_a_bulkhead_counts_a_stream_until_its_end_and_then_lets_the_next_in() -> None:
    bulkhead = Bulkhead("db", BulkheadSettings(permits=1, queue=1))
    answer = Stream()
    run = framed(answer, bulkhead)
    await run(call(START + 3))
    waiting = asyncio.create_task(run(call(clock() + 30)))
    await asyncio.sleep(0.05)
    assert bulkhead.statistics()["out"] == 1
    assert bulkhead.statistics()["waiting"] == 1
    answer.end(GOOD)
    assert await waiting is answer  # it has ended already: its permit came home at once
    assert bulkhead.statistics()["out"] == 0


async def test_slowness_is_measured_to_the_head_of_a_stream() -> None:
    settings = BreakerSettings(calls=1, slow=0.5, slow_after=1.0)
    breaker = Breaker("db", settings, jitter=lambda: 0.5)
    answer = Stream()
    await framed(answer, breaker)(call(START + 3))
    await asyncio.sleep(60.0)
    answer.end(GOOD)
    assert breaker.state.value == "closed"
    assert breaker.statistics()["out"] == 0


def test_what_streams_is_told_by_its_type_and_remembered_in_bounds() -> None:
    assert isinstance(Stream(), Ending)
    assert streams(Stream())
    assert not streams("plain")
    assert not streams(None)
    for number in range(3000):
        assert not streams(type(f"Made{number}", (), {})())
    assert streams(Stream())
    assert len(_KNOWN) <= 1025


class Lazy:
    """As Django's lazy objects: it looks like what it would be, if only it could be had."""

    @property
    def __class__(self) -> Any:
        raise LookupError("it cannot be had")

    @__class__.setter
    def __class__(self, kind: Any) -> None: ...


def dead() -> Any:
    return weakref.proxy(Lazy())


@pytest.mark.parametrize("rate", [None, BucketSettings(rate=100.0, burst=10)])
@pytest.mark.parametrize("make", [Lazy, dead])
async def test_an_answer_is_returned_whatever_it_pretends_to_be(
    make: Callable[[], Any], rate: BucketSettings | None
) -> None:
    made = make()

    async def give() -> Any:
        return made

    policy = Policy("it", rate=rate, clock=clock)
    assert await policy.call(give) is made
    assert policy.statistics()["bulkhead"]["out"] == 0
    assert policy.statistics()["calls"]["good"] == 1


async def test_a_verdict_that_is_good_is_the_good_one() -> None:
    assert judged(lambda _: Verdict(Health.GOOD), 1) is GOOD
    assert judged(lambda _: Verdict(Health.GOOD, again=True), 1) is not GOOD


async def test_who_judges_by_a_verdict_of_its_own_still_learns_how_long_it_takes() -> None:
    async def work() -> None:
        await asyncio.sleep(0.05)

    policy = Policy("it", judge=lambda _: Verdict(Health.GOOD), deadline=1.0, clock=clock)
    for _ in range(50):
        await policy.call(work)
    assert float(policy.statistics()["hurry"]["usual"]) == pytest.approx(0.05, rel=0.2)
