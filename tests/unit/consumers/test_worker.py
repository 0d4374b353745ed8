"""The worker's loops in virtual time: sources that end and fail, and the end of it all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from switchgear.consumers.subscription import Subscription
from switchgear.consumers.worker import Worker
from switchgear.core.outcome import Done
from switchgear.lane.settlement import Retry, Rules, decide
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import Message, Reading
from switchgear.ports.tables import Transaction
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


async def take(number: int) -> None: ...


class Intake:
    """A source that ends as it is told to."""

    def __init__(self, broker: "Broker", reading: Reading) -> None:
        self.broker = broker
        self.reading = reading
        self.given: list[Any] = []
        self.drained = asyncio.Event()
        self.closed = False

    async def take(self) -> Any:
        if self.given:
            return self.given.pop()
        ending = self.broker.endings.pop(0) if self.broker.endings else None
        self.broker.opened.append(clock())
        if ending is None:
            await self.drained.wait()
        elif isinstance(ending, float):
            await asyncio.sleep(ending)
            raise Fault(Code.UNAVAILABLE, "the database is away")
        elif isinstance(ending, Exception):
            raise ending
        return None

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


class Shut:
    """Tables that nobody can open before the instant `opens`; refused, or kept waiting."""

    def __init__(self, opens: float, *, waiting: bool = False) -> None:
        self.opens = opens
        self.waiting = waiting
        self.asked: list[float] = []

    @asynccontextmanager
    async def transaction(self, deadline: float) -> AsyncIterator[Any]:
        self.asked.append(clock())
        if clock() < self.opens and self.waiting:
            await asyncio.sleep(self.opens - clock())
        if clock() < self.opens:
            raise Fault(Code.UNAVAILABLE, "too many clients", effect=Effect.NONE)
        yield self


class Handed:
    """A message of which it is noted how it ended."""

    def __init__(self) -> None:
        self.message = Message("m", "a", b"1")
        self.call: Any = Call(self, clock() + 30.0)
        self.outcomes: list[Any] = []

    def begin(self, work: Any) -> None: ...

    async def claim(self, tx: Any) -> bool:
        return True

    async def settle(self, outcome: Any) -> None:
        self.outcomes.append(outcome)


async def handed(tables: Shut, seconds: float) -> tuple[Handed, float]:
    """Give a worker one message, and return it, and when its handler began (0: never)."""
    began = 0.0

    async def effect(number: int, tx: Transaction) -> None:
        nonlocal began
        began = clock()

    broker, message = Broker(), Handed()
    one = Worker(
        [Subscription("a", effect)],
        broker=broker,  # type: ignore[arg-type]  # the part of a broker that is asked for
        tables=tables,  # type: ignore[arg-type]  # the part of tables that is asked for
        providers={},
        random=lambda: 1.0,
        on_failure=lambda name, error: None,
        clock=clock,
    )
    broker.intakes[0].given.append(message)
    running = asyncio.ensure_future(one.run())
    await asyncio.sleep(seconds)
    one.drain()
    ended = clock()
    await running
    assert clock() == ended  # a drain waits for no database
    return message, began


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_message_waits_for_its_transaction_to_open(waiting: bool) -> None:
    tables = Shut(clock() + 10.0, waiting=waiting)
    message, began = await handed(tables, 20.0)
    assert began - tables.opens == pytest.approx(0.0, abs=2.1)
    assert isinstance(message.outcomes[0], Done)
    assert len(tables.asked) < 12


@pytest.mark.parametrize("waiting", [False, True])
async def test_what_never_came_to_its_handler_is_no_attempt(waiting: bool) -> None:
    """Of a database that let nobody in, the whole queue was dead in three minutes."""
    tables = Shut(clock() + 60.0, waiting=waiting)
    message, began = await handed(tables, 20.0)
    assert began == 0.0
    assert tables.asked[-1] - tables.asked[0] < 15.0
    (outcome,) = message.outcomes
    settlement = decide(outcome, 9, Rules(), 0.5)
    assert isinstance(settlement, Retry)
    assert not settlement.counted


async def test_a_drain_hands_back_what_waits_for_its_transaction() -> None:
    message, began = await handed(Shut(clock() + 60.0), 5.0)
    assert began == 0.0
    assert len(message.outcomes) == 1
