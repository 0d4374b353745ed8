"""Chaos: seeded faults, as an ordinary layer of the pipeline that is to withstand them.

::

    chaos = Chaos(7, [Latency(0.2, rate=0.5), Failure(Code.UNAVAILABLE, rate=0.1)])
    mail = Policy("mail", chaos=chaos)      # innermost: what it does meets every protection
    send = chaos.around(send)               # or alone, around any async function

Each fault draws its numbers from a stream of its own, the same for the same seed and the same
order of calls: neither the time, nor a window or predicate, nor another fault moves them. A
drill that injected nothing proves nothing: assert that `chaos.injected` is above 0.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial, wraps
from random import Random
from types import CoroutineType
from typing import Any, Final, ParamSpec, TypeVar

from switchgear.core.clock import Clock
from switchgear.core.handler import Handler
from switchgear.core.invocation import is_async
from switchgear.policy.call import Call
from switchgear.testing.injections import Injection

__all__ = ["Chaos"]

_AS_IN: Final = "as in Chaos(7, [Failure(rate=0.1)])"

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Chaos:
    """Strike calls with `faults`, each in its turn, as a `seed` decides.

    Each fault draws for itself, so several may strike one call: those that come first in the list
    are met first. Without a seed one is made up, and `repr` tells it, as does each fault that is
    made here: with it a failed test fails again. `clock` dates the windows of the faults; by
    default it is the running loop's time, which is virtual on a virtual loop.

    Raises TypeError for a seed or a clock that is none, and for what is no fault.
    """

    def __init__(
        self, seed: int | None = None, faults: Iterable[Injection] = (), clock: Clock | None = None
    ) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"seed={seed!r}: a whole number would be right, {_AS_IN}")
        if not isinstance(faults, Iterable):
            raise TypeError(f"faults={faults!r}: a list of faults would be right, {_AS_IN}")
        if clock is not None and not callable(clock):
            raise TypeError(f"clock={clock!r}: a function that tells seconds would be right")
        self.faults = tuple(faults)
        for fault in self.faults:
            if not isinstance(fault, Injection):
                raise TypeError(f"{fault!r} is no fault: one that is made would be right, {_AS_IN}")
        self.seed = Random().randrange(2**32) if seed is None else seed
        self._clock = clock
        self._on = True
        self.reset()

    def __repr__(self) -> str:
        return f"Chaos(seed={self.seed}, faults={list(self.faults)!r})"

    @property
    def calls(self) -> int:
        """How many calls came while it was on, struck or not."""
        return self._calls

    @property
    def injected(self) -> int:
        """How many faults were injected. A drill counts only when there were any."""
        return sum(self._injected)

    def statistics(self) -> dict[str, int]:
        """Return how many calls came, and how many faults were injected, in all and by kind."""
        figures = {"calls": self.calls, "injected": self.injected}
        for fault, injected in zip(self.faults, self._injected, strict=True):
            kind = type(fault).__name__.lower()
            figures[kind] = figures.get(kind, 0) + injected
        return figures

    def on(self) -> None:
        """Switch it on, as it is from the start; windows count from the next call."""
        self._on = True
        self._origin: float | None = None

    def off(self) -> None:
        """Switch it off: calls pass unharmed and uncounted. Those already struck stay so."""
        self._on = False

    def reset(self) -> None:
        """Begin again from the seed, with nothing counted, switched on or off as it is."""
        self._streams = [
            Random(f"{self.seed}/{number}")  # a text is hashed the same on every machine
            for number in range(len(self.faults))
        ]
        self._origin = None
        self._calls = 0
        self._meant = [0] * len(self.faults)
        self._injected = [0] * len(self.faults)

    def __call__(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Wrap a handler: this is what makes it a layer."""

        def disturbed(call: Call[Any]) -> Coroutine[Any, Any, Any]:
            return self._disturb(handler, call) if self._on else handler(call)

        return disturbed

    def around(
        self, function: Callable[Given, Coroutine[Any, Any, Result]]
    ) -> "Callable[Given, CoroutineType[Any, Any, Result]]":
        """Decorate an async function, without a policy.

        What it makes is typed as pyright types any async function, so that it fits where one is
        overridden, or a protocol asks for one.

        Raises TypeError for any other function.
        """
        if not is_async(function):
            raise TypeError(f"chaos comes around async functions, not {function!r}")
        disturbed = self(_invoke)

        @wraps(function)
        async def struck(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            call = Call((function, args, kwargs), float("inf"))
            result: Result = await disturbed(call)
            return result

        return struck  # type: ignore[return-value]  # to mypy, an async function's is less

    async def _disturb(self, handler: Handler[Any, Any], call: Call[Any]) -> Any:
        plan = self._plan(call)
        return await self._meet(plan, partial(handler, call), self._calls)

    def _plan(self, call: Call[Any]) -> list[tuple[int, float]]:
        """Decide which faults strike a call, each with its random number, in their order.

        Two numbers are drawn per fault and call whatever comes of them: so the numbers of a call
        depend only on its place in the order.
        """
        now = asyncio.get_running_loop().time() if self._clock is None else self._clock()
        if self._origin is None:
            self._origin = now
        self._calls += 1
        at, over = now - self._origin, False
        plan: list[tuple[int, float]] = []
        for number, fault in enumerate(self.faults):
            roll, chance = self._streams[number].random(), self._streams[number].random()
            if over or not (roll < fault.rate and fault.since <= at < fault.until):
                continue
            if fault.times is not None and self._meant[number] >= fault.times:
                continue
            if fault.only is not None and not fault.only(call):
                continue
            self._meant[number] += 1
            plan.append((number, chance))
            over = fault.ends
        return plan

    async def _meet(
        self,
        plan: list[tuple[int, float]],
        go: Callable[[], Coroutine[Any, Any, Any]],
        call: int,
    ) -> Any:
        """Have a call meet the faults of its plan, one inside the other."""
        if not plan:
            return await go()
        (number, chance), *rest = plan
        self._injected[number] += 1
        why = f"injected by chaos with seed {self.seed} into call {call}"
        return await self.faults[number].meet(partial(self._meet, rest, go, call), chance, why)


async def _invoke(call: Call[Any]) -> Any:
    function, args, kwargs = call.payload
    return await function(*args, **kwargs)
