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

__all__ = ["LOOPS", "Call", "Make", "per_call"]

Call = Callable[[], Coroutine[Any, Any, object]]
Make = Callable[[], Call]
"""Makes a contender on the running loop; what it needs is made there, once."""

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


async def _alternating(contenders: Mapping[str, Make], rounds: int) -> dict[str, float]:
    calls = {name: make() for name, make in contenders.items()}
    counts = {name: await _count_for(call) for name, call in calls.items()}
    seen: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            gc.collect()
            gc.disable()
            try:
                seen[name].append(await _round(call, counts[name]))
            finally:
                gc.enable()
    return {name: statistics.median(costs) for name, costs in seen.items()}


async def _count_for(call: Call) -> int:
    """Return how many calls make a round, after warming up."""
    count = 100
    while (cost := await _round(call, count)) * count < _ROUND * 1e9 / 10:
        count *= 4
    return max(100, int(_ROUND * 1e9 / cost))


async def _round(call: Call, count: int) -> float:
    began = time.thread_time_ns()
    for _ in range(count):
        await call()
    return (time.thread_time_ns() - began) / count
