"""Hedging: a second attempt beside one that is slower than usual; the first good answer wins.

::

    first attempt   |-----------------------------x   called off: the other one has won
                    |<--- delay --->|
    second attempt                  |------> answer

It cuts the tail that comes of one slow server, and costs a few further attempts, which the
retry budget of the dependency pays for: where everything is slow, it is soon spent, and hedging
does not double the load. (J. Dean and L. A. Barroso, The tail at scale, CACM 56(2), 2013.)
"""

from asyncio import FIRST_COMPLETED, CancelledError, Task, get_running_loop, wait
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from switchgear.core.clock import FINE, Clock
from switchgear.core.endings import judged, streams
from switchgear.core.handler import Handler, Judge
from switchgear.core.observe import Hedging, Observer, quiet
from switchgear.core.per_loop import PerLoop
from switchgear.policy.call import Call
from switchgear.policy.verdict import Health, judge

__all__ = ["Hedge", "Hedged", "hedging"]

GRACE: Final = 0.01  # seconds that an answer waits for the loser to end; one that is slower is left

# The loop holds its tasks weakly, and nobody else holds one that was left.
_left: Final[PerLoop[set["Task[Any]"]]] = PerLoop(lambda _: set())


class Hedge(Protocol):
    """The machine that says from when on an attempt is slow (`policy.hedge` has one)."""

    most_extra: int

    def delay(self, now: float) -> float | None:
        """Return the seconds after which another attempt may be sent; None while unknown."""
        ...

    def observe(self, elapsed: float, now: float) -> None:
        """Learn how long an attempt took that was answered, or at least took, if overtaken."""
        ...


def hedging(
    hedge: Hedge,
    withdraw: Callable[[float], bool],
    *,
    name: str,
    clock: Clock = FINE,
    tell: Observer = quiet,
    judge: Judge | None = None,
) -> "Hedged":
    """Make the layer that sends a second attempt beside a slow one, for repeatable calls only.

    `withdraw` takes it out of the budget that hedges share with retries. Each attempt runs in a
    task with a copy of the caller's Context. An answer is what was returned (unless `judge` calls
    it BAD) and what the dependency said no with; it ends the race, and the other attempt is called
    off. Where both fail, the call fails as its first attempt did.
    """
    return Hedged(hedge, withdraw, name=name, clock=clock, tell=tell, judge=judge)


class Hedged:
    """The layer that `hedging` makes."""

    def __init__(
        self,
        hedge: Hedge,
        withdraw: Callable[[float], bool],
        *,
        name: str,
        clock: Clock,
        tell: Observer,
        judge: Judge | None,
    ) -> None:
        self.__name__ = "a second attempt beside a slow one"
        self._hedge = hedge
        self._withdraw = withdraw
        self._name = name
        self._clock = clock
        self._tell = tell
        self._judge = judge
        self._sent = self._won = self._unpaid = 0

    def statistics(self) -> dict[str, float | str]:
        """Return how many further attempts were sent, how many of them won, how many were not paid.

        Those that were `unpaid` were due, and the budget had nothing for them.
        """
        return {"sent": self._sent, "won": self._won, "unpaid": self._unpaid}

    def __call__(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Wrap a handler."""

        async def hedged(call: Call[Any]) -> Any:
            begun = self._clock()
            delay = self._hedge.delay(begun) if call.repeatable else None
            if delay is not None and begun + delay < call.deadline:
                return await self._race(handler, call, begun, delay)
            answer = await handler(call)
            if self._well(answer):
                now = self._clock()
                self._hedge.observe(now - begun, now)
            return answer

        return hedged

    async def _race(
        self, handler: Handler[Any, Any], call: Call[Any], begun: float, delay: float
    ) -> Any:
        """Run attempts to the first answer, and call the others off."""
        tries = [_start(handler, call, begun)]
        slow: list[Task[Any]] = []
        try:
            winner = await self._first(handler, call, tries, delay)
            self._won += winner is not tries[0]
            tries.remove(winner)
            while tries:
                slow.append(tries.pop().task)
                _release(slow[-1])
            tries.append(winner)
            if slow := [task for task in slow if not task.done()]:
                await wait(slow, timeout=GRACE)
        except BaseException as error:
            for one in tries:
                _release(one.task)
            if not isinstance(error, GeneratorExit):  # thrown away: it cannot wait any more
                await _ended([*slow, *(one.task for one in tries)])
            raise
        return winner.task.result()

    async def _first(
        self, handler: Handler[Any, Any], call: Call[Any], tries: list["_Try"], delay: float
    ) -> "_Try":
        """Return the attempt that was answered first, or the first one where none was.

        Another is sent when nothing has ended for `delay` since the latest. One that fails before
        that is no matter of a hedge: it is for the retry to decide.
        """
        due: float | None = tries[0].begun + delay
        while running := [one.task for one in tries if not one.task.done()]:
            left = None if due is None else due - self._clock()
            ended, _ = await wait(running, timeout=left, return_when=FIRST_COMPLETED)
            now = self._clock()
            for one in tries:
                if one.task in ended and self._answered(one.task):
                    self._learn(tries, one, now)
                    return one
            if not ended:
                due = now + delay if self._another(handler, call, tries, now) else None
        return tries[0]

    def _another(
        self, handler: Handler[Any, Any], call: Call[Any], tries: list["_Try"], now: float
    ) -> bool:
        """Send another attempt, if it is paid for; say whether a further one may follow."""
        extra = len(tries)
        if now >= call.deadline:
            return False
        if not self._withdraw(now):
            self._unpaid += 1
            return False
        self._sent += 1
        call.trail.attempts += 1
        tries.append(_start(handler, replace(call, attempt=call.attempt + extra), now))
        self._tell(Hedging(self._name, now - tries[0].begun))
        return extra < self._hedge.most_extra

    def _learn(self, tries: list["_Try"], winner: "_Try", now: float) -> None:
        """Teach the machine how long the winner took, and those that it has overtaken at least.

        Left out, the slow ones would be missing from what the machine knows, and it would hedge
        ever sooner. (One that was sent later than the winner tells nothing: it had no time.)
        """
        for one in tries:
            if one is winner or (one.begun < winner.begun and not one.task.done()):
                self._hedge.observe(now - one.begun, now)

    def _answered(self, task: "Task[Any]") -> bool:
        if task.cancelled():
            return False
        error = task.exception()
        if error is None:
            return self._well(task.result())
        verdict = judge(error)
        return verdict.health is Health.GOOD and not verdict.again

    def _well(self, answer: Any) -> bool:
        return self._judge is None or judged(self._judge, answer).health is not Health.BAD


class _Try(NamedTuple):
    """One attempt, and when it began."""

    task: "Task[Any]"
    begun: float


def _start(handler: Handler[Any, Any], call: Call[Any], begun: float) -> _Try:
    # Not by loop.create_task: an eager task factory would run it before it is known here.
    return _Try(Task(handler(call), loop=get_running_loop()), begun)


def _release(task: "Task[Any]") -> None:
    """Call an attempt off, whose end nobody takes: what it may still answer ends with it."""
    if task.get_loop().is_closed():  # a coroutine thrown away after it: nothing runs any more
        return
    _left.of(task.get_loop()).add(task)
    task.cancel()
    task.add_done_callback(_forget, context=Context())


def _forget(task: "Task[Any]") -> None:
    _left.of(task.get_loop()).discard(task)
    if not task.cancelled() and task.exception() is None and streams(task.result()):
        task.result().abandon()


async def _ended(tasks: list["Task[Any]"]) -> None:
    """Wait until attempts that were called off have ended, as their caller would without hedging.

    To be called off once more is passed on to them.
    """
    while running := [task for task in tasks if not task.done()]:
        try:
            await wait(running)
        except CancelledError:
            for task in running:
                task.cancel()
