"""Frames: the coroutines that a stack is compiled to. The order of parts is `stack.py`'s affair.

`attempt` runs one attempt behind its gates and under its timeout, `retried` runs attempts
behind the gates that stand outside the retry. A permit comes home when the work has really
ended: at return, or for an answer that streams at its end.
"""

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final, NamedTuple

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.core.drivers import Work, working
from switchgear.core.handler import Ending, Handler, Judge
from switchgear.core.observe import AttemptEnded, CallEnded, Observer, Refusing
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Ask, Gate, Permit, Refused, Schedule, Waiting
from switchgear.policy.verdict import GOOD, NEUTRAL, Verdict, effect_of, judge, worse

__all__ = ["Kit", "Retry", "Timeout", "attempt", "retried"]

FAIR: Final = 0.8  # a timeout counts against the dependency from this share of its full time


class Timeout(msgspec.Struct, frozen=True):
    """How long one attempt may take, in seconds.

    A repeatable call gets `share` of what remains, at most `limit`; another gets all that
    remains. `full` is the deadline that the route is configured with: an attempt cut short
    because the caller left far less says nothing about the dependency.
    """

    full: float
    limit: float = 1.0
    share: float = 0.5

    def allow(self, remaining: float, *, repeatable: bool) -> float:
        """Return the seconds one attempt gets out of `remaining`."""
        return min(remaining * self.share, self.limit) if repeatable else remaining

    def fair(self, *, repeatable: bool) -> float:
        """Return the seconds from which a timeout is the dependency's own fault."""
        return FAIR * self.allow(self.full, repeatable=repeatable)


class Retry(NamedTuple):
    """The schedule of further attempts, and the budget they are paid from."""

    schedule: Schedule
    deposit: Callable[[float], None]
    withdraw: Callable[[float], bool]


class Kit(NamedTuple):
    """What every frame of one stack shares."""

    name: str
    observe: Observer | None = None
    judge: Judge | None = None
    clock: Clock = FINE

    def sweep(self) -> Sweep:
        """Return the sweep of the running loop."""
        return sweep_of(get_running_loop(), self.clock)


Held = list[tuple[Gate, Permit]]


class _Cut:
    """The alarm of one attempt: calls its work off."""

    __slots__ = ("rang", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.rang = False

    def ring(self) -> None:
        self.rang = True
        self.work.cancel()


class _Bell:
    """The alarm of one waiter in a gate's queue."""

    __slots__ = ("future",)

    def __init__(self, future: "Future[None]") -> None:
        self.future = future

    def ring(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def settle(held: Held, verdict: Verdict, now: float) -> None:
    """Give every permit back, the innermost first, and wake whom that let in."""
    while held:
        gate, permit = held.pop()
        for waiting in gate.settle(permit, verdict, now):
            wake: Future[None] | None = waiting.wake
            if wake is not None and not wake.done():
                wake.set_result(None)


async def _queue(kit: Kit, gate: Gate, waiting: Waiting) -> Permit:
    """Sleep in a gate's queue until it answers or the place is too old."""
    waiting.wake = get_running_loop().create_future()
    bell = _Bell(waiting.wake)
    slot = kit.sweep().arm(waiting.until, bell)
    try:
        await waiting.wake
    except CancelledError:
        if isinstance(waiting.answer, Permit):  # let in and called off in the same turn
            settle([(gate, waiting.answer)], NEUTRAL, kit.clock())
        elif waiting.answer is None:
            gate.abandon(waiting, kit.clock())
        raise
    finally:
        slot.discard(bell)
        waiting.wake = None
    answer = waiting.answer
    if isinstance(answer, Permit):
        return answer
    if answer is None:
        now = kit.clock()
        gate.abandon(waiting, now)
        waited = now - waiting.since
        answer = Refused(Refusal.FULL, f"{gate.name} had no room for {waited:.3f} s: queue is slow")
    raise _refusal(kit, gate, answer)


def _refusal(kit: Kit, gate: Gate, refused: Refused) -> Fault:
    if kit.observe is not None:
        kit.observe(Refusing(kit.name, gate.name, refused.detail))
    return refused.fault()


_ENDINGS: dict[type, bool] = {}


def ends(answer: object) -> bool:
    """Say whether the work of `answer` goes on after it was returned; remembered by its type."""
    kind = answer.__class__
    known = _ENDINGS.get(kind)
    if known is None:
        if len(_ENDINGS) > 1024:  # types made at run time must not pile up
            _ENDINGS.clear()
        known = _ENDINGS[kind] = issubclass(kind, Ending)
    return known


def _expired(kit: Kit, remaining: float) -> Fault:
    return Fault(
        Code.DEADLINE_EXCEEDED,
        f"{kit.name}: the deadline had passed {-remaining:.3f} s before the work began",
        effect=Effect.NONE,
        refusal=Refusal.HURRIED,
        origin=kit.name,
    )


def _overdue(kit: Kit, timeout: Timeout, allowed: float, *, repeatable: bool) -> Fault:
    fair = timeout.fair(repeatable=repeatable)
    short = allowed < fair
    note = f"; the caller left less than the usual {fair:.3f} s" if short else ""
    return Fault(
        Code.DEADLINE_EXCEEDED,
        f"{kit.name}: no answer within {allowed:.3f} s{note}",
        refusal=Refusal.HURRIED if short else None,
        origin=kit.name,
    )


def attempt(
    kit: Kit, gates: Sequence[Gate], timeout: Timeout | None, handler: Handler[Any, Any]
) -> Handler[Any, Any]:
    """Compile one attempt: through every gate in order, then `handler` under its timeout."""
    clock, observe, classify = kit.clock, kit.observe, kit.judge

    async def run(call: Call[Any]) -> Any:
        held: Held = []
        started = clock()
        try:
            if gates:
                ask = Ask(call.key, 1, call.priority, call.deadline)
                for gate in gates:
                    got = gate.admit(ask, started)
                    if isinstance(got, Permit):
                        held.append((gate, got))
                    elif isinstance(got, Refused):
                        raise _refusal(kit, gate, got)
                    else:
                        held.append((gate, await _queue(kit, gate, got)))
                        started = clock()
            if timeout is None:
                answer = await handler(call)
            else:
                answer = await timed(kit, timeout, handler, call, started)
        except BaseException as error:
            finish(call, held, judge(error), started)
            raise
        verdict = GOOD if classify is None else classify(answer)
        if ends(answer):
            now = clock()
            for _, permit in held:
                permit.answered = now
            answer.on_end(lambda end: finish(call, held, worse(verdict, end), started))
        else:
            finish(call, held, verdict, started)
        return answer

    def finish(call: Call[Any], held: Held, verdict: Verdict, started: float) -> None:
        now = clock()
        settle(held, verdict, now)
        if observe is not None:
            observe(AttemptEnded(kit.name, call.attempt, verdict, now - started))

    return run


async def timed(
    kit: Kit, timeout: Timeout, handler: Handler[Any, Any], call: Call[Any], now: float
) -> Any:
    """Run `handler` with the time that `timeout` allows; call it off when that is over.

    The deadline bounds the head of the answer: it is disarmed at return.
    """
    remaining = call.deadline - now
    if remaining <= 0:
        raise _expired(kit, remaining)
    allowed = timeout.allow(remaining, repeatable=call.repeatable)
    work = working()
    asked = work.cancelling()
    cut = _Cut(work)
    slot = kit.sweep().arm(now + allowed, cut)
    try:
        if allowed < remaining:
            call = msgspec.structs.replace(call, deadline=now + allowed)
        return await handler(call)
    except CancelledError:
        if cut.rang and work.cancelling() - 1 <= asked:
            raise _overdue(kit, timeout, allowed, repeatable=call.repeatable) from None
        raise
    finally:
        slot.discard(cut)
        if cut.rang:
            work.uncancel()


def retried(
    kit: Kit, gates: Sequence[Gate], retry: Retry, handler: Handler[Any, Any]
) -> Handler[Any, Any]:
    """Compile the loop of attempts, behind the gates that count whole calls."""
    clock, observe, classify = kit.clock, kit.observe, kit.judge

    async def run(call: Call[Any]) -> Any:
        held: Held = []
        started = clock()
        tries = 1
        try:
            if gates:
                ask = Ask(call.key, 1, call.priority, call.deadline)
                for gate in gates:
                    got = gate.admit(ask, started)
                    if isinstance(got, Permit):
                        held.append((gate, got))
                    elif isinstance(got, Refused):
                        raise _refusal(kit, gate, got)
                    else:
                        held.append((gate, await _queue(kit, gate, got)))
            retry.deposit(started)
            while True:
                trial = call if tries == 1 else msgspec.structs.replace(call, attempt=tries)
                call.trail.attempts = tries
                try:
                    answer = await handler(trial)
                except Exception as error:
                    verdict = judge(error)
                    safe = call.repeatable or effect_of(error) is Effect.NONE
                    wait = _pause(call, retry, tries, verdict, clock()) if safe else None
                    if wait is None:
                        raise
                else:
                    verdict = GOOD if classify is None else classify(answer)
                    again = verdict.again and call.repeatable
                    wait = _pause(call, retry, tries, verdict, clock()) if again else None
                    if wait is None:
                        break
                    if ends(answer):
                        answer.abandon()
                await sleep(wait)
                tries += 1
        except BaseException as error:
            code = error.code.value if isinstance(error, Fault) else type(error).__name__
            finish(held, judge(error), started, tries, code)
            raise
        if ends(answer):
            now = clock()
            for _, permit in held:
                permit.answered = now
            answer.on_end(lambda end: finish(held, worse(verdict, end), started, tries))
        else:
            finish(held, verdict, started, tries)
        return answer

    def finish(held: Held, verdict: Verdict, started: float, tries: int, code: str = "") -> None:
        now = clock()
        settle(held, verdict, now)
        if observe is not None:
            observe(CallEnded(kit.name, tries, verdict, now - started, code))

    return run


def _pause(call: Call[Any], retry: Retry, tries: int, verdict: Verdict, now: float) -> float | None:
    """Return the seconds until the next attempt, or None when there must not be one."""
    if not verdict.again:
        return None
    wait = retry.schedule.delay(tries, verdict, verdict.after)
    if wait is None or now + wait >= call.deadline or not retry.withdraw(now):
        return None
    return wait


async def sleep(seconds: float) -> None:
    """Sleep on the loop's own timer: unlike asyncio.sleep it needs no task and keeps no Context."""
    loop = get_running_loop()
    future: Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _ring, future, context=Context())
    try:
        await future
    finally:
        timer.cancel()


def _ring(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
