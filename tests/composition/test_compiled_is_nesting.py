"""What is compiled into frames does what plain nesting would do, for any parts and any story."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.core.sweep import sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Refused
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, Verdict
from switchgear.testing import virtual
from switchgear.testing.virtual import clock
from tests.support.core import Door, Plain, Stream, retry
from tests.support.nested import nest

FAULTS: dict[str, Callable[[], BaseException]] = {
    "reset": lambda: ConnectionResetError("reset"),
    "refused": lambda: ConnectionRefusedError("refused"),
    "down": lambda: Fault(Code.UNAVAILABLE),
    "missing": lambda: Fault(Code.NOT_FOUND),
    "not done": lambda: Fault(Code.UNAVAILABLE, effect=Effect.NONE),
    "far away": lambda: Fault(Code.UNAVAILABLE, hops=("orders",)),
    "open": lambda: Fault(Code.UNAVAILABLE, refusal=Refusal.OPEN, effect=Effect.NONE),
    "defect": lambda: ValueError("defect"),
    "group": lambda: ExceptionGroup("both", [ConnectionResetError("a"), Fault(Code.ABORTED)]),
    "cancelled": CancelledError,
}
ENDS = {"good": GOOD, "bad": BAD, "neutral": NEUTRAL}


@dataclass(frozen=True)
class Act:
    """What the dependency does in one attempt: it takes its time, and then this."""

    takes: float
    fault: str = ""
    status: int = 200
    streams: str = ""  # and ends so, a second after its head


@dataclass(frozen=True)
class Story:
    acts: tuple[Act, ...]
    refusals: tuple[bool, ...]  # of every gate, in turn
    waits: tuple[float, ...]
    budget: int
    repeatable: bool
    deadline: float
    leaves: float | None  # when the caller leaves
    places: tuple[str, ...]


# Instants are apart by far more than a tick of the sweep, by which alarms may ring late.
takes = st.sampled_from([0.0, 0.0, 0.3, 0.31, 40.0])
acts = st.builds(
    Act,
    takes,
    st.sampled_from(["", "", "", *FAULTS]),
    st.sampled_from([200, 200, 500, 503]),
    st.sampled_from(["", "", *ENDS]),
)
places = st.lists(
    st.sampled_from(
        ["fallback", "service", "service", "retry", "balance", "breaker", "bulkhead", "bulkhead",
         "timeout", "drill", "drill gate"]
    ),
    max_size=8,
).filter(lambda some: max(some.count("retry"), some.count("timeout")) <= 1)  # fmt: skip
stories = st.builds(
    Story,
    st.lists(acts, min_size=1, max_size=4).map(tuple),
    st.lists(st.booleans() | st.just(False), max_size=8).map(tuple),
    # No sum of waits and works is a deadline: where it is, rounding decides.
    st.lists(st.sampled_from([0.053, 0.507]), max_size=3).map(tuple),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([3.0, 0.9, 11.0]),
    st.none() | st.sampled_from([0.17, 1.23]),
    places.map(tuple),
)


class Run:
    """One telling of a story, and all that was seen of it."""

    def __init__(self, story: Story, *, compiled: bool) -> None:
        self.story = story
        self.compiled = compiled
        self.seen: list[Any] = []
        self.events: list[Any] = []
        self.doors: list[Door] = []
        self.refusals = list(story.refusals)
        self.acts = list(story.acts)
        self.plain = Plain(story.waits, story.budget)

    def door(self, name: str) -> Door:
        run = self

        class Scripted(Door):
            def admit(self, ask: Any, now: float) -> Any:
                if run.refusals and run.refusals.pop(0):
                    self.answers = [Refused(Refusal.FULL, f"{name} is full")]
                return super().admit(ask, now)

        self.doors.append(Scripted(name, log=self.seen))
        return self.doors[-1]

    def layer(self, name: str) -> Any:
        def wrap(inner: Handler[Any, Any]) -> Handler[Any, Any]:
            async def layer(call: Call[Any]) -> Any:
                self.seen.append((name, "in", call.attempt))
                try:
                    return await inner(call)
                finally:
                    self.seen.append((name, "out"))

            return layer

        return wrap

    def parts(self) -> list[Part]:
        made: list[Part] = []
        for number, place in enumerate(self.story.places):
            name = f"{place} {number}"
            if place == "timeout":
                made.append(Part(Place.TIMEOUT, Timeout(3.0)))
            elif place == "retry":
                made.append(Part(Place.RETRY, retry(self.plain)))
            elif place in ("fallback", "balance", "drill"):
                made.append(Part(Place[place.upper()], self.layer(name)))
            else:
                where = {"service": Place.SERVICE_BREAKER, "drill gate": Place.DRILL}
                made.append(Part(where.get(place) or Place[place.upper()], self.door(name)))
        return made

    async def dependency(self, call: Call[Any]) -> Any:
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        self.seen.append(("attempt", call.attempt))
        if act.takes:
            await asyncio.sleep(act.takes)
        if act.fault:
            raise FAULTS[act.fault]()
        if not act.streams:
            return act.status
        answer = Stream(act.status)
        asyncio.get_running_loop().call_later(1.0, answer.end, ENDS[act.streams])
        return answer

    async def tell(self) -> list[Any]:
        story = self.story
        if self.compiled:
            observe = self.events.append
            made = stack(
                "x", OUTBOUND, self.parts(), self.dependency, observe=observe, judge=by_status,
                clock=clock,
            )  # fmt: skip
            run = made.run
        else:
            run = nest(OUTBOUND, self.parts(), self.dependency, by_status, clock)
        given: Call[Any] = Call(None, clock() + story.deadline, repeatable=story.repeatable)
        task = asyncio.create_task(_await(run, given))
        if story.leaves is not None:
            asyncio.get_running_loop().call_later(story.leaves, task.cancel)
        try:
            answer = await task
            self.seen.append(("answer", answer.status if isinstance(answer, Stream) else answer))
        except BaseException as error:
            self.seen.append(("raised", _told(error)))
        await asyncio.sleep(2.0)
        self.seen.append(("spent", self.plain.deposits, self.plain.withdrawals))
        for door in self.doors:
            assert door.statistics()["out"] == 0, f"{door.name} misses permits"
        assert sweep_of(asyncio.get_running_loop(), clock).armed == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return self.seen


async def _await(run: Handler[Any, Any], given: Call[Any]) -> Any:
    return await run(given)


def _told(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, Fault):
        return (error.code, error.refusal, error.effect)
    return (type(error).__name__,)


def by_status(answer: Any) -> Verdict:
    status = answer.status if isinstance(answer, Stream) else answer
    return BAD_AGAIN if status == 503 else BAD if status == 500 else GOOD


def _story(*acts: Act, places: Sequence[str], **fields: Any) -> Story:
    given = {"refusals": (), "waits": (0.05,), "budget": 3, "repeatable": True, "deadline": 3.0}
    return Story(acts, places=tuple(places), **{"leaves": None, **given, **fields})


FULL = ["service", "retry", "breaker", "bulkhead", "timeout"]


@settings(max_examples=200, deadline=None)
@given(stories)
@example(_story(Act(40.0), places=FULL))
@example(_story(Act(0.3, status=503, streams="good"), Act(0.3, streams="bad"), places=FULL))
@example(_story(Act(0.3, "reset"), Act(0.0), places=["retry", "drill gate", "timeout", "service"]))
@example(_story(Act(40.0), places=["timeout", "drill gate", "breaker"], repeatable=False))
@example(_story(Act(0.0, status=503), places=["retry"], waits=(0.507,), leaves=0.17))
@example(_story(Act(40.0), places=["retry", "timeout"], waits=(0.05, 0.05)))
@example(_story(Act(40.0), places=["retry", "balance", "timeout"], waits=(0.05, 0.05)))
def test_frames_do_what_nesting_would_do(story: Story) -> None:
    told = Run(story, compiled=True)
    seen = virtual.run(told.tell())
    assert seen == virtual.run(Run(story, compiled=False).tell())
    gates = {"service", "breaker", "bulkhead", "timeout", "drill gate"} & set(story.places)
    attempts = [event for event in told.events if isinstance(event, AttemptEnded)]
    calls = [event for event in told.events if isinstance(event, CallEnded)]
    assert len(calls) <= 1
    if story.places == ("retry",):
        made = sum(entry[0] == "attempt" for entry in told.seen)
        assert (len(attempts), len(calls)) == (made, 1)
        # Who left amid a wait had drawn on the budget for an attempt that was never made.
        assert made in (told.plain.withdrawals, 1 + told.plain.withdrawals)
        assert made == 1 + told.plain.withdrawals or story.leaves is not None
    elif not {"retry", "balance", "fallback", "drill"} & set(story.places):
        assert len(attempts) == bool(gates), "an attempt is told once, by however many frames"
