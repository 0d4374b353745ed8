"""Injections: what `Chaos` can do to a call. Frozen values that say how, how often and when.

::

    Latency(0.2)                             # 200 ms more
    Latency(0.2, most=1.0)                   # anything from 200 ms to 1 s
    Latency(0.05, tail=1.2, most=30.0)       # mostly 50 ms, now and then far more
    Failure(Code.UNAVAILABLE, rate=0.1)      # a tenth of the calls
    Failure(ConnectionResetError, times=2)   # the next two
    Failure(TimeoutError, lost=True)         # the work is done, and its answer lost
    Hang(since=2.0, until=5.0)               # no answer, from the second second to the fifth
    Answer(Response(503), only=is_first)     # an answer of ours, to the calls that you choose
    Altered(str.upper)                       # its own answer, changed

Further kinds are subclasses with a `meet` of their own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import msgspec

from switchgear.core.invocation import is_async
from switchgear.policy import ranges
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault

__all__ = ["Altered", "Answer", "Failure", "Hang", "Injection", "Latency"]

Go = Callable[[], Awaitable[Any]]


class Injection(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Say which calls are struck: a `rate` of them, in a window of time, `times` at most.

    `since` and `until` are seconds after the first call that came when the chaos was switched on.
    `only` chooses among the calls: it is given the `Call`, whose `attempt` counts from 1.
    """

    rate: float = 1.0
    since: float = 0.0
    until: float = inf
    times: int | None = None
    only: Callable[[Call[Any]], bool] | None = None

    def __post_init__(self) -> None:
        ranges.between(self, "rate", 0, 1)
        ranges.at_least(self, "since", 0)
        ranges.between(self, "until", self.since, inf)
        if self.times is not None:
            ranges.at_least(self, "times", 1)
        if self.only is not None:
            _plain(self, "only")

    @property
    def ends(self) -> bool:
        """Say whether nothing that stands behind this one is met by the call."""
        return False

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        """Strike a call: `go` makes it, `chance` is its own random number in [0, 1)."""
        raise NotImplementedError


class Latency(Injection, frozen=True):
    """Let time pass before the call goes on, in seconds.

    Exactly `seconds`, or evenly from there up to `most`. With a `tail` it follows Pareto's law:
    never less than `seconds`, mostly not much more, and the smaller the tail the more often far
    more (1.2 is a bad day), up to `most` where that is given.
    """

    seconds: float
    most: float | None = None
    tail: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges.above(self, "seconds", 0)
        if self.most is not None:
            ranges.at_least(self, "most", self.seconds)
        if self.tail is not None:
            ranges.above(self, "tail", 0)

    def draw(self, chance: float) -> float:
        """Return the seconds that a random number in [0, 1) stands for."""
        if self.tail is not None:
            wait: float = self.seconds * (1.0 - chance) ** (-1.0 / self.tail)
            return wait if self.most is None else min(wait, self.most)
        if self.most is not None:
            return self.seconds + chance * (self.most - self.seconds)
        return self.seconds

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        await asyncio.sleep(self.draw(chance))
        return await go()


class Failure(Injection, frozen=True):
    """Raise instead of making the call: a `Code` as a `Fault`, an exception, or what `error` makes.

    With `lost` the call is made and its answer thrown away: the effect is there and the caller
    cannot know. A fault made of a code leaves its effect unknown, as a broken connection does.
    """

    error: Code | BaseException | Callable[[], BaseException] = Code.UNAVAILABLE
    lost: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        error = self.error
        fits = issubclass(error, BaseException) if isinstance(error, type) else callable(error)
        if not fits and not isinstance(error, Code | BaseException):
            right = "a Code, an exception, or a class or function that makes one"
            raise TypeError(ranges.words(self, "error", right))

    @property
    def ends(self) -> bool:
        return not self.lost

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        if self.lost:
            await go()
        if isinstance(self.error, Code):
            raise Fault(self.error, why, origin="chaos")
        if isinstance(self.error, BaseException):  # always the same one: a clean traceback for it
            raise self.error.with_traceback(None)
        error = self.error()
        if not isinstance(error, BaseException):
            raise TypeError(f"Failure.error made {error!r}: an exception would be right")
        error.add_note(why)
        raise error


class Hang(Injection, frozen=True):
    """Never answer. Only being called off ends it: by a timeout, or by a caller who leaves."""

    @property
    def ends(self) -> bool:
        return True

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        await asyncio.get_running_loop().create_future()


class Answer(Injection, frozen=True):
    """Answer `value` instead of making the call."""

    value: Any

    @property
    def ends(self) -> bool:
        return True

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        return self.value


class Altered(Injection, frozen=True):
    """Make the call, and answer what `change` makes of its answer."""

    change: Callable[[Any], Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        _plain(self, "change")

    async def meet(self, go: Go, chance: float, why: str) -> Any:
        return self.change(await go())


def _plain(owner: Injection, field: str) -> None:
    """Require a field to be a function whose answer is there at once: a coroutine is always true.

    Raises:
        TypeError: it is not; the message says what, where, and what would be right.
    """
    ranges.function(owner, field)
    if is_async(getattr(owner, field)):
        raise TypeError(ranges.words(owner, field, "a plain function, for nobody awaits it,"))
