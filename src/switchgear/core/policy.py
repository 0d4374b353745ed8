"""Policies: a breaker, a bulkhead, a retry and a timeout around any async function, in one object.

::

    mail = Policy("mail", timeout=0.5, deadline=2.0)

    await mail.call(send, letter)         # as it stands

    @mail
    async def send(letter: Letter) -> Receipt: ...
"""

import random as randomness
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE, Clock
from switchgear.core.frames import Retry, Terms, Timeout
from switchgear.core.handler import Judge
from switchgear.core.observe import Observer
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate

__all__ = ["Policy"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

_BREAKER: Final = BreakerSettings()
_BULKHEAD: Final = BulkheadSettings()


class Policy:
    """Protect the calls to one dependency, with every protection on by default.

    Share one policy among all calls to the same dependency: its breaker, its permits and its
    retry budget learn from them all. `deadline` bounds a whole call and `timeout` one attempt of a
    repeatable one, in seconds; inside another call, that one's deadline bounds this one too.
    `repeatable` says that doing it twice does no more than doing it once: otherwise it is tried
    again only after a failure that surely had no effect. `breaker`, `bulkhead` and `rate` may be
    None. `judge` says what a returned value means.

    Functions run in the task of the caller, who gets what they return or raise, or a `Fault`.
    """

    def __init__(
        self,
        name: str,
        *,
        attempts: int = 3,
        timeout: float = 1.0,
        deadline: float = 3.0,
        repeatable: bool = False,
        breaker: BreakerSettings | None = _BREAKER,
        bulkhead: BulkheadSettings | None = _BULKHEAD,
        rate: BucketSettings | None = None,
        judge: Judge | None = None,
        observe: Observer | None = None,
        clock: Clock = FINE,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        if not (deadline > 0 and timeout > 0):
            raise ValueError(f"policy {name!r}: a deadline and a timeout above 0 would be right")
        self.name = name
        self._deadline = deadline
        self._repeatable = repeatable
        self._clock = clock
        self._budget = RetryBudget()
        bound = Timeout(full=deadline, limit=timeout)
        backoff = Backoff(BackoffSettings(attempts=attempts), random=random)
        self._gates: dict[str, tuple[Place, Gate]] = {}
        if breaker is not None:
            if breaker.slow_after is None:
                breaker = replace(breaker, slow_after=bound.fair(repeatable=repeatable))
            made = Breaker(name, breaker, jitter=random, on_transition=observe)
            self._gates["breaker"] = (Place.BREAKER, made)
        if rate is not None:  # before the queue: nobody waits there for what a limit then refuses
            self._gates["rate"] = (Place.BULKHEAD, TokenBucket(name, rate))
        if bulkhead is not None:
            self._gates["bulkhead"] = (Place.BULKHEAD, Bulkhead(name, bulkhead))
        parts = [
            Part(Place.RETRY, Retry(backoff, self._budget)),
            Part(Place.TIMEOUT, bound),
            *(Part(place, gate) for place, gate in self._gates.values()),
        ]
        terms = Terms(deadline, repeatable)
        self._stack = stack(
            name, OUTBOUND, parts, _invoke, observe=observe, judge=judge, clock=clock, terms=terms
        )
        assert self._stack.sole is not None  # noqa: S101 - it has no layer
        self._run = self._stack.sole.run

    def call(
        self,
        function: Callable[Given, Awaitable[Result]],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Coroutine[Any, Any, Result]:
        """Call a function under this policy, and return what it returns.

        Raises what it raises, or a `Fault`: refused by a gate, or out of time.
        """
        return self._run(None, function, args, kwargs)

    def __call__(
        self, function: Callable[Given, Coroutine[Any, Any, Result]]
    ) -> Callable[Given, Coroutine[Any, Any, Result]]:
        """Decorate an async function so that each call of it is under this policy.

        Raises TypeError for any other function: one that blocks could not be called off.
        """
        if not iscoroutinefunction(function):
            raise TypeError(f"policy {self.name!r} protects async functions, not {function!r}")

        @wraps(function)
        async def protected(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            result: Result = await self._run(None, function, args, kwargs)
            return result

        return protected

    def statistics(self) -> dict[str, dict[str, float | str]]:
        """Return the present figures of every gate and of the retry budget."""
        figures = {kind: gate.statistics() for kind, (_, gate) in self._gates.items()}
        return {**figures, "budget": self._budget.statistics()}

    def describe(self) -> str:
        """Draw the order of the protections, outermost first, with the reason of each place."""
        return self._stack.describe()


async def _invoke(call: Call[Any]) -> Any:
    """Run the function of a call. What it calls in turn is bounded by that call's deadline."""
    function, args, kwargs = call.payload
    outer = ambient.get()
    if outer is None:
        before = ambient.set(replace(call, payload=None))
    else:
        before = ambient.set(replace(outer, deadline=call.deadline))
    try:
        return await function(*args, **kwargs)
    finally:
        try:
            ambient.reset(before)
        except ValueError:
            pass  # thrown away by another Context, which never saw that value
