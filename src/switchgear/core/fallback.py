"""Fallbacks: what a call is answered with when its dependency gave no answer.

::

    static([])                              always this value
    computed(function)                      function(call, error), sync or async
    Stale(age=60.0, key=...)                the last good answer to the same question

A fallback stands outside everything that can fail, retries and breakers included, and is not
an attempt: it costs no permit and no budget.
"""

from asyncio import CancelledError, get_running_loop
from collections.abc import Awaitable, Callable, Hashable
from inspect import isawaitable
from typing import Any, Final

import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.core.drivers import Work, working
from switchgear.core.endings import judged, streams
from switchgear.core.handler import Handler, Judge
from switchgear.core.misplaced import Misplaced
from switchgear.core.observe import FellBack, Observer, quiet
from switchgear.core.sweep import sweep_of
from switchgear.policy import ranges
from switchgear.policy.call import Call
from switchgear.policy.fallback import LastGood, covers, covers_answer
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import GOOD, Health, Verdict

__all__ = ["Computed", "Fallback", "FallingBack", "Stale", "Static", "computed", "falling_back",
           "static"]  # fmt: skip

GRACE: Final = 0.2  # seconds that a computed fallback has even where the deadline has passed


class Static(msgspec.Struct, frozen=True):
    """One value for every call: the same object each time."""

    value: Any


class Computed(msgspec.Struct, frozen=True):
    """What `function(call, error)` returns, or what awaiting that gives."""

    function: Callable[[Call[Any], Exception], Any]


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """The last good answer to the same question, at most `age` seconds old.

    `key` says of a call (for a policy, of its arguments) what it asks; None asks what nobody else
    may be told. Everything that an answer depends on belongs into it, the principal too where
    answers differ by who asks. At most `most` answers are kept (of streams, none).
    `mark(value, age)` makes what is returned, so that a reader can see that it is old.
    """

    age: float
    key: Callable[..., Hashable | None]
    most: int = 1024
    mark: Callable[[Any, float], Any] | None = None

    def __post_init__(self) -> None:
        ranges.above(self, "age", 0)
        ranges.at_least(self, "most", 1)


Fallback = Static | Computed | Stale


def static(value: Any) -> Static:
    """Answer every call that fails with `value`: the same object each time."""
    return Static(value)


def computed(function: Callable[[Call[Any], Exception], Any]) -> Computed:
    """Answer a call that fails with what `function(call, error)` returns or, awaited, gives.

    It runs where the caller runs, until the deadline of the call, and has a fifth of a second
    where that has passed. What it raises is raised, with the first error as its context.
    """
    return Computed(function)


def falling_back(
    fallback: Fallback,
    *,
    name: str,
    clock: Clock = FINE,
    tell: Observer = quiet,
    judge: Judge | None = None,
) -> "FallingBack":
    """Make the layer that answers by `fallback` where the work below it gave no answer.

    `policy.fallback.covers` says which failures that are; `judge` says it of returned values. Where
    the fallback has nothing either, the failure stands. Several are layers inside each other: the
    innermost is asked first.
    """
    return FallingBack(fallback, name=name, clock=clock, tell=tell, judge=judge)


class FallingBack:
    """The layer that `falling_back` makes. What it remembers is its own."""

    def __init__(
        self, fallback: Fallback, *, name: str, clock: Clock, tell: Observer, judge: Judge | None
    ) -> None:
        self.__name__ = _words(fallback)
        self._fallback = fallback
        self._name = name
        self._clock = clock
        self._tell = tell
        self._judge = judge
        self._good = LastGood(fallback.age, fallback.most) if isinstance(fallback, Stale) else None

    def __call__(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Wrap a handler."""

        async def fallen_back(call: Call[Any]) -> Any:
            try:
                answer = await handler(call)
                verdict = GOOD if self._judge is None else judged(self._judge, answer)
            except Exception as error:
                if isinstance(error, Misplaced) or not covers(error):
                    raise
                found = await self._find(call, error)
                if found is None:
                    raise
                return found[0]
            if covers_answer(verdict):
                return await self._replace(call, answer)
            self._keep(call, answer, verdict)
            return answer

        return fallen_back

    def statistics(self) -> dict[str, float | str]:
        """Return the figures of the answers that are kept; none where none are."""
        return {} if self._good is None else self._good.statistics()

    async def _replace(self, call: Call[Any], answer: Any) -> Any:
        """Put the fallback in the place of an answer that counts as a failure."""
        kept = False
        try:
            found = await self._find(
                call, Fault(Code.UNKNOWN, f"{self._name}: what it answered counts as a failure")
            )
            kept = found is None
        finally:
            if not kept and streams(answer):
                answer.abandon()
        return answer if found is None else found[0]

    def _keep(self, call: Call[Any], answer: Any, verdict: Verdict) -> None:
        fallback = self._fallback
        if isinstance(fallback, Stale) and self._good is not None:
            if verdict.health is not Health.GOOD or streams(answer):
                return
            key = fallback.key(call)
            if key is not None:
                self._good.keep(key, answer, self._clock())

    async def _find(self, call: Call[Any], error: Exception) -> tuple[Any] | None:
        """Return what the fallback has for a call that failed, or None."""
        fallback = self._fallback
        age = None
        if isinstance(fallback, Static):
            how, value = "static", fallback.value
        elif isinstance(fallback, Computed):
            how, value = "computed", fallback.function(call, error)
            if isawaitable(value):
                value = await self._in_time(call, error, value)
        else:
            key = fallback.key(call)
            assert self._good is not None  # noqa: S101 - for the type checker
            kept = None if key is None else self._good.find(key, self._clock())
            if kept is None:
                return None
            how, (value, age) = "stale", kept
            if fallback.mark is not None:
                value = fallback.mark(value, age)
        code = error.code.value if isinstance(error, Fault) else type(error).__name__
        self._tell(FellBack(self._name, how, code, age))
        return (value,)

    async def _in_time(self, call: Call[Any], error: Exception, value: Awaitable[Any]) -> Any:
        """Await what a function computes, but no longer than its call has an answer to get."""
        now = self._clock()
        until = max(call.deadline, now + GRACE)
        driver = working()
        limit = _Limit(driver)
        slot = sweep_of(get_running_loop(), self._clock).arm(until, limit)
        try:
            return await value
        except CancelledError:
            if limit.alone():
                raise Fault(
                    Code.DEADLINE_EXCEEDED,
                    f"{self._name}: its fallback had no value within {until - now:.3f} s",
                    origin=self._name,
                ) from error
            raise
        finally:
            slot.discard(limit)
            if limit.rang:
                driver.uncancel()


class _Limit:
    """The alarm of a computed fallback: it calls off what drives it."""

    __slots__ = ("_asked", "_driver", "rang")

    def __init__(self, driver: Work) -> None:
        self._driver = driver
        self._asked = driver.cancelling()
        self.rang = False

    def ring(self) -> None:
        self.rang = True
        self._driver.cancel()

    def alone(self) -> bool:
        """Say whether it rang, and nobody else has called the work off."""
        return self.rang and self._driver.cancelling() <= self._asked + 1


def _words(fallback: Fallback) -> str:
    if isinstance(fallback, Stale):
        return f"the last good answer, at most {fallback.age:g} s old"
    return "a static value" if isinstance(fallback, Static) else "a computed value"
