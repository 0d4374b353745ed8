"""The stack as plain nesting: a layer for every part, slow and obvious, to compare frames with."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from msgspec.structs import replace

from switchgear.core.clock import Clock
from switchgear.core.frames import Retry, Timeout
from switchgear.core.handler import Ending, Handler, Judge
from switchgear.core.stack import Part, Place
from switchgear.core.timeout import FAIR
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Ask, Gate, Refused
from switchgear.policy.verdict import Verdict, effect_of, judge, worse

__all__ = ["nest"]

Run = Handler[Any, Any]

# When the call began whose attempts a retry makes, for the timeout within.
BEGUN: ContextVar[float | None] = ContextVar("begun", default=None)


def nest(
    order: tuple[Place, ...], parts: Sequence[Part], handler: Run, classify: Judge, clock: Clock
) -> Run:
    """Wrap `handler` in one layer per part, the innermost first."""
    ordered = sorted(parts, key=lambda part: order.index(part.place))
    for part in ordered[::-1]:  # not by reverse=True, which turns no equal places around
        what = part.what
        if isinstance(what, Timeout):
            handler = _timed(what, handler, clock)
        elif isinstance(what, Retry):
            handler = _retried(what, handler, classify, clock)
        elif callable(what):
            handler = what(handler)
        else:
            handler = _gated(what, handler, classify, clock)
    return handler


def _gated(gate: Gate, handler: Run, classify: Judge, clock: Clock) -> Run:
    async def run(call: Call[Any]) -> Any:
        got: Any = gate.admit(Ask(call.key, 1, call.priority, call.deadline), clock())
        if isinstance(got, Refused):
            raise got.fault()
        try:
            answer = await handler(call)
        except BaseException as error:
            gate.settle(got, judge(error), clock())
            raise
        verdict = classify(answer)
        if isinstance(answer, Ending):
            answer.on_end(lambda end: (gate.settle(got, worse(verdict, end), clock()), None)[1])
        else:
            gate.settle(got, verdict, clock())
        return answer

    return run


def _timed(timeout: Timeout, handler: Run, clock: Clock) -> Run:
    async def run(call: Call[Any]) -> Any:
        began, now = BEGUN.get(), clock()
        remaining = call.deadline - now
        whole = remaining if began is None else call.deadline - began
        if remaining <= 0:
            hurried = Refusal.HURRIED
            raise Fault(Code.DEADLINE_EXCEEDED, effect=Effect.NONE, refusal=hurried)
        allowed = timeout.allow(remaining, repeatable=call.repeatable)
        try:
            async with asyncio.timeout(allowed):
                return await handler(replace(call, deadline=clock() + allowed))
        except TimeoutError:
            late = allowed < timeout.fair(repeatable=call.repeatable)
            short = late and whole < FAIR * timeout.full  # else earlier attempts took their time
            raise Fault(
                Code.DEADLINE_EXCEEDED, refusal=Refusal.HURRIED if short else None
            ) from None

    return run


def _retried(retry: Retry, handler: Run, classify: Judge, clock: Clock) -> Run:
    def wait(call: Call[Any], tries: int, verdict: Verdict) -> float | None:
        if not verdict.again:
            return None
        seconds = retry.schedule.delay(tries, verdict, verdict.after)
        if (
            seconds is None
            or clock() + seconds >= call.deadline
            or not retry.budget.withdraw(clock())
        ):
            return None
        return seconds

    async def run(call: Call[Any]) -> Any:
        retry.budget.deposit(clock())
        BEGUN.set(clock())
        tries = 1
        while True:
            seconds = None
            try:
                answer = await handler(replace(call, attempt=tries))
            except Exception as error:
                if call.repeatable or effect_of(error) is Effect.NONE:
                    seconds = wait(call, tries, judge(error))
                if seconds is None:
                    raise
            else:
                if call.repeatable:
                    seconds = wait(call, tries, classify(answer))
                if seconds is None:
                    return answer
                if isinstance(answer, Ending):
                    answer.abandon()
            await asyncio.sleep(seconds)
            tries += 1

    return run
