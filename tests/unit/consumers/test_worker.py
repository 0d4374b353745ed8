"""The worker's loops in virtual time: sources that end and fail, and the end of it all."""

import asyncio
from typing import Any

import pytest

from switchgear.consumers.subscription import Subscription
from switchgear.consumers.worker import Worker
from switchgear.policy.fault import Code, Fault
from switchgear.ports.broker import Reading
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


async def take(number: int) -> None: ...


class Intake:
    """A source that ends as it is told to."""

    def __init__(self, broker: "Broker", reading: Reading) -> None:
        self.broker = broker
        self.reading = reading
        self.drained = asyncio.Event()
        self.closed = False

    async def take(self) -> None:
        ending = self.broker.endings.pop(0) if self.broker.endings else None
        self.broker.opened.append(clock())
        if ending is None:
            await self.drained.wait()
        elif isinstance(ending, float):
            await asyncio.sleep(ending)
            raise Fault(Code.UNAVAILABLE, "the database is away")
        elif isinstance(ending, Exception):
            raise ending

    def drain(self) -> None:
        self.drained.set()

    async def close(self) -> None:
        self.closed = True

    def statistics(self) -> dict[str, float]:
        return {"taken": 0}


class Broker:
    def __init__(self, *endings: Any) -> None:
        self.endings = list(endings)
        self.opened: list[float] = []
        self.intakes: list[Intake] = []

    def source(self, reading: Reading) -> Any:
        if reading.attempts > 500:
            raise ValueError("these attempts outlive the inbox")
        self.intakes.append(Intake(self, reading))
        return self.intakes[-1]


def worker(broker: Broker, *topics: str, **fields: Any) -> tuple[Worker, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    one = Worker(
        [Subscription(topic, take, at_least_once=True, **fields) for topic in topics or ("a",)],
        broker=broker,  # type: ignore[arg-type]  # the part of a broker that is asked for
        tables=None,  # type: ignore[arg-type]  # no consumer here asks for a transaction
        providers={},
        random=lambda: 1.0,
        on_failure=lambda name, error: told.append((name, str(error))),
        clock=clock,
    )
    return one, told


async def test_it_reads_as_the_subscription_says() -> None:
    broker = Broker()
    one, _ = worker(broker, lanes=4, attempts=3, deadline=7.0)
    assert broker.intakes[0].reading == Reading("a", "a", 8, 3, 7.0)
    assert one.statistics() == {"a": {"taken": 0}}
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(0.1)
    one.drain()
    await running
    assert broker.intakes[0].closed
    assert len(broker.intakes) == 1


async def test_a_source_that_fails_is_opened_again_later_and_later() -> None:
    broker = Broker(*[Fault(Code.UNAVAILABLE, "away")] * 8)
    one, told = worker(broker)
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(30)
    pauses = [
        after - before for before, after in zip(broker.opened, broker.opened[1:], strict=False)
    ]
    assert len(pauses) == 8
    assert pauses == sorted(pauses)
    assert (pauses[0] < 0.3, 1.5 < pauses[-1] < 2.5) == (True, True)
    assert told == [("a", "away")] * 8
    assert all(intake.closed for intake in broker.intakes[:-1])
    one.drain()
    await running


async def test_a_source_that_was_well_for_long_is_opened_again_soon() -> None:
    broker = Broker(*[Fault(Code.UNAVAILABLE, "away")] * 6, 60.0, 60.0)
    one, _ = worker(broker)
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(150)
    assert broker.opened[7] - broker.opened[6] == pytest.approx(60.2, abs=0.15)
    one.drain()
    await running


async def test_a_source_that_ends_at_once_does_not_spin() -> None:
    broker = Broker(*["done"] * 1000)
    one, told = worker(broker)
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(1.05)
    assert len(broker.opened) <= 11
    assert told == []
    one.drain()
    await running


async def test_one_that_fails_stops_no_other() -> None:
    broker = Broker(ZeroDivisionError("a defect"))
    one, told = worker(broker, "a", "b")
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(5)
    assert told == [("a", "a defect")]
    assert sorted(one.statistics()) == ["a", "b"]
    one.drain()
    await running


async def test_a_drain_waits_for_no_pause() -> None:
    broker = Broker(*[Fault(Code.UNAVAILABLE, "away")] * 100)
    one, _ = worker(broker)
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(20)
    one.drain()
    began = clock()
    await running
    assert clock() == began


async def test_a_drain_before_the_start_is_a_short_run() -> None:
    one, _ = worker(Broker())
    one.drain()
    await one.run()


async def test_what_cannot_be_kept_account_of_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="outlive the inbox"):
        worker(Broker(), attempts=1000)


async def test_a_cancelled_worker_leaves_nothing() -> None:
    broker = Broker()
    one, _ = worker(broker, "a", "b")
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(intake.closed for intake in broker.intakes)
