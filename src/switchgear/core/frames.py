"""Frames: the coroutines that a stack is compiled to. The order of parts is `stack.py`'s affair.

One frame holds what stands together, outermost first, and any of it may be missing::

    outer gates -> retry -> [ gates -> timeout -> handler ]     in brackets: one attempt

A permit comes home when the work has really ended: at return, or for an answer that streams at
its end.
"""

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from switchgear.core.drivers import working
from switchgear.core.endings import follow, judged, known, streams
from switchgear.core.handler import Ending, Handler
from switchgear.core.kit import Kit
from switchgear.core.observe import AttemptEnded, CallEnded, Event, report
from switchgear.core.permits import Held, answered, ask_of, enter, let_in, refresh, settle, wake
from switchgear.core.retry import Retry, sleep
from switchgear.core.timeout import Cut, Timeout, bounded, expired, overdue
from switchgear.policy.call import Call
from switchgear.policy.fault import Fault
from switchgear.policy.gate import Gate, Permit
from switchgear.policy.verdict import GOOD, Verdict, judge, worse

__all__ = ["Frame", "Kit", "Retry", "Timeout"]


class Frame:
    """A handler behind gates, a timeout and a retry; `run` is the handler that it makes.

    `outer` gates stand outside the retry and count whole calls. `tells`: this frame is the one to
    tell how attempts ended.
    """

    __slots__ = ("_clock", "_gates", "_handler", "_judge", "_kit", "_name", "_observe", "_outer",
                 "_retry", "_tells", "_timeout")  # fmt: skip

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
        self._name = kit.name
        self._clock = kit.clock
        self._judge = kit.judge
        self._observe = kit.observe
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
        does stands here, what seldom happens is called. (`bench/ground` holds the figures.)
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
        until = call.deadline
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
                if until <= now:
                    raise expired(self._name, until - now)
                if call.repeatable:
                    until = min(until, now + timeout.allow(until - now, repeatable=True))
                    trial = replace(trial, deadline=until)
                # The first step is made by hand. Work that never waits needs no alarm, and need not
                # ask who drives it: 0.6 us less, for nothing more where it does wait.
                work = self._handler(trial)
                try:
                    waited = work.send(None)
                except StopIteration as ended:
                    answer = ended.value
                else:
                    driver = working()
                    cut = Cut(driver, driver.cancelling())
                    slot = self._kit.sweep(driver.get_loop()).arm(until, cut)
                    answer = await bounded(work, waited, cut, slot)
            verdict = GOOD if self._judge is None else judged(self._judge, answer)
        except BaseException as error:
            answer = None
            failure, verdict = self._failed(error, cut, until - now, call)
            wait = self._pause(call, tries, verdict, failure)
            if wait is None:
                self._over(held, whole, trial, now, begun, tries, verdict, failure)
                if failure is error:
                    raise
                raise failure from (None if isinstance(error, CancelledError) else error)
        else:
            wait = None if verdict is GOOD else self._pause(call, tries, verdict)
            if cut is not None and cut.rang:  # it swallowed the cancellation: late is not well
                verdict = worse(verdict, judge(self._overdue(until - now, call)))
            if wait is None:
                if known(answer.__class__, True) and streams(answer):
                    over = partial(self._over, held, whole, trial, now, begun, tries)
                    self._follow(answer, verdict, held, whole, over)
                    return answer
                # As `_over` does it, for every call that goes well: 0.2 us less.
                end = clock()
                try:
                    while held is not None:
                        gate, permit, held = held
                        let = gate.settle(permit, verdict, end)
                        if let:
                            wake(let)
                finally:
                    if held is not None:  # that gate broke: the others are to have theirs back
                        settle(held, verdict, end)
                    if whole is not None:
                        settle(whole, verdict, end)
                if self._observe is not None:
                    self._tell(trial.attempt, tries, verdict, end - now, end - begun, "")
                return answer
        over = partial(self._attempt_over, held, trial, now)
        return await self._again(call, answer, held, whole, begun, tries, verdict, wait, over)

    async def _enter(self, call: Call[Any], begun: float) -> Held:
        """Go through the gates that count whole calls."""
        try:
            return await enter(self._kit, self._outer, call)
        except BaseException as error:
            self._call_over(None, begun, 0, error)
            raise

    def _failed(
        self, error: BaseException, cut: Cut | None, allowed: float, call: Call[Any]
    ) -> tuple[BaseException, Verdict]:
        """Say what an attempt that ended by `error` is to raise, and what it means.

        Where its time was over, that is what it means, whatever the work made of being called
        off, and even if the caller left in the same turn.
        """
        if cut is None or not cut.rang:
            return error, judge(error)
        fault = self._overdue(allowed, call)
        ours = isinstance(error, Exception) and not isinstance(error, Fault)
        if cut.alone() and (ours or isinstance(error, CancelledError)):
            return fault, judge(fault)
        return error, judge(fault)

    def _overdue(self, allowed: float, call: Call[Any]) -> Fault:
        assert self._timeout is not None  # noqa: S101 - for the type checker
        return overdue(self._name, self._timeout, allowed, repeatable=call.repeatable)

    def _pause(
        self, call: Call[Any], tries: int, verdict: Verdict, error: BaseException | None = None
    ) -> float | None:
        if self._retry is None or not verdict.again:
            return None
        return self._retry.pause(call, tries, verdict, error, self._clock())

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
            self._call_over(whole, begun, tries, error)
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
        finally:
            settle(whole, verdict, now)
        if self._observe is not None:
            code = "" if failure is None else _code(failure)
            self._tell(trial.attempt, tries, verdict, now - started, now - begun, code)

    def _tell(
        self, attempt: int, tries: int, verdict: Verdict, took: float, in_all: float, code: str
    ) -> None:
        """Tell how an attempt and its call have ended. An observer's defect is not the call's."""
        observe: Any = self._observe
        if self._tells:
            event: Event = AttemptEnded(self._name, attempt, verdict, took)
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)
        if self._retry is not None:
            event = CallEnded(self._name, tries, verdict, in_all, code)
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - see above
                report(event, error)

    def _attempt_over(self, held: Held, trial: Call[Any], started: float, verdict: Verdict) -> None:
        """End an attempt that another one follows."""
        now = self._clock()
        settle(held, verdict, now)
        if self._tells:
            self._kit.tell(AttemptEnded(self._name, trial.attempt, verdict, now - started))

    def _call_over(self, whole: Held, begun: float, tries: int, error: BaseException) -> None:
        """End a call between attempts, or before the first."""
        now, verdict = self._clock(), judge(error)
        settle(whole, verdict, now)
        if self._retry is not None:
            self._kit.tell(CallEnded(self._name, tries, verdict, now - begun, _code(error)))


def _code(failure: BaseException) -> str:
    return failure.code.value if isinstance(failure, Fault) else type(failure).__name__
