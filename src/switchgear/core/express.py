"""The express way: what a policy with all its protections does where nothing is amiss.

It is `Frame.run` once more, for the case that nearly every call is: every part is there (a retry
may be missing), every gate lets everybody in, the function returns, and in time. What is known
when the policy is made is looked at then, and not in every call.
Whatever else happens goes the frame's way: at once where a gate would have to be asked, by an
`Attempt` where a call did not simply go well. (A test holds the two to one another, history by
history.)
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import update_wrapper
from inspect import CO_VARARGS, CO_VARKEYWORDS
from threading import get_ident
from types import FunctionType, MethodType
from typing import Any, Final

from switchgear.core.ambient import ambient, due
from switchgear.core.attempt import Attempt
from switchgear.core.cut import NOBODY, Cut
from switchgear.core.drivers import task_on, working
from switchgear.core.endings import judged
from switchgear.core.frames import LONG, SHORT, Frame
from switchgear.core.invocation import mark
from switchgear.core.permits import settle
from switchgear.core.timeout import Timeout
from switchgear.policy.breaker import Breaker
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.hurry import Hurry
from switchgear.policy.verdict import GOOD, Verdict

__all__ = ["Express", "Way", "express", "spread"]

Function = Callable[..., Awaitable[Any]]
Lead = Callable[..., Coroutine[Any, Any, Any]]

# What is imported is looked up by its name where this is compiled, and these are not.
_ident: Final = get_ident
_get_due: Final = due.get
_get_ambient: Final = ambient.get
_set_due: Final = due.set
_reset_due: Final = due.reset
_GOOD: Final[Verdict] = GOOD


class Way:
    """The way through a frame, where some part that the express way needs is missing.

    Whoever has kept it is led to another `call` as long as `led` is one: to that of what a test has
    put into its policy's place.
    """

    __slots__ = ("_frame", "led")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.led: Lead | None = None

    def run(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Run a function with its arguments under the frame."""
        if self.led is not None:
            return self.led(function, *args, **kwargs)
        return self._frame.run(None, function, args, kwargs)


class Express(Way):
    """The express way through a frame that has all the parts."""

    __slots__ = ("_breaker", "_budget", "_bulkhead", "_clock", "_full", "_hurry", "_judge",
                 "_longest", "_observe", "_repeatable", "_share", "_slow_after",
                 "_tally")  # fmt: skip

    def __init__(
        self, frame: Frame, breaker: Breaker, bulkhead: Bulkhead, hurry: Hurry, timeout: Timeout
    ) -> None:
        super().__init__(frame)
        self._breaker = breaker
        self._bulkhead = bulkhead
        self._hurry = hurry
        # Where there is no retry, nobody draws on it.
        self._budget = RetryBudget() if frame.budget is None else frame.budget
        self._clock = frame.clock
        self._judge = frame.kit.judge
        self._observe = frame.observe
        self._tally = frame.tally
        self._full = frame.full
        self._repeatable = frame.repeatable
        self._longest = timeout.limit
        self._share = timeout.share
        self._slow_after = breaker.slow_after

    async def run(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a function with its arguments under the frame."""
        if self.led is not None:
            return await self.led(function, *args, **kwargs)
        frame, clock, hurry = self._frame, self._clock, self._hurry
        breaker, bulkhead, budget = self._breaker, self._bulkhead, self._budget
        now: float = clock()
        until = now + self._full
        earliest, outermost = _get_due(), _get_ambient()
        if earliest is not None and earliest < until:
            until = earliest
        if outermost is not None and outermost.deadline < until:  # it may have come later
            until = outermost.deadline
        allowed = until - now
        repeatable = self._repeatable
        if repeatable:
            allowed *= self._share
            if allowed > self._longest:
                allowed = self._longest
        if (
            not 0.0 < allowed >= hurry.usual  # where half of it would not do, nor here
            or not breaker.freely
            or (entered := bulkhead.entered) >= bulkhead.most
            or bulkhead.queued
        ):
            return await frame.run(None, function, args, kwargs)
        if now < budget.edge:
            budget.fresh += 1
        else:
            budget.deposit(now)
        limit = now + allowed if repeatable else until
        desk = frame.desk
        driver: Any = None
        if desk.place.thread == _ident() and desk.place.stepper is None:
            driver = task_on(desk.loop)
        if driver is None:  # another thread, another loop, or no task
            desk = frame.desk = frame.kit.desk()
            driver = working()
        sweep = desk.sweep
        breaker.admitted += 1
        epoch = breaker.generation
        bulkhead.entered = entered + 1
        cuts = frame.cuts
        cut = cuts.first
        if cut is None or cut.sweep is not sweep or limit < cut.start:
            cut = cuts.take(frame, sweep, driver, limit, by_hand=True)
        else:  # as it is taken there, without the call
            cuts.first = cut.spare
            cut.watch = frame
            cut.work = driver
            cut.limit = limit
            cut.asked = driver.cancelling()
            cut.by_hand = True
        try:
            token = _set_due(limit)
            try:
                answer = await (function(*args, **kwargs) if kwargs else function(*args))
            finally:
                try:
                    _reset_due(token)
                except ValueError:
                    pass  # thrown away by another Context, which never saw that value
            verdict = _GOOD if self._judge is None else judged(self._judge, answer)
        except BaseException as error:
            attempt = self._made(cut, epoch, now, until)
            failure = attempt.lost(error, cut)
            if failure is error:
                failure = None  # it holds its traceback, and that one this frame
                raise
            if failure is not None:
                try:
                    raise failure from failure.__cause__
                finally:
                    failure = None  # as above
            answer = None
        else:
            if (
                verdict is _GOOD
                and not cut.rings
                and (type(answer) is frame.plain or not frame.streams(answer))
            ):
                cut.work = cut.watch = NOBODY  # whose end it must not put off
                cut.spare = cuts.first
                cuts.first = cut
                end: float = clock()
                took = end - now
                if (
                    end < breaker.edge
                    and took <= self._slow_after
                    and epoch == breaker.generation
                    and not bulkhead.queued
                ):
                    breaker.fresh += 1
                    bulkhead.most += 1
                else:
                    settle(frame.named(None, epoch, now, limit, inside=True), verdict, end)
                tally = self._tally
                count = tally.good = tally.good + 1
                if took > LONG:
                    hurry.observe(took, end)
                elif not count & SHORT:
                    hurry.observe(took, end, SHORT + 1)
                if self._observe is not None:
                    frame.tell(1, 1, took, took)
                return answer
            in_time = not cut.rings
            attempt = self._made(cut, epoch, now, until)
            if attempt.won(answer, verdict, in_time=in_time):
                return answer
        return await frame.run(None, function, args, kwargs, await attempt.rest(answer))

    def _made(self, cut: Cut, epoch: int, begun: float, until: float) -> Attempt:
        """Make an attempt of a call that did not simply go well, once its alarm is disarmed."""
        cut.disarm()
        if cut.rings:
            cut.off()
        frame = self._frame
        attempt = Attempt(frame, begun, until, None, repeatable=frame.repeatable)
        held = frame.named(None, epoch, begun, cut.limit, inside=True)
        attempt.take(held, begun, cut.limit, 1, None)
        return attempt


def express(frame: Frame) -> Way:
    """Return the express way through a frame, or the frame's own where some part is missing."""
    breaker, bulkhead, hurry, timeout = frame.breaker, frame.bulkhead, frame.hurry, frame.timeout
    if breaker is None or bulkhead is None or hurry is None or timeout is None:
        return Way(frame)
    strange = frame.retry is not None and frame.budget is None  # a budget of somebody's own
    if not frame.simple or not timeout.enforce or strange:
        return Way(frame)
    return Express(frame, breaker, bulkhead, hurry, timeout)


def spread(way: Way, method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return what goes a way, called as `method`: with a function, and its arguments after it.

    It is the same code: all that is different is who packs the arguments. (Another function around
    it would cost 50 ns, and a second copy of the code a second set of mistakes. Of what is compiled
    the code cannot be had, and there it is another function all the same.)
    """
    run: Any = type(way).run
    if not isinstance(run, FunctionType):
        # Two underscores keep it from being given by name, where mypyc has no use for a slash.
        def call(__function: Function, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            return way.run(__function, args, kwargs)

        named: Callable[..., Coroutine[Any, Any, Any]] = mark(update_wrapper(call, method))
        return named
    flags = run.__code__.co_flags | CO_VARARGS | CO_VARKEYWORDS
    code = run.__code__.replace(co_argcount=2, co_posonlyargcount=2, co_flags=flags)
    function: Any = update_wrapper(FunctionType(code, run.__globals__), method)
    return MethodType(mark(function), way)
