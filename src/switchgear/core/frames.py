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
from switchgear.core.endings import drop, follow, judged, known, streams
from switchgear.core.handler import Handler
from switchgear.core.kit import Kit
from switchgear.core.observe import AttemptEnded, CallEnded, Event, report
from switchgear.core.permits import Held, answered, let_in, refresh, settle, wake
from switchgear.core.retry import Retry, sleep
from switchgear.core.timeout import Cut, Timeout, bounded, expired, overdue
from switchgear.policy.call import Call
from switchgear.policy.fault import Fault
from switchgear.policy.gate import ANYONE, Ask, Gate, Permit
from switchgear.policy.verdict import GOOD, Verdict, judge, worse

__all__ = ["Frame", "Kit", "Retry", "Timeout"]


class Frame:
    """A handler behind gates, a timeout and a retry; `run` is the handler that it makes.

    `outer` gates stand outside the retry and count whole calls. `tells`: this frame is the one to
    tell how attempts ended.
    """

    __slots__ = ("_clock", "_deposit", "_gated", "_gates", "_handler", "_judge", "_kit", "_name",
                 "_observe", "_outer", "_retry", "_tells", "_timeout")  # fmt: skip

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
        self._deposit = None if retry is None else retry.deposit
        self._outer = tuple(outer)
        self._gated = bool(self._gates or self._outer)
        self._tells = tells and kit.observe is not None

    async def run(
        self, call: Call[Any], tried: int = 0, begun: float = 0.0, whole: Held = None
    ) -> Any:
        """Make one attempt, and hand over to itself for another.

        `whole` are the permits of the outer gates, on which those of an attempt stand. It is long,
        because a coroutine of its own for the retry, the gates and the timeout would cost 0.1 us
        each, and as much again to hand permits and verdicts about: what every call does stands
        here, what seldom happens is called. (`bench/ground` holds the figures.)
        """
        clock, timeout = self._clock, self._timeout
        now = clock()
        until = call.deadline
        trial, tries = call, tried
        held = whole
        cut: Cut | None = None
        try:
            ask = Ask(call.key, 1, call.priority, until) if self._gated else ANYONE
            if tried:
                trial = replace(call, attempt=call.attempt + tried)
            else:
                begun = now
                for gate in self._outer:
                    got = gate.admit(ask, now)
                    if got.__class__ is not Permit:
                        got = await let_in(self._kit, gate, got)
                        now = clock()
                        refresh(held, now)
                    held = whole = (gate, got, held)
                if self._deposit is not None:
                    self._deposit(now)
                    call.trail.attempts = 1
            tries = tried + 1
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
                    allowed = (until - now) * timeout.share
                    if allowed > timeout.limit:
                        allowed = timeout.limit
                    if now + allowed < until:
                        until = now + allowed
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
                self._over(held, trial, now, begun, tries, verdict, failure)
                if failure is error:
                    raise
                raise failure from (None if isinstance(error, CancelledError) else error)
        else:
            wait = None if verdict is GOOD else self._pause(call, tries, verdict)
            if cut is not None and cut.rang:  # it swallowed the cancellation: late is not well
                verdict = worse(verdict, judge(self._overdue(until - now, call)))
            if wait is None:
                if known(answer.__class__, True) and streams(answer):
                    answered(held, clock())
                    follow(answer, verdict, partial(self._over, held, trial, now, begun, tries))
                    return answer
                # As `_over` does it, for every call that goes well: 0.2 us less.
                end = clock()
                try:
                    while held is not None:
                        gate, permit, held = held
                        let = gate.settle(permit, verdict, end)
                        if let:
                            wake(let)
                except BaseException:
                    settle(held, verdict, end)  # a gate broke; the others have theirs back
                    raise
                if self._observe is not None:
                    self._tell(trial.attempt, tries, verdict, end - now, end - begun, "")
                return answer
        over = partial(self._attempt_over, held, whole, trial, now)
        return await self._again(call, answer, held, whole, begun, tries, verdict, wait, over)

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
        """Return the seconds until the next attempt, or None when there must not be one."""
        if self._retry is None or not tries:  # an outer gate has refused the call as a whole
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
                answered(held, self._clock())
                drop(answer, verdict, over)
            else:
                over(verdict)
            await sleep(wait)
        except BaseException as error:
            self._over(whole, None, 0.0, begun, tries, judge(error), error)
            raise
        call.trail.attempts = tries + 1
        return await self.run(call, tries, begun, whole)

    def _over(
        self,
        held: Held,
        trial: Call[Any] | None,
        started: float,
        begun: float,
        tries: int,
        verdict: Verdict,
        failure: BaseException | None = None,
    ) -> None:
        """End the call, and with it the last attempt, if that is under way."""
        now = self._clock()
        settle(held, verdict, now)
        if self._observe is not None:
            code = "" if failure is None else _code(failure)
            attempt = trial.attempt if trial is not None and tries else 0
            self._tell(attempt, tries, verdict, now - started, now - begun, code)

    def _attempt_over(
        self, held: Held, whole: Held, trial: Call[Any], started: float, verdict: Verdict
    ) -> None:
        """End an attempt that another one follows."""
        now = self._clock()
        settle(held, verdict, now, whole)
        if self._tells:
            self._kit.tell(AttemptEnded(self._name, trial.attempt, verdict, now - started))

    def _tell(
        self, attempt: int, tries: int, verdict: Verdict, took: float, in_all: float, code: str
    ) -> None:
        """Tell how an attempt (0: none is under way) and its call have ended.

        As `Kit.tell` does it, without its call: an observer's defect is not the call's.
        """
        observe: Any = self._observe
        if self._tells and attempt:
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


def _code(failure: BaseException) -> str:
    return failure.code.value if isinstance(failure, Fault) else type(failure).__name__
