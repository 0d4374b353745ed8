"""Retry: whether there is another attempt, and the sleep before it."""

from asyncio import Future, get_running_loop
from contextvars import Context
from typing import NamedTuple, Protocol

from switchgear.policy.fault import Effect
from switchgear.policy.gate import Schedule
from switchgear.policy.verdict import Verdict, effect_of

__all__ = ["Budget", "Retry", "sleep"]


class Budget(Protocol):
    """What further attempts are paid from."""

    def deposit(self, now: float) -> None: ...
    def withdraw(self, now: float) -> bool: ...


class Retry(NamedTuple):
    """The schedule of further attempts, and the budget they are paid from.

    Where it is not to `enforce`, it says what it would do, and there is no further attempt.
    """

    schedule: Schedule
    budget: Budget
    enforce: bool = True

    def pause(
        self,
        tries: int,
        verdict: Verdict,
        error: BaseException | None,
        now: float,
        *,
        until: float,
        repeatable: bool,
    ) -> float | None:
        """Return the seconds until the next attempt, or None when there must not be one.

        `error` is what the last one raised, `until` the call's deadline. A call that is not
        repeatable is tried again only where that one surely did nothing; a call that was called
        off, never.
        """
        if not verdict.again:
            return None
        if error is None:
            safe = repeatable
        else:
            safe = isinstance(error, Exception) and (repeatable or effect_of(error) is Effect.NONE)
        if not safe:
            return None
        wait = self.schedule.delay(tries, verdict, verdict.after)
        if wait is None or now + wait >= until or not self.budget.withdraw(now):
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
