"""CPU nanoseconds per call of coroutines, contenders alternating on one event loop.

CPU time of this thread, not wall time: whoever else uses the machine is not charged to a call.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import uvloop

__all__ = ["LOOPS", "Call", "Make", "Round", "per_call", "steady"]

Call = Callable[[], Coroutine[Any, Any, object]]
Make = Callable[[], Call]
"""Makes a contender on the running loop; what it needs is made there, once."""
Round = Callable[[], Coroutine[Any, Any, float]]
"""Measures one round of a contender: nanoseconds per call."""

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

_ROUND = 0.05


def per_call(
    contenders: Mapping[str, Make], *, loop: str = "uvloop", rounds: int = 9
) -> dict[str, float]:
    """Return each contender's median nanoseconds per awaited call, the loop over them included.

    A contender that does nothing tells what the measuring itself costs.
    """
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(_alternating(contenders, rounds))


async def steady(call: Call, seconds: float = _ROUND, at_once: int = 1) -> Round:
    """Warm a call up, and return what measures one round of so many seconds of it.

    `at_once`: how many tasks call at the same time, each one call after another.
    """
    count = await _count_for(call, seconds, at_once)

    async def measure() -> float:
        gc.collect()
        gc.disable()
        try:
            return await _round(call, count, at_once)
        finally:
            gc.enable()

    return measure


async def _alternating(contenders: Mapping[str, Make], rounds: int) -> dict[str, float]:
    measures = {name: await steady(make()) for name, make in contenders.items()}
    seen: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            seen[name].append(await measure())
    return {name: statistics.median(costs) for name, costs in seen.items()}


async def _count_for(call: Call, seconds: float, at_once: int) -> int:
    """Return how many calls make a round, after warming up."""
    count = 100
    while (cost := await _round(call, count, at_once)) * count < seconds * 1e9 / 10:
        count *= 4
    return max(100, int(seconds * 1e9 / cost))


async def _round(call: Call, count: int, at_once: int) -> float:
    each = -(-count // at_once)
    began = time.thread_time_ns()
    if at_once == 1:
        await _row(call, each)
    else:
        await asyncio.gather(*(_row(call, each) for _ in range(at_once)))
    return (time.thread_time_ns() - began) / (each * at_once)


async def _row(call: Call, count: int) -> None:
    for _ in range(count):
        await call()
