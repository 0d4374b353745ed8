"""Ours: every way in which the benchmark protects a function with Switchgear, in one place."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from bench._apps.protected import alone
from switchgear.core.observe import Observer
from switchgear.core.policy import Policy
from switchgear.policy.breaker import BreakerSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.call import Call

__all__ = ["breaking", "no_retry", "part", "retrying", "whole"]

Function = Callable[[int], Awaitable[int]]


def whole(observe: Observer | None = None) -> Policy:
    """Protect as an empty configuration does: everything is on."""
    return Policy("bench", repeatable=True, observe=observe)


def no_retry() -> Policy:
    """Protect with all but the retry."""
    return _policy(attempts=1, breaker=BreakerSettings(), bulkhead=BulkheadSettings())


def retrying() -> Policy:
    """Protect with a retry; its budget, the deadline and the timeout always come with it."""
    return _policy(attempts=3, breaker=None, bulkhead=None)


def breaking() -> Policy:
    """Protect with a breaker; the deadline and the timeout always come with it."""
    return _policy(attempts=1, breaker=BreakerSettings(), bulkhead=None)


def part(name: str) -> Callable[[Function], Function]:
    """Protect with one part and nothing else, as the stack takes it: not by the public face."""

    def protect(function: Function) -> Function:
        run = alone(name, _invoke).run

        async def protected(value: int) -> int:
            result: int = await run(Call((function, value), inf, repeatable=True))
            return result

        return protected

    return protect


async def _invoke(call: Call[Any]) -> Any:
    function, value = call.payload
    return await function(value)


def _policy(
    *, attempts: int, breaker: BreakerSettings | None, bulkhead: BulkheadSettings | None
) -> Policy:
    return Policy("bench", repeatable=True, attempts=attempts, breaker=breaker, bulkhead=bulkhead)
