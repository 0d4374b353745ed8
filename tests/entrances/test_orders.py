"""Program 4, on a real PostgreSQL: one bad order of ten is dead, and the nine are booked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from switchgear.core.batch import Batched
from switchgear.core.outcome import Done
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import Health
from switchgear.ports.broker import Intake, Message
from switchgear.ports.tables import Transaction
from tests.conformance.conftest import Bench, Opened
from tests.entrances import orders as program
from tests.entrances.orders import Order, consume_orders, orders_of
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    nothing_left,
    until,
)  # fmt: skip
from tests.support.postgres import run

pytestmark = [pytest.mark.usefixtures("loop_factory"), pytest.mark.timeout(30)]

Book = Callable[[Message, Transaction], Any]


@pytest.fixture
def bench(postgres_bench: Opened, roles: Roles) -> Opened:
    asyncio.run(run(roles.owner, "CREATE TABLE bookings (number int)"))
    return postgres_bench


def soon() -> float:
    return perf_counter() + 10.0


def order(number: int, amount: int = 1) -> Message:
    return Message(str(uuid4()), "orders", msgspec.json.encode(Order(number, amount)))


async def publish(on: Bench, *orders: Message) -> None:
    for one in orders:
        await on.broker.publish(one, soon())


async def depths(on: Bench) -> dict[str, int]:
    return (await on.broker.depths(soon())).get("orders", {})


async def booked(on: Bench) -> list[int]:
    async with on.tables.transaction(soon()) as tx:
        return await tx.fetch_all(int, "SELECT number FROM bookings ORDER BY number")


async def ended(on: Bench) -> dict[str, int]:
    """Wait until every order is done or dead, and return what is left of them."""
    while (left := await depths(on)).keys() - {"dead"}:
        await asyncio.sleep(0.01)
    return left


@asynccontextmanager
async def opened(bench: Opened, *gates: Overheard) -> AsyncIterator[Bench]:
    async with nothing_left(*gates), bench() as on:
        yield on


@asynccontextmanager
async def consuming(on: Bench, gate: Overheard) -> AsyncIterator[Intake]:
    intake = orders_of(on.broker)
    task = asyncio.create_task(consume_orders(intake, on.tables, gate))
    try:
        yield intake
    except BaseException:
        task.cancel()
        raise
    finally:
        intake.drain()
        await task


@pytest.mark.parametrize(
    ("bad", "health"),
    [
        (order(3, amount=-1), Health.GOOD),  # it was looked at, and refused
        (Message(str(uuid4()), "orders", b'{"number": "three"'), Health.GOOD),
        (order(-3), Health.BAD),  # the ledger fails it
    ],
    ids=["negative", "unreadable", "failing"],
)
async def test_one_bad_order_of_ten_is_dead_and_nine_are_booked(
    bench: Opened, watch: Watch, monkeypatch: pytest.MonkeyPatch, bad: Message, health: Health
) -> None:
    async def book(message: Message, tx: Transaction) -> None:
        if message.body.startswith(b'{"number":-3'):
            raise Fault(Code.UNAVAILABLE, "the ledger is away")
        await program_book(message, tx)

    program_book: Book = program.book
    monkeypatch.setattr(program, "book", book)
    gate = breaker()
    async with opened(bench, gate) as on:
        await publish(on, *(bad if number == 3 else order(number) for number in range(10)))
        async with consuming(on, gate) as intake:
            assert await ended(on) == {"dead": 1}
        assert await booked(on) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        (letter,) = await on.broker.dead("orders", soon())
        assert (letter.message.id, letter.attempts) == (bad.id, 1)
        figures = intake.statistics()
        assert (figures["finished"], figures["buried"], figures["lost"]) == (9, 1, 0)
    assert gate.heard == [health]  # of ten orders that were one batch
    assert watch.settlements() == [1]
    (outcome,) = watch.deliveries[0].outcomes
    assert isinstance(outcome, Done)
    assert [type(one) is Done for one in outcome.value].count(False) == 1


async def test_orders_come_in_batches_of_at_most_ten(bench: Opened, watch: Watch) -> None:
    gate = breaker()
    async with opened(bench, gate) as on:
        async with on.tables.transaction(soon()) as tx:
            for number in range(25):
                await tx.publish("orders", Order(number, 1))
        async with consuming(on, gate):
            assert await ended(on) == {}
        assert await booked(on) == list(range(25))
    sizes = [len(delivery.call.payload) for delivery in watch.deliveries]
    assert (sum(sizes), max(sizes)) == (25, 10)
    assert gate.heard == [Health.GOOD] * len(sizes)


async def test_a_lost_lease_calls_the_batch_off_and_books_nothing_twice(
    bench: Opened, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = asyncio.Event()

    async def book(message: Message, tx: Transaction) -> None:
        await program_book(message, tx)
        if message.body == third.body and not slow.is_set():
            slow.set()
            await asyncio.sleep(60)

    program_book: Book = program.book
    monkeypatch.setattr(program, "book", book)
    third = order(3)
    gate = breaker()
    async with opened(bench, gate) as on:
        await publish(on, *(third if number == 3 else order(number) for number in range(6)))
        async with consuming(on, gate):
            await slow.wait()
            # A row that its claim has locked is not taken over; the rest of the batch is.
            await on.lose()
            await until(lambda: gate.verdicts)
            assert gate.heard[0] is Health.NEUTRAL
            assert await ended(on) == {}
        assert await booked(on) == list(range(6))
    assert set(watch.settlements()) == {1}


async def test_a_half_gathered_batch_survives_a_cancelled_take(bench: Opened) -> None:
    async with opened(bench) as on:
        intake = orders_of(on.broker)
        batches = Batched(intake, 10, linger=5.0)
        await publish(on, *map(order, range(3)))
        taking = asyncio.create_task(batches.take())
        await until(lambda: intake.statistics()["taken"] == 3)
        await asyncio.sleep(0.01)
        taking.cancel()
        await asyncio.wait([taking])
        await publish(on, *map(order, range(3, 10)))
        batch = await batches.take()
        assert batch is not None
        numbers = [msgspec.json.decode(one.payload.message.body) for one in batch.call.payload]
        assert [one["number"] for one in numbers] == list(range(10))
        await batch.settle(Done([Done(None)] * 10))
        intake.drain()
        assert await batches.take() is None
        await intake.close()
        assert intake.statistics()["finished"] == 10


async def test_every_wait_can_be_the_last(bench: Opened, watch: Watch, roles: Roles) -> None:
    number = 0
    expected: list[int] = []

    async def scene() -> None:
        nonlocal number
        gate = breaker()
        async with opened(bench, gate) as on:
            before = len(await on.broker.dead("orders", soon()))
            await publish(on, order(number), order(number, amount=-1))
            expected.append(number)
            number += 1
            intake = orders_of(on.broker)
            running = asyncio.create_task(consume_orders(intake, on.tables, gate))
            watch.leave = running.cancel
            while not running.done() and (await depths(on)).keys() - {"dead"}:
                if watch.struck and all(watch.settlements()):
                    break
                await asyncio.sleep(0.005)
            intake.drain()
            await asyncio.wait([running])
            assert running.cancelled() or running.result() is None
            # What is left now is taken by whoever comes next: nothing is lost, nothing is twice.
            assert not (await depths(on)).get("leased")
            if watch.struck:
                async with consuming(on, gate):
                    await ended(on)
            assert await booked(on) == expected
            assert len(await on.broker.dead("orders", soon())) == before + 1
        allowed = {Health.GOOD, Health.NEUTRAL} if watch.struck else {Health.GOOD}
        assert set(gate.heard) <= allowed

    await at_every_wait(watch, scene, *Strike, least=6)
