"""Frames: the coroutines that a stack is compiled to. The order of parts is `stack.py`'s affair.

One frame holds what stands together, outermost first, and any of it may be missing::

    outer gates -> retry -> [ gates -> timeout -> handler ]     in brackets: one attempt

A permit comes home when the work has really ended: at return, or for an answer that streams at
its end.
"""

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from switchgear.core.endings import follow, judged, streams
from switchgear.core.handler import Ending, Handler
from switchgear.core.kit import Kit
from switchgear.core.observe import AttemptEnded, CallEnded
from switchgear.core.permits import Held, answered, ask_of, enter, let_in, refresh, settle
from switchgear.core.timeout import Cut, Timeout, bounded, expired
from switchgear.policy.call import Call
from switchgear.policy.fault import Effect, Fault
from switchgear.policy.gate import Gate, Permit, Schedule
from switchgear.policy.verdict import GOOD, Verdict, effect_of, judge, worse

__all__ = ["Frame", "Kit", "Retry", "Timeout"]


class Retry(NamedTuple):
    """The schedule of further attempts, and the budget they are paid from."""

    schedule: Schedule
    deposit: Callable[[float], None]
    withdraw: Callable[[float], bool]


class Frame:
    """A handler behind gates, a timeout and a retry; `run` is the handler that it makes.

    `outer` gates stand outside the retry and count whole calls. `tells`: this frame is the one to
    tell how attempts ended.
    """

    __slots__ = ("_clock", "_gates", "_handler", "_judge", "_kit", "_outer", "_retry", "_tells",
                 "_timeout")  # fmt: skip

    def __init__(
        self,
        kit: Kit,
        handler: Handler[Any, Any],
        *,
        timeout: Timeout | None = None,
        gates: Sequence[Gate] = (),
        retry: Retry | None = None,
        outer: Sequence[Gate] = (),
        tells: bool = True,
    ) -> None:
        self._kit = kit
        self._clock = kit.clock
        self._judge = kit.judge
        self._handler = handler
        self._timeout = timeout
        self._gates = tuple(gates)
        self._retry = retry
        self._outer = tuple(outer)
        self._tells = tells and kit.observe is not None

    async def run(
        self, call: Call[Any], tries: int = 1, begun: float = 0.0, whole: Held = None
    ) -> Any:
        """Make one attempt, and hand over to itself for another.

        It is long, because a coroutine of its own for the retry, the gates and the timeout would
        cost 0.1 us each, and as much again to hand permits and verdicts about: what every call
        does stands here, what seldom happens is called.
        """
        clock, timeout = self._clock, self._timeout
        now = clock()
        trial = call
        if tries > 1:
            trial = replace(call, attempt=call.attempt + tries - 1)
        else:
            begun = now
            if self._outer:
                whole = await self._enter(call, begun)
                now = clock()
            if self._retry is not None:
                self._retry.deposit(now)
                call.trail.attempts = 1
        held: Held = None
        cut: Cut | None = None
        try:
            if self._gates:
                ask = ask_of(call)
                for gate in self._gates:
                    got = gate.admit(ask, now)
                    if got.__class__ is not Permit:
                        got = await let_in(self._kit, gate, got)
                        now = clock()
                        refresh(held, now)
                    held = (gate, got, held)
            if timeout is None:
                answer = await self._handler(trial)
            else:
                until = call.deadline
                allowed = until - now
                if allowed <= 0.0:
                    raise expired(self._kit.name, allowed)
                if call.repeatable:
                    allowed = timeout.allow(allowed, repeatable=True)
                    until = min(until, now + allowed)
                    trial = replace(trial, deadline=until)
                # The first step is made by hand: work that never waits needs no alarm.
                work = self._handler(trial)
                try:
                    waited = work.send(None)
                except StopIteration as ended:
                    answer = ended.value
                else:
                    cut = Cut(timeout, allowed, repeatable=call.repeatable)
                    answer = await bounded(work, waited, cut, self._kit, until)
            verdict = GOOD if self._judge is None else judged(self._judge, answer)
        except BaseException as error:
            answer = None
            failure, verdict = self._failed(error, cut)
            wait = self._pause(call, tries, verdict, failure)
            if wait is None:
                self._over(held, whole, trial, now, begun, tries, verdict, failure)
                if failure is error:
                    raise
                raise failure from (None if isinstance(error, CancelledError) else error)
        else:
            wait = None if verdict is GOOD else self._pause(call, tries, verdict)
            if cut is not None and cut.rang:  # it swallowed the cancellation: late is not well
                verdict = worse(verdict, judge(cut.fault(self._kit.name)))
            if wait is None:
                if not streams(answer):
                    self._over(held, whole, trial, now, begun, tries, verdict)
                else:
                    over = partial(self._over, held, whole, trial, now, begun, tries)
                    self._follow(answer, verdict, held, whole, over)
                return answer
        over = partial(self._attempt_over, held, trial, now)
        return await self._again(call, answer, held, whole, begun, tries, verdict, wait, over)

    async def _enter(self, call: Call[Any], begun: float) -> Held:
        """Go through the gates that count whole calls."""
        try:
            return await enter(self._kit, self._outer, call)
        except BaseException as error:
            self._call_over(None, begun, 0, judge(error), self._clock(), error)
            raise

    def _failed(self, error: BaseException, cut: Cut | None) -> tuple[BaseException, Verdict]:
        """Say what an attempt that ended by `error` is to raise, and what it means.

        Where its time was over, that is what it means, whatever the work made of being called
        off, and even if the caller left in the same turn.
        """
        if cut is None or not cut.rang:
            return error, judge(error)
        fault = cut.fault(self._kit.name)
        ours = isinstance(error, Exception) and not isinstance(error, Fault)
        if cut.alone() and (ours or isinstance(error, CancelledError)):
            return fault, judge(fault)
        return error, judge(fault)

    def _pause(
        self, call: Call[Any], tries: int, verdict: Verdict, failure: BaseException | None = None
    ) -> float | None:
        """Return the seconds until the next attempt, or None when there must not be one.

        A call that is not repeatable is tried again only where the last try surely did nothing.
        """
        retry = self._retry
        if retry is None or not verdict.again:
            return None
        if failure is not None and not isinstance(failure, Exception):
            return None
        if not call.repeatable and (failure is None or effect_of(failure) is not Effect.NONE):
            return None
        now = self._clock()
        wait = retry.schedule.delay(tries, verdict, verdict.after)
        if wait is None or now + wait >= call.deadline or not retry.withdraw(now):
            return None
        return wait

    async def _again(
        self,
        call: Call[Any],
        answer: Any,
        held: Held,
        whole: Held,
        begun: float,
        tries: int,
        verdict: Verdict,
        wait: float,
        over: Callable[[Verdict], None],
    ) -> Any:
        """End one attempt and, after the wait, make another."""
        try:
            if streams(answer):
                self._follow(answer, verdict, held, None, over)
                answer.abandon()
            else:
                over(verdict)
            await sleep(wait)
        except BaseException as error:
            self._call_over(whole, begun, tries, judge(error), self._clock(), error)
            raise
        call.trail.attempts = tries + 1
        return await self.run(call, tries + 1, begun, whole)

    def _follow(
        self,
        answer: Ending,
        verdict: Verdict,
        held: Held,
        whole: Held,
        over: Callable[[Verdict], None],
    ) -> None:
        """Put off what is to be done until a streaming answer ends."""
        now = self._clock()
        answered(held, now)
        answered(whole, now)
        follow(answer, verdict, over)

    def _over(
        self,
        held: Held,
        whole: Held,
        trial: Call[Any],
        started: float,
        begun: float,
        tries: int,
        verdict: Verdict,
        failure: BaseException | None = None,
    ) -> None:
        """End the last attempt and with it the call."""
        now = self._clock()
        try:
            settle(held, verdict, now)
            if self._tells:
                self._kit.tell(AttemptEnded(self._kit.name, trial.attempt, verdict, now - started))
        finally:
            self._call_over(whole, begun, tries, verdict, now, failure)

    def _attempt_over(self, held: Held, trial: Call[Any], started: float, verdict: Verdict) -> None:
        """End an attempt that another one follows."""
        now = self._clock()
        settle(held, verdict, now)
        if self._tells:
            self._kit.tell(AttemptEnded(self._kit.name, trial.attempt, verdict, now - started))

    def _call_over(
        self,
        whole: Held,
        begun: float,
        tries: int,
        verdict: Verdict,
        now: float,
        failure: BaseException | None,
    ) -> None:
        """End the call, if this frame is the one that counts calls."""
        settle(whole, verdict, now)
        if self._retry is not None and self._kit.observe is not None:
            code = "" if failure is None else _code(failure)
            self._kit.tell(CallEnded(self._kit.name, tries, verdict, now - begun, code))


def _code(failure: BaseException) -> str:
    return failure.code.value if isinstance(failure, Fault) else type(failure).__name__


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
