"""The peers: each protects an async function as its own documentation writes it.

Imported where they are used, so that one that cannot even be imported costs its own row alone.
"""

from collections.abc import Callable, Coroutine
from typing import Any, cast

__all__ = [
    "by_aiobreaker",
    "by_hyx",
    "by_interlock",
    "by_interlock_pipeline",
    "by_purgatory",
    "by_pybreaker",
    "by_pyresilience",
    "by_stamina",
    "by_tenacity",
    "hyx_breaker",
    "hyx_retry",
    "pybreaker_plain",
    "stamina_hooks",
]

Function = Callable[[int], Coroutine[Any, Any, int]]


# -- retries


def by_tenacity(function: Function) -> Function:
    from tenacity import retry, stop_after_attempt, wait_random_exponential

    return retry(stop=stop_after_attempt(3), wait=wait_random_exponential(max=0.25))(function)


def by_stamina(function: Function) -> Function:
    from stamina import retry

    return retry(on=Exception, attempts=3)(function)


def stamina_hooks(*, on: bool) -> None:
    """Have stamina tell of retries as it does by default (structlog, Prometheus), or not at all."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(None if on else ())


def hyx_retry(function: Function) -> Function:
    from hyx.retry import retry

    return retry(on=Exception, attempts=3, backoff=0.025)(function)


# -- circuit breakers


def by_pybreaker(function: Function) -> Function:
    """Its coroutines are tornado's."""
    from pybreaker import CircuitBreaker

    return CircuitBreaker()(function, __pybreaker_call_async=True)


def pybreaker_plain(function: Callable[[int], int]) -> Callable[[int], int]:
    from pybreaker import CircuitBreaker

    return CircuitBreaker()(function)


def by_purgatory(function: Function) -> Function:
    from purgatory import AsyncCircuitBreakerFactory

    protected: Function = AsyncCircuitBreakerFactory()("bench")(function)
    return protected


def by_aiobreaker(function: Function) -> Function:
    from aiobreaker import CircuitBreaker

    protected: Function = CircuitBreaker()(function)
    return protected


def hyx_breaker(function: Function) -> Function:
    from hyx.circuitbreaker import consecutive_breaker

    return consecutive_breaker()(function)


def by_interlock(function: Function) -> Function:
    from interlock import CircuitBreaker

    return cast("Function", CircuitBreaker(name="bench")(function))


# -- several in one


def by_hyx(*, retries: bool) -> Callable[[Function], Function]:
    """Decorators one around the other: what hyx offers for several."""

    def protect(function: Function) -> Function:
        from hyx.bulkhead import bulkhead
        from hyx.timeout import timeout

        bounded = bulkhead(64, 128)(timeout(1.0)(function))
        broken = hyx_breaker(bounded)
        return hyx_retry(broken) if retries else broken

    return protect


def by_interlock_pipeline(*, retries: bool) -> Callable[[Function], Function]:
    def protect(function: Function) -> Function:
        from interlock import CircuitBreaker, Pipeline

        builder = Pipeline.builder()
        if retries:
            builder = builder.retry(attempts=3)
        breaker = CircuitBreaker(name="bench")
        pipeline = builder.circuit_breaker(breaker).bulkhead(64).timeout(1.0).build()
        return cast("Function", pipeline(function))

    return protect


def by_pyresilience(*parts: str) -> Callable[[Function], Function]:
    """Protect with the parts that are named; `metrics` adds its collector as a listener."""

    def protect(function: Function) -> Function:
        import pyresilience as peer

        options: dict[str, Callable[[], dict[str, Any]]] = {
            "retry": lambda: {"retry": peer.RetryConfig(max_attempts=3, delay=0.025)},
            "budget": lambda: {"retry_budget": peer.RetryBudgetConfig()},
            "breaker": lambda: {"circuit_breaker": peer.CircuitBreakerConfig()},
            # By rate and by slowness, over a window: what ours looks at.
            "window": lambda: {
                "circuit_breaker": peer.CircuitBreakerConfig(
                    sliding_window_size=100, minimum_calls=10,
                    slow_call_duration=0.8, slow_call_rate_threshold=0.6,
                )
            },
            "bulkhead": lambda: {"bulkhead": peer.BulkheadConfig(max_concurrent=64)},
            "timeout": lambda: {"timeout": peer.TimeoutConfig(seconds=1.0)},
            "metrics": lambda: {"listeners": [peer.MetricsCollector()]},
        }  # fmt: skip
        chosen: dict[str, Any] = {}
        for part in parts:
            chosen.update(options[part]())
        protected: Function = peer.resilient(**chosen)(function)
        return protected

    return protect
