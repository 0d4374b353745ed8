"""The full outbound stack that the benchmarks put before a handler."""

from random import random
from typing import Any

from switchgear.core.frames import Retry, Timeout
from switchgear.core.handler import Handler, Judge
from switchgear.core.stack import OUTBOUND, Part, Place, Stack, stack
from switchgear.policy.backoff import Backoff
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings

__all__ = ["alone", "protected"]


def _parts() -> dict[str, Part]:
    budget = RetryBudget()
    retry = Retry(Backoff(random=random), budget.deposit, budget.withdraw)
    breaker = Breaker("endpoint", BreakerSettings(slow_after=0.8), jitter=random)
    return {
        "service breaker": Part(Place.SERVICE_BREAKER, Breaker("service", jitter=random)),
        "retry": Part(Place.RETRY, retry),
        "breaker": Part(Place.BREAKER, breaker),
        "bulkhead": Part(Place.BULKHEAD, Bulkhead("endpoint", BulkheadSettings(permits=256))),
        "timeout": Part(Place.TIMEOUT, Timeout(full=3.0)),
    }


def protected(handler: Handler[Any, Any], *, judge: Judge | None = None) -> Stack:
    """Put a service breaker, a retry, a breaker, a bulkhead and an attempt timeout before it."""
    return stack("bench", OUTBOUND, _parts().values(), handler, judge=judge)


def alone(part: str, handler: Handler[Any, Any]) -> Stack:
    """Put one of these parts alone before it."""
    return stack("bench", OUTBOUND, [_parts()[part]], handler)
