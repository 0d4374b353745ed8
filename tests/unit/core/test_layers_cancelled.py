"""Cancel at every await of what wraps: no answer is lost, no task, alarm or entry left behind."""

import asyncio
from collections.abc import Callable
from typing import Any

from switchgear.core.clock import FINE
from switchgear.core.coalesce import coalescing
from switchgear.core.fallback import computed, falling_back
from switchgear.core.hedged import hedging
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, Verdict
from tests.support.cancel import Scene, everywhere, turns
from tests.support.core import Stream, call

Loops = Callable[[], asyncio.AbstractEventLoop]


class Reader:
    """Takes an answer that streams, and ends it, as whoever gets one must."""

    def __init__(self, run: Callable[[Call[Any]], Any]) -> None:
        self.run = run

    async def __call__(self, call: Call[Any]) -> None:
        answer = await self.run(call)
        if isinstance(answer, Stream):
            answer.end(GOOD)


class Source:
    """Answers by streams after a few waits, and knows whether each of them was ended."""

    def __init__(self, *failing: int, cleanup: int = 0) -> None:
        self.streams: list[Stream] = []
        self.failing = failing
        self.cleanup = cleanup
        self.asked = 0

    async def __call__(self, call: Call[Any]) -> Any:
        self.asked += 1
        number = self.asked
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001 if number == 1 else 0)
        except asyncio.CancelledError:
            await turns(self.cleanup)
            raise
        if number in self.failing:
            raise Fault(Code.UNAVAILABLE)
        self.streams.append(Stream())
        return self.streams[-1]

    def check(self, _: Scene) -> None:
        assert all(stream.ended is not None for stream in self.streams), "a stream was lost"


class Steady:
    most_extra = 1

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def delay(self, now: float) -> float:
        return self.seconds

    def observe(self, elapsed: float, now: float) -> None:
        pass


async def test_a_computed_fallback(loop_factory: Loops) -> None:
    async def compute(call: Call[Any], failed: Exception) -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return "computed"

    def bad(answer: Any) -> Verdict:
        return BAD

    def make() -> Scene:
        source = Source()
        layer = falling_back(computed(compute), name="mail", judge=bad)
        return Scene(layer(source)(call(FINE() + 30.0)), check=source.check)

    await everywhere(make, least=3)


async def test_a_shared_run(loop_factory: Loops) -> None:
    """One is called off at every wait, while another one waits for the same, or nobody does."""
    for shared in (False, True):

        def make(shared: bool = shared) -> Scene:
            source = Source(cleanup=2)
            layer = coalescing(lambda call: "key", name="mail")
            read = Reader(layer(source))
            other: list[asyncio.Task[None]] = []

            async def both() -> None:
                if shared:
                    other.append(asyncio.create_task(read(call(FINE() + 30.0))))
                await read(call(FINE() + 30.0))

            async def others() -> None:
                await asyncio.gather(*other)

            def check(scene: Scene) -> None:
                source.check(scene)
                assert layer.statistics()["flights"] == 0

            return Scene(both(), tidy=others, check=check)

        await everywhere(make, least=1)


async def test_a_hedge(loop_factory: Loops) -> None:
    for delay, failing in ((0.0, ()), (0.0, (1,)), (0.0, (1, 2)), (0.0005, ()), (10.0, ())):

        def make(delay: float = delay, failing: tuple[int, ...] = failing) -> Scene:
            source = Source(*failing, cleanup=3)
            layer = hedging(Steady(delay), lambda now: True, name="mail")
            read = Reader(layer(source))

            async def told() -> None:
                try:
                    await read(call(FINE() + 30.0, repeatable=True))
                except Fault:
                    assert failing == (1, 2)

            return Scene(told(), check=source.check)

        await everywhere(make, least=1)
