"""What a frame does to its breaker and its bulkhead by hand is what asking them would have done.

The same history of calls goes through frames that may pass the gates by hand (of calls, and of
functions), through the same frame where they have to be asked, and through a plain function that
asks and tells as the protocol of gates says it; and through a policy. After each step all gates
stand alike.
"""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear import BudgetSettings, HurrySettings, Policy
from switchgear.core.ambient import within
from switchgear.core.frames import Frame, Terms, Timeout
from switchgear.core.kit import Kit
from switchgear.core.permits import wake
from switchgear.core.sweep import sweep_of
from switchgear.core.timeout import expired, overdue
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Ask, Gate, Permit, Refused, Waiting
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, NEUTRAL_AGAIN, Verdict, judge, worse
from switchgear.testing import virtual
from switchgear.testing.virtual import clock

FULL = 2.0
BREAKER = BreakerSettings(
    calls=4, consecutive=3, slow_after=0.3, open_for=0.7, jitter=0.0, probes=2, probe_lease=0.5,
    ramp=0.5,
)  # fmt: skip
# One that is well again while calls of the time before are still under way, and none of them slow.
QUICK = BreakerSettings(
    calls=4, consecutive=3, slow_after=1.9, open_for=0.2, jitter=0.0, probes=1, ramp=0.0
)
BULKHEAD = BulkheadSettings(permits=2, queue=2, patience=0.5)
VALUES = {"good": GOOD, "bad value": BAD, "neutral value": NEUTRAL}
FAULTS: dict[str, Callable[[], Exception]] = {
    "reset": lambda: ConnectionResetError("reset"),
    "missing": lambda: Fault(Code.NOT_FOUND),
    "refused": lambda: Fault(Code.UNAVAILABLE, refusal=Refusal.OPEN, effect=Effect.NONE),
}


@dataclass(frozen=True)
class Act:
    """One call: after how many slots it comes, what it does, and when its caller leaves."""

    slot: int
    takes: float
    end: str
    deadline: float = FULL
    leaves: float | None = None
    clings: float = 0.0  # seconds for which it ignores being called off


# All alarms are apart by a tick of the sweep at least: those of one tick ring in no certain order.
# So call number n comes 20 n ms after a multiple of 0.4 s, and the rest keeps to that grid or, by
# odd milliseconds, off it.
acts = st.builds(
    Act,
    st.integers(0, 5),
    st.sampled_from([0.0, 0.031, 0.331, 1.133, 9.0]),
    st.sampled_from(["good", "good", "good", *VALUES, *FAULTS]),
    st.sampled_from([FULL, FULL, 0.8, 1.2]),
    st.sampled_from([None, None, None, 0.013, 0.217, 0.913]),
    st.sampled_from([0.0, 0.0, 0.0435, 0.3475]),  # it ends when nobody leaves
)


class AskedBreaker(Breaker):
    """A breaker that no frame passes by hand: it is of another kind."""


class AskedBulkhead(Bulkhead):
    """A bulkhead that no frame passes by hand."""


HOWS = ("by hand", "by hand, a function", "by hand, a policy", "by hand, a policy by express",
        "asked", "asked, a function")  # fmt: skip


async def work(act: Act) -> str:
    """Do what the act says."""
    try:
        if act.takes:
            await asyncio.sleep(act.takes)
    except CancelledError:
        if not act.clings:
            raise
        await asyncio.sleep(act.clings)
    if act.end in FAULTS:
        raise FAULTS[act.end]()
    return act.end


def verdict_of(value: Any) -> Verdict:
    return VALUES[value]


class Told:
    """One telling of a history."""

    def __init__(
        self, how: str, history: list[Act], *, watched: bool, settings: BreakerSettings
    ) -> None:
        self.how = how
        self.history = history
        self.watched = watched
        self.timeout = Timeout(FULL, limit=FULL, share=1.0)
        # The express way is for policies that have everything: here it is there, and does nothing.
        nothing: dict[str, Any] = {"retry": None, "hurry": None}
        if how.endswith("express"):
            nothing = {
                "budget": BudgetSettings(ratio=0.0, floor=0.0),
                "hurry": HurrySettings(samples=1_000_000),
            }
        self.policy = Policy(
            "x", deadline=FULL, breaker=settings, bulkhead=BULKHEAD, judge=verdict_of, clock=clock,
            random=lambda: 0.5, **nothing,
        )  # fmt: skip
        kinds = (Breaker, Bulkhead) if how.startswith("by hand") else (AskedBreaker, AskedBulkhead)
        self.breaker = kinds[0]("x", settings, jitter=lambda: 0.5)
        self.bulkhead = kinds[1]("x", BULKHEAD)
        if "policy" in how:
            self.breaker, self.bulkhead = (
                self.policy._made[part] for part in ("breaker", "bulkhead")
            )
        self.frame = Frame(
            Kit("x", judge=verdict_of, clock=clock),
            lambda call: work(call.payload),
            timeout=self.timeout,
            gates=(self.breaker, self.bulkhead),
            terms=Terms(FULL, repeatable=True) if how.endswith("function") else None,
        )
        self.seen: list[Any] = []

    async def call(self, number: int, act: Act) -> None:
        await asyncio.sleep(0.4 * act.slot + 0.02 * number)
        task = asyncio.ensure_future(self.run(act))
        if act.leaves is not None:
            asyncio.get_running_loop().call_later(act.leaves, task.cancel)
        try:
            self.seen.append((number, await task))
        except (Exception, CancelledError) as error:
            what = (error.code, error.refusal) if isinstance(error, Fault) else type(error)
            self.seen.append((number, what))

    async def run(self, act: Act) -> Any:
        if self.how == "plainly":
            return await self.plainly(act)
        if self.how.endswith("function"):
            with within(act.deadline, clock=clock):
                return await self.frame.run(None, work, (act,))
        if "policy" in self.how:
            with within(act.deadline, clock=clock):
                return await self.policy.call(work, act)
        return await self.frame.run(Call(act, clock() + act.deadline, repeatable=True))

    def late(self, allowed: float, whole: float) -> tuple[Fault, Verdict]:
        fault = overdue("x", self.timeout, allowed, whole, repeatable=True)
        fair = allowed >= self.timeout.fair(repeatable=True)
        return fault, judge(fault) if fair else NEUTRAL_AGAIN

    async def plainly(self, act: Act) -> Any:
        """Ask every gate, time the work, and tell every gate."""
        loop = asyncio.get_running_loop()
        sweep = sweep_of(loop, clock)
        until, whole = clock() + act.deadline, act.deadline
        held: list[tuple[Gate, Permit]] = []
        limit, alarm = until, Alarm()
        try:
            for gate in (self.breaker, self.bulkhead):
                got: Any = gate.admit(Ask(deadline=until), clock())
                if isinstance(got, Waiting):
                    got = await self.queue(gate, got)
                    for _, permit in held:
                        permit.at = clock()
                if isinstance(got, Refused):
                    raise got.fault()
                held.append((gate, got))
            now = clock()
            if until <= now:
                raise expired("x", until - now)
            limit = now + self.timeout.allow(until - now, repeatable=True)
            alarm.rings = asyncio.current_task()
            slot = sweep.arm(limit, alarm)
            try:
                value = await work(act)
            finally:
                slot.discard(alarm)
                if alarm.rang:
                    alarm.rings.uncancel()
            verdict = verdict_of(value)
            if alarm.rang:
                verdict = worse(verdict, self.late(limit - now, whole)[1])
            self.tell(held, verdict)
            return value
        except BaseException as error:
            if not alarm.rang:
                self.tell(held, judge(error))
                raise
            fault, verdict = self.late(limit - now, whole)
            self.tell(held, verdict)
            left = alarm.rings.cancelling()
            if left or isinstance(error, Fault):
                raise
            raise fault from None

    async def queue(self, gate: Gate, waiting: Waiting) -> Any:
        waiting.wake = asyncio.get_running_loop().create_future()
        bell = Alarm()
        bell.wakes = waiting.wake
        slot = sweep_of(asyncio.get_running_loop(), clock).arm(waiting.until, bell)
        try:
            await waiting.wake
        except CancelledError:
            if isinstance(waiting.answer, Permit):
                wake(gate.settle(waiting.answer, NEUTRAL, clock()))
            elif waiting.answer is None:
                gate.abandon(waiting, clock())
            raise
        finally:
            slot.discard(bell)
        if waiting.answer is None:
            gate.abandon(waiting, clock())
        return waiting.answer

    def tell(self, held: list[tuple[Gate, Permit]], verdict: Verdict) -> None:
        for gate, permit in reversed(held):
            wake(gate.settle(permit, verdict, clock()))

    def look(self) -> None:
        inside = self.bulkhead.statistics()
        del inside["overdue"]  # plain nesting knows of no zombies
        self.seen.append((self.breaker.statistics(), inside))

    async def tell_all(self) -> list[Any]:
        calls = [
            asyncio.ensure_future(self.call(number, act)) for number, act in enumerate(self.history)
        ]
        if self.watched:
            await asyncio.sleep(0.0053)
            while not all(one.done() for one in calls):
                self.look()
                await asyncio.sleep(0.05)
        await asyncio.gather(*calls)
        self.look()
        assert self.bulkhead.out == self.bulkhead.overrun == 0
        assert self.bulkhead.free == BULKHEAD.permits
        assert sweep_of(asyncio.get_running_loop(), clock).armed == 0
        return self.seen


class Alarm:
    """Calls a task off, or wakes a sleeper."""

    rings: Any = None
    wakes: Any = None
    rang = False

    def ring(self) -> None:
        if self.wakes is None:
            self.rang = True
            self.rings.cancel()
        elif not self.wakes.done():
            self.wakes.set_result(None)


def act(slot: int, takes: float = 0.0, end: str = "good", **more: Any) -> Act:
    return Act(slot, takes, end, **more)


@pytest.mark.pure
@settings(max_examples=250, deadline=None)
@given(st.lists(acts, min_size=1, max_size=10), st.booleans(), st.sampled_from([BREAKER, QUICK]))
@example(
    [act(0, 1.133), act(0, 1.133), act(0), act(0, leaves=0.217), act(0), act(3)], True, BREAKER
)
@example([act(0, end="reset")] * 3 + [act(2), act(2, 1.133), act(3), act(4)], True, BREAKER)
@example(
    [act(0, 9.0, clings=0.3475), act(0, 9.0, leaves=0.913), act(0, 0.331), act(1)], False, BREAKER
)
@example([act(0, 0.331)] * 4 + [act(1)], True, BREAKER)
@example([act(slot, 0.331) for slot in range(5)], False, BREAKER)  # slow ones, amid good ones
@example([*[act(0, end="reset")] * 3, act(0), act(2), act(4)], False, BREAKER)  # one while open
@example(  # a good one of the time before the breaker opened, amid good ones of the time after
    [act(0, 1.133), *[act(0, end="reset")] * 3, act(1), act(2, 0.1), act(4)], False, QUICK
)
def test_by_hand_and_by_asking_are_the_same(
    history: list[Act], watched: bool, settings: BreakerSettings
) -> None:
    def told(how: str) -> list[Any]:
        return virtual.run(Told(how, history, watched=watched, settings=settings).tell_all())

    plainly = told("plainly")
    for how in HOWS:
        assert told(how) == plainly, how
