"""The full outbound stack that the benchmarks put before a handler."""

from collections.abc import Callable
from random import random
from typing import Any

from switchgear.core.clock import FINE
from switchgear.core.frames import Retry, Timeout
from switchgear.core.handler import Handler
from switchgear.core.observe import Observer
from switchgear.core.stack import OUTBOUND, Part, Place, Stack, stack
from switchgear.policy.backoff import Backoff
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.gate import Ask
from switchgear.policy.verdict import GOOD

__all__ = ["alone", "endpoint", "machines", "protected"]


def _parts() -> dict[str, Part]:
    budget = RetryBudget()
    retry = Retry(Backoff(random=random), budget)
    breaker = Breaker("endpoint", BreakerSettings(slow_after=0.8), jitter=random)
    return {
        "service breaker": Part(Place.SERVICE_BREAKER, Breaker("service", jitter=random)),
        "retry": Part(Place.RETRY, retry),
        "breaker": Part(Place.BREAKER, breaker),
        "bulkhead": Part(Place.BULKHEAD, Bulkhead("endpoint", BulkheadSettings(permits=256))),
        "timeout": Part(Place.TIMEOUT, Timeout(full=3.0)),
    }


def protected(handler: Handler[Any, Any], *, observe: Observer | None = None) -> Stack:
    """Put a service breaker, a retry, a breaker, a bulkhead and an attempt timeout before it."""
    return stack("bench", OUTBOUND, _parts().values(), handler, observe=observe)


def endpoint(handler: Handler[Any, Any], *, observe: Observer | None = None) -> Stack:
    """Put a retry, a breaker, a bulkhead and an attempt timeout before it, as a policy does."""
    parts = _parts()
    del parts["service breaker"]
    return stack("bench", OUTBOUND, parts.values(), handler, observe=observe)


def machines() -> Callable[[], None]:
    """Return what the pure machines of `endpoint` do for one call that goes well, and no more."""
    budget, bulkhead = RetryBudget(), Bulkhead("endpoint", BulkheadSettings(permits=256))
    breaker = Breaker("endpoint", BreakerSettings(slow_after=0.8), jitter=random)
    ask = Ask(deadline=FINE() + 1e6)

    def once() -> None:
        now = FINE()
        budget.deposit(now)
        passed, inside = breaker.admit(ask, now), bulkhead.admit(ask, now)
        bulkhead.settle(inside, GOOD, now)  # type: ignore[arg-type]  # there is room for one
        breaker.settle(passed, GOOD, now)  # type: ignore[arg-type]  # it is closed

    return once


def alone(part: str, handler: Handler[Any, Any]) -> Stack:
    """Put one of these parts alone before it."""
    return stack("bench", OUTBOUND, [_parts()[part]], handler)
