"""Cancel at every await of the real thing: no permit, alarm, task or settlement goes missing."""

import asyncio
import random
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from switchgear.core.clock import FINE
from switchgear.core.consume import consume
from switchgear.core.delivery import dispatch
from switchgear.core.frames import Retry, Timeout
from switchgear.core.outcome import Failed
from switchgear.core.permits import settle
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.gate import ANYONE, Gate, Permit
from switchgear.policy.verdict import GOOD, Verdict
from tests.support.cancel import Moment, Receipt, Scene, everywhere, turns
from tests.support.core import Stream

Loops = Callable[[], asyncio.AbstractEventLoop]


class Occupant:
    """Holds a bulkhead's only permit until somebody queues for it, or the scene is over."""

    def __init__(self, gate: Bulkhead, seconds: float = 0.002) -> None:
        self.loop = asyncio.get_running_loop()
        permit = gate.admit(ANYONE, FINE())
        assert isinstance(permit, Permit)
        self.gate, self.permit, self.seconds = gate, permit, seconds
        self.over = False
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self.look()

    def look(self) -> None:
        if not self.gate.queued and not self.over:
            self.loop.call_later(self.seconds, self.look)
            return
        settle((self.gate, self.permit, None), GOOD, FINE())
        self.gone.set_result(None)

    async def left(self) -> None:
        self.over = True
        await self.gone


class Flaky:
    """A dependency that waits a few times, and fails every first attempt."""

    def __init__(self, answer: Any = "answer") -> None:
        self.answer = answer

    async def __call__(self, call: Call[Any]) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        try:
            await asyncio.sleep(0)
        except CancelledError:
            await asyncio.sleep(0)  # a cleanup that waits
            raise
        if call.attempt == 1:
            raise Fault(Code.UNAVAILABLE, "not yet")
        return self.answer


class Outbound:
    """The full outbound stack on real gates, with a queue before it and a failure inside."""

    def __init__(
        self, answer: Any = "answer", judge: Callable[[Any], Verdict] | None = None
    ) -> None:
        self.service = Breaker("service", BreakerSettings(consecutive=99), jitter=random.random)
        self.breaker = Breaker("endpoint", BreakerSettings(consecutive=99), jitter=random.random)
        self.bulkhead = Bulkhead("db", BulkheadSettings(permits=1, patience=1.0, standing=100.0))
        self.gates: list[Gate] = [self.service, self.breaker, self.bulkhead]
        self.budget = RetryBudget()
        backoff = Backoff(BackoffSettings(base=0.001, cap=0.001), random=random.random)
        self.stack = stack(
            "mail",
            OUTBOUND,
            [
                Part(Place.SERVICE_BREAKER, self.service),
                Part(Place.BREAKER, self.breaker),
                Part(Place.BULKHEAD, self.bulkhead),
                Part(Place.RETRY, Retry(backoff, self.budget)),
                Part(Place.TIMEOUT, Timeout(30.0, limit=30.0)),
            ],
            Flaky(answer),
            judge=judge,
        )
        self.occupant = Occupant(self.bulkhead)

    async def call(self) -> Any:
        return await self.stack.run(Call(None, FINE() + 30.0, repeatable=True))


async def test_a_delivery_through_the_full_stack(loop_factory: Loops) -> None:
    def make() -> Scene:
        outbound = Outbound()

        async def handler(call: Call[Any]) -> Any:
            return await outbound.stack.run(call)

        async def slowly() -> None:
            await asyncio.sleep(0)

        receipt = Receipt(Call(None, FINE() + 30.0, repeatable=True), slowly)
        return Scene(
            dispatch(handler, receipt),
            outbound.gates,
            [receipt],
            tidy=outbound.occupant.left,
        )

    await everywhere(make, least=7)


async def test_a_stream_whose_reader_is_called_off(loop_factory: Loops) -> None:
    def make() -> Scene:
        answer = Stream()
        outbound = Outbound(answer)

        async def read() -> None:
            got = await outbound.call()
            assert got is answer
            try:
                assert outbound.bulkhead.statistics()["out"] == 1, "it streams: its permit is out"
                await turns(3)
                got.end(GOOD)
            finally:
                got.abandon()

        return Scene(read(), outbound.gates, tidy=outbound.occupant.left)

    await everywhere(make, least=9)


async def test_calls_side_by_side_in_a_task_group(loop_factory: Loops) -> None:
    """The group's children are called off by it, while they queue behind one another."""

    def make() -> Scene:
        outbound = Outbound()

        async def child() -> None:
            await asyncio.create_task(outbound.call())

        async def gathered() -> None:
            await asyncio.gather(child(), child(), child())

        scene = Scene(gathered(), outbound.gates, tidy=outbound.occupant.left)
        inner, left = scene.work, outbound.occupant.left

        async def ended() -> None:
            await left()
            await asyncio.sleep(0.02)

        scene.work, scene.tidy = inner, ended
        return scene

    await everywhere(make, least=1)


async def test_a_consumer(loop_factory: Loops) -> None:
    def make() -> Scene:
        outbound = Outbound()

        async def slowly() -> None:
            await asyncio.sleep(0)

        waiting = [
            Receipt(Call(number, FINE() + 30.0, repeatable=True, key="ab"[number % 2]), slowly)
            for number in range(5)
        ]
        taken: list[Receipt] = []

        class Source:
            async def take(self) -> Receipt | None:
                await asyncio.sleep(0)
                if not waiting:
                    return None
                taken.append(waiting.pop(0))
                return taken[-1]

        def check(scene: Scene) -> None:
            for receipt in taken:
                if isinstance(receipt.outcomes[0], Failed) and scene.ended == [None]:
                    raise AssertionError(f"undisturbed, it ended as {receipt.outcomes}")

        return Scene(
            consume(Source(), outbound.stack.run, lanes=2, parked=2),
            outbound.gates,
            taken,
            tidy=outbound.occupant.left,
            check=check,
        )

    await everywhere(make, least=5, moments=[Moment.ASLEEP, Moment.WOKEN])
