"""The express way: what a policy with all its protections does where nothing is amiss.

It is `Frame.run` once more, for the case that nearly every call is: every part is there (a retry
may be missing), every gate lets everybody in, the function returns, and in time. What is known
when the policy is made is bound here instead of looked at in every call, which saves 0.2 of 1.2 us.
Whatever else happens goes the frame's way: at once where a gate would have to be asked, by an
`Attempt` where a call did not simply go well. (A test holds the two to one another, history by
history.)
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from inspect import CO_VARARGS, CO_VARKEYWORDS
from threading import get_ident
from types import FunctionType
from typing import Any, Final, NamedTuple

from switchgear.core.ambient import ambient, due
from switchgear.core.attempt import Attempt
from switchgear.core.drivers import task_on, working
from switchgear.core.endings import judged
from switchgear.core.frames import LONG, SHORT, Frame
from switchgear.core.permits import settle
from switchgear.core.timeout import Cut
from switchgear.policy.budget import RetryBudget
from switchgear.policy.verdict import GOOD

__all__ = ["Express", "Run", "express", "spread"]

Function = Callable[..., Awaitable[Any]]
Lead = Callable[..., Coroutine[Any, Any, Any]]
Run = Callable[[Function, tuple[Any, ...], Mapping[str, Any]], Coroutine[Any, Any, Any]]
"""Runs a function with its arguments under a frame."""


class Express(NamedTuple):
    """The way itself, and `lead`: gives it another `call` to lead to for a while, or None again.

    (So whoever has kept the way through a policy is led to what is in that one's place for a test.)
    """

    run: Run
    lead: Callable[[Lead | None], None]


# What is imported is looked up by its name where this is compiled, and these are not.
_ident: Final = get_ident
_cut: Final[Callable[[Any, Any, float, int, bool], Cut]] = Cut
_get_due: Final = due.get
_get_ambient: Final = ambient.get
_set_due: Final = due.set
_reset_due: Final = due.reset


def express(frame: Frame) -> Express:
    """Return the express way through a frame, or the frame's own where some part is missing."""
    run = frame.run
    led: Lead | None = None

    def lead(call: Lead | None) -> None:
        nonlocal led
        led = call

    def plainly(
        function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        if led is not None:
            return led(function, *args, **kwargs)
        return run(None, function, args, kwargs)

    breaker, bulkhead, hurry = frame.breaker, frame.bulkhead, frame.hurry
    timeout, budget = frame.timeout, frame.budget
    if breaker is None or bulkhead is None or hurry is None or timeout is None:
        return Express(plainly, lead)
    if not frame.simple or not timeout.enforce or (frame.retry is not None and budget is None):
        return Express(plainly, lead)
    if budget is None:
        budget = RetryBudget()  # nobody draws on it
    clock, judge, observe, tally = frame.clock, frame.kit.judge, frame.observe, frame.tally
    full, repeatable, longest, share = frame.full, frame.repeatable, timeout.limit, timeout.share
    slow_after = breaker.slow_after

    async def hasten(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if led is not None:
            return await led(function, *args, **kwargs)
        now = clock()
        until = now + full
        earliest, outermost = _get_due(), _get_ambient()
        if earliest is not None and earliest < until:
            until = earliest
        if outermost is not None and outermost.deadline < until:  # it may have come later
            until = outermost.deadline
        allowed = until - now
        if repeatable:
            allowed *= share
            if allowed > longest:
                allowed = longest
        if (
            not 0.0 < allowed >= hurry.usual  # where half of it would not do, nor here
            or not breaker.freely
            or (entered := bulkhead.entered) >= bulkhead.most
            or bulkhead.queued
        ):
            return await run(None, function, args, kwargs)
        if now < budget.edge:
            budget.fresh += 1
        else:
            budget.deposit(now)
        limit = now + allowed if repeatable else until
        desk = frame.desk
        driver: Any = None
        if desk.thread == _ident() and desk.place.stepper is None:
            driver = task_on(desk.loop)
        if driver is None:  # another thread, another loop, or no task
            desk = frame.desk = frame.kit.desk()
            driver = working()
        sweep = desk.sweep
        slot = sweep.slot if sweep.start <= limit < sweep.end else sweep.slot_of(limit)
        breaker.admitted += 1
        epoch = breaker.generation
        bulkhead.entered = entered + 1
        cut = _cut(frame, driver, limit, driver.cancelling(), True)
        slot.add(cut)
        try:
            token = _set_due(limit)
            try:
                answer = await (function(*args, **kwargs) if kwargs else function(*args))
            finally:
                try:
                    _reset_due(token)
                except ValueError:
                    pass  # thrown away by another Context, which never saw that value
            verdict = GOOD if judge is None else judged(judge, answer)
        except BaseException as error:
            slot.discard(cut)
            attempt = _made(frame, cut, epoch, now, until)
            failure = attempt.lost(error, cut)
            if failure is error:
                raise
            if failure is not None:
                raise failure from failure.__cause__
            answer = None
        else:
            slot.discard(cut)
            if (
                verdict is GOOD
                and not cut.rings
                and (answer.__class__ is frame.plain or not frame.streams(answer))
            ):
                end = clock()
                took = end - now
                if (
                    end < breaker.edge
                    and took <= slow_after
                    and epoch == breaker.generation
                    and not bulkhead.queued
                ):
                    breaker.fresh += 1
                    bulkhead.most += 1
                else:
                    settle(frame.named(None, epoch, now, limit, inside=True), verdict, end)
                count = tally.good = tally.good + 1
                if took > LONG:
                    hurry.observe(took, end)
                elif not count & SHORT:
                    hurry.observe(took, end, SHORT + 1)
                if observe is not None:
                    frame.tell(1, 1, took, took)
                return answer
            in_time = not cut.rings
            attempt = _made(frame, cut, epoch, now, until)
            if attempt.won(answer, verdict, in_time=in_time):
                return answer
        return await run(None, function, args, kwargs, await attempt.rest(answer))

    return Express(hasten, lead)


def _made(frame: Frame, cut: Cut, epoch: int, begun: float, until: float) -> Attempt:
    """Make an attempt of a call that did not simply go well, once its alarm is disarmed."""
    if cut.rings:
        cut.off()
    attempt = Attempt(frame, begun, until, None, repeatable=frame.repeatable)
    held = frame.named(None, epoch, begun, cut.limit, inside=True)
    attempt.take(held, begun, cut.limit, 1, None)
    return attempt


def spread(run: Run) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the same code, called as `run(function, *args, **kwargs)`.

    Those two stand where they stood: all that is different is who packs them. (Another function
    around it would cost 50 ns, and a second copy of the code a second set of mistakes. Of what is
    compiled the code cannot be had, and there it is another function all the same.)
    """
    if not isinstance(run, FunctionType):

        def call(function: Function, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            return run(function, args, kwargs)

        return call
    code = run.__code__
    flags = code.co_flags | CO_VARARGS | CO_VARKEYWORDS
    code = code.replace(co_argcount=1, co_posonlyargcount=1, co_flags=flags)
    return FunctionType(code, run.__globals__, "call", None, run.__closure__)
