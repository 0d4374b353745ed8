"""Attempts that did not simply go well: what they mean, whether another follows, how they end.

A frame makes one of these when an attempt failed, when its value was judged to be less than good,
or when its answer streams on. What every call does stands in `frames.py`.
"""

from asyncio import CancelledError
from copy import copy
from math import inf
from typing import TYPE_CHECKING, Any

from switchgear.core.ambient import due
from switchgear.core.cut import Cut
from switchgear.core.endings import drop, follow, streams
from switchgear.core.handler import Translate
from switchgear.core.invocation import Invocation, invokes
from switchgear.core.kit import Kit
from switchgear.core.marks import because, marks_of
from switchgear.core.misplaced import Misplaced
from switchgear.core.observe import AttemptEnded, CallEnded, Retrying
from switchgear.core.permits import Held, answered
from switchgear.core.retry import sleep
from switchgear.core.threads import Lingering, lingering
from switchgear.core.timeout import overdue
from switchgear.core.zombies import bring_home
from switchgear.policy.call import Call
from switchgear.policy.crossing import TRIED
from switchgear.policy.fault import Code, Effect, Fault, Refusal, leaves
from switchgear.policy.verdict import (
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    effect_of,
    joined,
    judge,
    worse,
)

if TYPE_CHECKING:
    from switchgear.core.frames import Frame

__all__ = ["Attempt", "code_of", "meaning", "passed_on", "translated"]

Mark = tuple[str, float, float]
"""On an exception: what policy gave up on it first, and when; the deadline around the latest."""


class Attempt:
    """One attempt of a frame's call, from `at`; `number` 0 says that none is under way.

    `begun` is the instant at which the call began, `until` its deadline, `limit` the attempt's.
    `whole` are the permits of the gates outside the retry, on which those of the attempt, `held`,
    stand. `tries` counts the attempts of this frame.
    """

    __slots__ = ("at", "begun", "blame", "call", "frame", "held", "left", "limit", "number",
                 "repeatable", "tries", "undone", "until", "verdict", "wait",
                 "whole")  # fmt: skip

    def __init__(
        self, frame: "Frame", begun: float, until: float, whole: Held, *, repeatable: bool
    ) -> None:
        self.frame = frame
        self.begun = begun
        self.until = until
        self.whole = whole
        self.repeatable = repeatable
        self.tries = 0
        self.number = 0
        self.undone = True  # what the attempts before this one did: surely nothing
        self.at = begun
        self.limit = until
        self.held = whole
        self.verdict = NEUTRAL
        self.call: Call[Any] | None = None
        self.blame: Verdict | None = None  # what it means that the call's time was over
        self.wait: float | None = None  # until the next attempt
        self.left: Lingering | None = None  # what goes on in a thread

    def take(self, held: Held, at: float, limit: float, tries: int, call: Call[Any] | None) -> None:
        """Take over an attempt from its frame; where `tries` is 0, none has begun."""
        self.held = held
        self.at = at
        self.limit = limit
        self.tries = tries
        self.number = 0 if not tries else tries if call is None else call.attempt + tries - 1
        self.call = call

    # -- what it means

    def failed(self, error: BaseException, cut: Cut | None) -> tuple[BaseException, Verdict]:
        """Say what an attempt that ended by `error` is to raise, and what it means.

        Where its time was over, that is what it means, whatever the work made of being called
        off, and even if the caller left in the same turn.
        """
        if isinstance(error, Misplaced):
            return error, NEUTRAL
        if self.frame.kit.policy and _never_ran(error):
            error.add_note(
                f"policy {self.frame.kit.name!r} calls async functions with their arguments:"
                " one that blocks goes to 'call_in_thread', and no coroutine object is called"
            )
            return error, NEUTRAL
        if cut is None or not cut.rings or not cut.enforced:
            error = translated(self.frame.kit.translate, error)
            return error, meaning(
                error, self.frame.kit.name, self.at, self._inner(), self._around()
            )
        fault, verdict = self._overdue()
        ours = isinstance(error, Exception) and not isinstance(error, Fault)
        if cut.alone() and (ours or isinstance(error, CancelledError)):
            return fault, verdict
        return error, verdict

    def late(self, verdict: Verdict) -> Verdict:
        """Judge an answer of work that swallowed being called off: late is not well."""
        return worse(verdict, self._overdue()[1])

    def _overdue(self) -> tuple[Fault, Verdict]:
        """Make the fault of an attempt whose time is over, and judge the attempt.

        The call has failed, but the attempt says nothing of the dependency if it had less than the
        usual time, whoever took it: a caller, earlier attempts, or a wait that was asked for.
        """
        frame = self.frame
        assert frame.timeout is not None  # noqa: S101 - for the type checker
        begun = self.begun  # of this frame: one around it may have made attempts before
        if self.call is not None and self.call.trail.begun < begun:
            begun = self.call.trail.begun
        allowed, whole = self.limit - self.at, self.until - begun
        fault = overdue(frame.kit.name, frame.timeout, allowed, whole, repeatable=self.repeatable)
        self.blame = judge(fault)
        fair = allowed >= frame.timeout.fair(repeatable=self.repeatable)
        return fault, self.blame if fair else NEUTRAL_AGAIN

    def pause(self, verdict: Verdict, error: BaseException | None = None) -> float | None:
        """Return the seconds until the next attempt, or None when there must not be one."""
        frame, retry = self.frame, self.frame.retry
        if retry is None or not self.tries:  # an outer gate has refused the call as a whole
            return None
        if _refused_here(frame.kit, error):
            return None
        now = frame.kit.clock()
        if (
            verdict.again
            and frame.hurry is not None
            and frame.hurry.falls_short(self.until - now, now)
        ):
            return None  # what has failed says more than that there is no time for another
        wait = retry.pause(
            self.tries, verdict, error, now, until=self.until, repeatable=self.repeatable
        )
        if wait is not None and not retry.enforce:
            frame.kit.tell(Retrying(frame.kit.name, self.number, wait, verdict, enforced=False))
            return None
        return wait

    # -- how it ends

    def lost(self, error: BaseException, cut: Cut | None) -> BaseException | None:
        """Take in that it raised; return what the call is to raise, or None where it goes on."""
        self.left = lingering(error, self.frame.kit.clock, self.at)
        try:
            failure, self.verdict = self.failed(error, cut)
            self.wait = self.pause(self.verdict, failure)
        except Exception as defect:  # noqa: BLE001 - raised from here, it would keep the permits
            failure, self.verdict, self.wait = defect, judge(defect), None
        if isinstance(failure, StopIteration):  # as of any coroutine, and so of what is compiled
            failure = RuntimeError("coroutine raised StopIteration")
        because(failure, error)  # of a timeout, too: its traceback tells where the work hung
        if self.wait is not None:
            self.undone = self.undone and effect_of(failure) is Effect.NONE
            return None
        self.over(self.verdict, failure, self.left)
        retry = self.frame.retry
        if self.frame.is_policy and retry is not None and retry.enforce:
            kit = self.frame.kit
            mark = (kit.name, kit.clock(), self._around())
            failure = passed_on(error, failure, mark, self.begun, self._inner())
            if not self.undone and isinstance(failure, Fault) and failure.effect is Effect.NONE:
                failure.effect = Effect.UNKNOWN  # of the call, of which this is a copy
        return failure

    def _inner(self) -> float:
        """Return the deadline that the attempt hands to what it calls; none is later than any."""
        timeout = self.frame.timeout
        return self.limit if timeout is not None and timeout.enforce else inf

    def _around(self) -> float:
        """Return the deadline that is around the call; none is later than any.

        What is no call of a function has none that is known: it is taken for the earliest of all.
        """
        earliest = due.get()
        if self.call is not None:  # it may have come to a task of its own, through layers
            work: object = self.call.payload
            earliest = work.due if isinstance(work, Invocation) else -inf
        return inf if earliest is None else earliest

    def won(self, answer: Any, verdict: Verdict, *, in_time: bool) -> bool:
        """Take in that there is an answer; say whether the call ends with it.

        It does now, or at its end where it streams. Where no more than that can be said of it,
        because what is asked for that fails, nobody gets the answer.
        """
        try:
            self.wait = None if verdict is GOOD else self.pause(verdict)
        except Exception as defect:
            self.over(judge(defect), defect)
            if streams(answer):
                answer.abandon()
            raise
        self.verdict = verdict if in_time else self.late(verdict)
        if self.wait is not None:
            self.undone = False
            return False
        if streams(answer):
            answered(self.held, self.frame.kit.clock())
            follow(answer, self.verdict, self.over)
        else:
            self.over(self.verdict)
        return True

    def over(
        self,
        verdict: Verdict,
        failure: BaseException | None = None,
        left: Lingering | None = None,
    ) -> None:
        """End the call, and with it the last attempt, if that is under way.

        `left` is what it has left running in a thread.
        """
        frame = self.frame
        now = frame.kit.clock()
        bring_home(frame.kit, frame.tally, self.held, verdict, now, left=left)
        ended = verdict if self.blame is None else self.blame  # the call, if not the attempt
        frame.tally.count(ended)
        if frame.tells and self.number:
            frame.kit.tell(AttemptEnded(frame.kit.name, self.number, verdict, now - self.at))
        if frame.ends:
            code = "" if failure is None else code_of(failure)
            if failure is None and ended.health is Health.BAD:  # what was answered counts as one
                code = (Code.UNKNOWN if self.blame is None else Code.DEADLINE_EXCEEDED).value
            took = now - self.begun
            frame.kit.tell(CallEnded(frame.kit.name, self.tries, ended, took, code))

    def attempt_over(self, verdict: Verdict, left: Lingering | None = None) -> None:
        """End this attempt, which another one follows."""
        frame = self.frame
        now = frame.kit.clock()
        bring_home(frame.kit, frame.tally, self.held, verdict, now, self.whole, left)
        if frame.tells:
            frame.kit.tell(AttemptEnded(frame.kit.name, self.number, verdict, now - self.at))

    async def rest(self, answer: Any) -> "Attempt":
        """End this attempt and sleep until the next one, which is returned, not begun."""
        frame, verdict, wait = self.frame, self.verdict, self.wait or 0.0
        following = Attempt(frame, self.begun, self.until, self.whole, repeatable=self.repeatable)
        following.tries, following.undone = self.tries, self.undone
        try:
            if streams(answer):
                answered(self.held, frame.kit.clock())
                drop(answer, verdict, self.attempt_over)
            else:
                self.attempt_over(verdict, self.left)
            frame.kit.tell(Retrying(frame.kit.name, self.number, wait, verdict))
            await sleep(wait)
        except BaseException as error:
            following.over(judge(error), error)
            raise
        return following


def _never_ran(error: BaseException) -> bool:
    """Say whether the call of the function failed, or the awaiting of what it returned.

    Such an error has no line but ours in its traceback: it is who calls that is wrong. Where there
    are layers, there are two: the second is that of the handler below them.
    """
    if type(error) is not TypeError or error.__traceback__ is None:
        return False
    below = error.__traceback__.tb_next
    return below is None or (below.tb_next is None and invokes(below))


def _refused_here(kit: Kit, error: BaseException | None) -> bool:
    """Say whether the policy's own breaker or bulkhead refused.

    Nothing else could be asked in its place, so to try again is only to wait: the caller had
    rather know, and the budget is for what reaches the dependency.
    """
    return (
        kit.policy
        and isinstance(error, Fault)
        and error.refusal in (Refusal.OPEN, Refusal.FULL)
        and error.origin == kit.name
        and not error.hops
    )


def passed_on(
    error: BaseException, failure: BaseException, mark: Mark, begun: float, limit: float
) -> BaseException:
    """Mark what a policy raises as tried again already, so that no policy around it does so, too.

    `failure` is what was made of `error`, or that itself. A fault is copied, because who raised it
    may raise the same one again; another exception cannot be, and keeps the name of the first. For
    the same reason, what another call left on it is void, see `meaning`: this one had `begun`
    then, and what it called had until `limit`.
    """
    if not isinstance(failure, Fault):
        if isinstance(failure, Exception):
            by, at, _ = _tried(failure, begun, limit) or mark
            marks_of(failure)[TRIED] = by, at, mark[2]
        return failure
    other = failure.passed_on(mark[0])
    other.__cause__ = failure.__cause__
    if not failure.__suppress_context__:  # it was raised while another was handled
        other.__cause__ = failure.__context__
    return other.with_traceback(error.__traceback__) if failure is error else other


def translated(translate: Translate | None, error: BaseException) -> BaseException:
    """Make a fault of an exception, where `translate` knows it; its own defect is the failure.

    (Raised from here, it would keep the permits.)
    """
    if translate is None or isinstance(error, Fault) or not isinstance(error, Exception):
        return error
    try:
        made: object = translate(error) or error
        if not isinstance(made, Exception):
            raise TypeError(f"translate returned {made!r}: a Fault(...) or None would be right")
        return made if made is error else _as_tried(made, error)
    except Exception as defect:  # noqa: BLE001 - see above
        return defect


def _as_tried(made: Exception, error: BaseException) -> Exception:
    """Keep the mark of what another exception was made of: that is the failure which was tried.

    A fault is copied for it: the same one may be made of every failure.
    """
    mark = marks_of(error).get(TRIED)
    if mark is None or TRIED in marks_of(made):
        return made
    if isinstance(made, Fault):
        cause = made.__cause__
        made = copy(made)
        made.__cause__ = cause
    marks_of(made)[TRIED] = mark
    return made


def meaning(error: BaseException, name: str, since: float, limit: float, around: float) -> Verdict:
    """Judge an error of what `name` called: what another within has tried again is NEUTRAL.

    It was called at `since`, had until `limit`, and `around` is what `name` itself had. Another's
    call was within where it ended since then, and had no more time around it: a connection that is
    lost may raise one and the same exception in all who wait for it, side by side, and each of them
    has lost it. Two calls of one policy mostly stand so. One of them is within the other only where
    it had around it the very time that this has set, sooner than what there was. In a group, each
    has its own past.
    """
    tried = _tried(error, since, limit)
    if tried is None and isinstance(error, BaseExceptionGroup):
        parts = leaves(error, lambda one: _tried(one, since, limit) is not None)
        return joined([meaning(one, name, since, limit, around) for one in parts])
    if tried is None or (tried[0] == name and not tried[2] == limit < around):
        return judge(error)
    return NEUTRAL


def _tried(error: BaseException, since: float, limit: float) -> Mark | None:
    """Return the mark of a policy that has given up on an error since then, within that time."""
    mark: Mark = marks_of(error).get(TRIED, ("", -inf, inf))
    return mark if mark[1] >= since and mark[2] <= limit else None


def code_of(failure: BaseException) -> str:
    """Name a failure: a fault by its code, anything else by its type."""
    return failure.code.value if isinstance(failure, Fault) else type(failure).__name__
