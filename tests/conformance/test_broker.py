"""What every broker does, whatever stands behind the port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from switchgear.core.ambient import ambient
from switchgear.core.consume import consume
from switchgear.core.outcome import Done, Failed
from switchgear.lane.once import once
from switchgear.policy.call import Call, Trace
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.ports.broker import Broker, Intake, Message, Reading, Received
from switchgear.ports.tables import Transaction
from tests.conformance.conftest import Bench, Opened

Handler = Callable[[Call[Received]], Coroutine[Any, Any, None]]
READING = Reading("orders", "shop", prefetch=8, attempts=3)


def soon(seconds: float = 10.0) -> float:
    return perf_counter() + seconds


def order(number: int = 0, **given: Any) -> Message:
    return Message(str(uuid4()), "orders", msgspec.json.encode(number), **given)


@asynccontextmanager
async def consuming(
    broker: Broker, handler: Handler, reading: Reading = READING, lanes: int = 4
) -> AsyncIterator[Intake]:
    intake = broker.source(reading)
    task = asyncio.create_task(consume(intake, handler, lanes=lanes))
    try:
        yield intake
    finally:
        intake.drain()
        await task
        await intake.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


async def depths(broker: Broker) -> dict[str, int]:
    return (await broker.depths(soon())).get("orders", {})


class Shop:
    """A consumer that remembers, and fails as it is told to."""

    def __init__(self, *failures: BaseException) -> None:
        self.calls: list[Call[Received]] = []
        self.failures = list(failures)
        self.changed = asyncio.Event()

    async def __call__(self, call: Call[Received]) -> None:
        self.calls.append(call)
        self.changed.set()
        if self.failures:
            raise self.failures.pop(0)

    async def had(self, count: int) -> None:
        while len(self.calls) < count:
            self.changed.clear()
            await self.changed.wait()

    def numbers(self) -> list[int]:
        return [msgspec.json.decode(call.payload.message.body) for call in self.calls]


async def test_what_is_published_is_delivered_once_and_gone(
    bench: Opened, loop_factory: object
) -> None:
    shop = Shop()
    trace = Trace("a" * 32, "b" * 16, sampled=False)
    async with bench() as on, consuming(on.broker, shop) as intake:
        sent = order(7, key="k", trace=trace)
        await on.broker.publish(sent, soon())
        await shop.had(1)
        call = shop.calls[0]
        message = call.payload.message
        assert (message.id, message.topic, message.body) == (sent.id, "orders", b"7")
        assert (message.key, message.trace, call.key, call.trace) == ("k", trace, "k", trace)
        assert (call.attempt, message.published_at > 1.7e9) == (1, True)
        assert soon(29) < call.deadline < soon(30)

        async def gone() -> bool:
            return await depths(on.broker) == {}

        await until(gone)
        assert intake.statistics()["finished"] == 1
    assert len(shop.calls) == 1


async def test_messages_come_in_the_order_of_publishing(bench: Opened) -> None:
    shop = Shop()
    async with bench() as on:
        async with on.tables.transaction(soon()) as tx:
            for number in range(50):
                await tx.publish("orders", number, key="one")
        async with consuming(on.broker, shop):
            await shop.had(50)
    assert shop.numbers() == list(range(50))


async def test_a_waiting_consumer_is_called_long_before_it_would_look_itself(
    bench: Opened,
) -> None:
    shop = Shop()
    async with bench() as on, consuming(on.broker, shop):
        await on.broker.publish(order(), soon())
        await shop.had(1)
        await asyncio.sleep(0.25)  # idle: only the bell can tell before the next poll
        started = perf_counter()
        for count in range(2, 12):
            await on.broker.publish(order(), soon())
            await shop.had(count)
        assert perf_counter() - started < 10 * 0.2


async def test_messages_of_a_transaction_are_published_by_its_commit_alone(bench: Opened) -> None:
    shop = Shop()
    async with bench() as on, consuming(on.broker, shop):
        with pytest.raises(ZeroDivisionError):
            async with on.tables.transaction(soon()) as tx:
                await tx.publish("orders", 1)
                raise ZeroDivisionError
        async with on.tables.transaction(soon()) as tx:
            identity = await tx.publish("orders", 2, key="k")
            await asyncio.sleep(0.3)
            assert shop.calls == []
        await shop.had(1)
    assert shop.numbers() == [2]
    assert shop.calls[0].payload.message.id == identity


async def test_a_message_takes_the_trace_of_the_call_that_published_it(bench: Opened) -> None:
    shop = Shop()
    trace = Trace("c" * 32, "d" * 16)
    async with bench() as on, consuming(on.broker, shop):
        token = ambient.set(Call(None, soon(), trace=trace))
        async with on.tables.transaction(soon()) as tx:
            await tx.publish("orders", 1)
        ambient.reset(token)
        await shop.had(1)
    assert shop.calls[0].trace == trace


async def test_what_failed_comes_again_and_the_attempts_are_counted(bench: Opened) -> None:
    shop = Shop(Fault(Code.UNAVAILABLE, "down"), ZeroDivisionError("a defect"))
    async with bench() as on, consuming(on.broker, shop):
        await on.broker.publish(order(), soon())
        await shop.had(3)
    assert [call.attempt for call in shop.calls] == [1, 2, 3]
    assert len({call.payload.message.id for call in shop.calls}) == 1


async def test_a_retry_does_not_block_what_is_behind_it(bench: Opened) -> None:
    shop = Shop(Fault(Code.UNAVAILABLE, "down", retry_after=0.5))
    async with bench() as on, consuming(on.broker, shop, lanes=1):
        for number in range(4):
            await on.broker.publish(order(number), soon())
        await shop.had(5)
    assert shop.numbers() == [0, 1, 2, 3, 0]


async def test_the_last_attempt_ends_among_the_dead_with_its_trail(bench: Opened) -> None:
    shop = Shop(*(Fault(Code.UNAVAILABLE, f"down {number}") for number in range(3)))
    async with bench() as on, consuming(on.broker, shop):
        sent = order(7, key="k")
        await on.broker.publish(sent, soon())

        async def dead() -> bool:
            return await depths(on.broker) == {"dead": 1}

        await until(dead)
        (letter,) = await on.broker.dead("orders", soon())
        assert (letter.message.id, letter.message.body, letter.message.key) == (sent.id, b"7", "k")
        assert (letter.outcome, letter.attempts, letter.deaths) == ("dead", 3, 0)
        assert letter.cause == "unavailable: down 2 (attempt 3 of 3)"
        assert letter.consumer == "shop"
        assert len(letter.trail) == 3
        assert "unavailable: down 0" in letter.trail[0]
    assert len(shop.calls) == 3


async def test_what_no_attempt_helps_is_dead_at_once(bench: Opened) -> None:
    shop = Shop(Fault(Code.INVALID_ARGUMENT, "not JSON"))
    async with bench() as on, consuming(on.broker, shop):
        await on.broker.publish(order(), soon())

        async def dead() -> bool:
            return await depths(on.broker) == {"dead": 1}

        await until(dead)
    assert len(shop.calls) == 1


async def test_a_refusal_burns_no_attempt(bench: Opened) -> None:
    refused = Fault(Code.UNAVAILABLE, "open", effect=Effect.NONE, refusal=Refusal.OPEN)
    shop = Shop(*[refused] * 5)
    async with bench() as on, consuming(on.broker, shop):
        await on.broker.publish(order(), soon())
        await shop.had(6)
    assert {call.attempt for call in shop.calls} == {1}


async def test_a_dead_letter_is_replayed_or_discarded(bench: Opened) -> None:
    shop = Shop(*(Fault(Code.NOT_FOUND, "none") for _ in range(2)))
    async with bench() as on, consuming(on.broker, shop):
        for number in (1, 2):
            await on.broker.publish(order(number), soon())

        async def dead() -> bool:
            return await depths(on.broker) == {"dead": 2}

        await until(dead)
        first, second = await on.broker.dead("orders", soon())
        assert await on.broker.dead("orders", soon(), after=first.entry) == [second]
        assert await on.broker.replay(first.entry, soon())
        assert not await on.broker.replay(first.entry, soon())
        await shop.had(3)
        assert (shop.calls[2].attempt, shop.calls[2].payload.message.id) == (1, first.message.id)
        assert await on.broker.discard(second.entry, soon())
        assert not await on.broker.discard(second.entry, soon())
        assert await on.broker.dead("orders", soon()) == []


async def test_a_delayed_message_waits(bench: Opened) -> None:
    shop = Shop()
    async with bench() as on, consuming(on.broker, shop):
        started = perf_counter()
        async with on.tables.transaction(soon()) as tx:
            await tx.publish("orders", 1, delay=1.5)
            await tx.publish("orders", 2)
        await on.broker.publish(order(3, delay=0.4), soon())  # within a second, on any machine
        await shop.had(3)
        assert perf_counter() - started >= 1.5
    assert shop.numbers() == [2, 3, 1]


async def test_an_expired_message_is_recorded_and_not_executed(bench: Opened) -> None:
    shop = Shop()
    async with bench() as on:
        await on.broker.publish(order(1, expires=0.05), soon())
        await on.broker.publish(order(2, expires=60.0), soon())
        await asyncio.sleep(0.1)
        async with consuming(on.broker, shop):
            await shop.had(1)

            async def expired() -> bool:
                return await depths(on.broker) == {"expired": 1}

            await until(expired)
            (letter,) = await on.broker.dead("orders", soon())
            assert (letter.outcome, letter.attempts) == ("expired", 0)
    assert shop.numbers() == [2]


async def test_no_more_is_taken_than_the_prefetch(bench: Opened) -> None:
    shop, gate = Shop(), asyncio.Event()

    async def held(call: Call[Received]) -> None:
        await shop(call)
        await gate.wait()

    async with bench() as on:
        async with on.tables.transaction(soon()) as tx:
            for number in range(30):
                await tx.publish("orders", number)
        async with consuming(on.broker, held, lanes=2):
            await shop.had(2)
            await asyncio.sleep(0.3)
            assert await depths(on.broker) == {"ready": 22, "leased": 8}
            assert len(shop.calls) == 2
            gate.set()
            await shop.had(30)


async def test_draining_hands_back_what_has_not_begun_uncounted(bench: Opened) -> None:
    shop, gate = Shop(), asyncio.Event()

    async def held(call: Call[Received]) -> None:
        await shop(call)
        await gate.wait()

    async with bench() as on:
        for number in range(6):
            await on.broker.publish(order(number), soon())
        async with consuming(on.broker, held, lanes=2) as intake:
            await shop.had(2)
            intake.drain()
            gate.set()
        assert await depths(on.broker) == {"ready": 4}
        rest = Shop()
        async with consuming(on.broker, rest):
            await rest.had(4)
        assert {call.attempt for call in rest.calls} == {1}
    assert sorted(shop.numbers() + rest.numbers()) == list(range(6))


async def test_work_that_is_called_off_goes_back_uncounted(bench: Opened) -> None:
    begun = asyncio.Event()

    async def hang(call: Call[Received]) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async with bench() as on:
        await on.broker.publish(order(), soon())
        intake = on.broker.source(READING)
        task = asyncio.create_task(consume(intake, hang))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await intake.close()
        shop = Shop()
        async with consuming(on.broker, shop):
            await shop.had(1)
        assert shop.calls[0].attempt == 1


async def test_a_cancelled_take_loses_nothing(bench: Opened) -> None:
    async with bench() as on:
        intake = on.broker.source(READING)
        for number in range(5):
            for _ in range(3):
                taking = asyncio.create_task(intake.take())
                await asyncio.sleep(0.01)
                taking.cancel()
                await asyncio.wait([taking])
                assert taking.cancelled()
            await on.broker.publish(order(number), soon())
            delivery = await intake.take()
            assert delivery is not None
            assert delivery.call.payload.message.body == str(number).encode()
            await delivery.settle(Done(None))
        await intake.close()


async def test_a_delivery_is_settled_exactly_once(bench: Opened) -> None:
    async with bench() as on:
        await on.broker.publish(order(), soon())
        intake = on.broker.source(READING)
        delivery = await intake.take()
        assert delivery is not None
        await delivery.settle(Done(None))
        with pytest.raises(RuntimeError, match="settled before"):
            await delivery.settle(Failed(ValueError()))
        await intake.close()
        assert await depths(on.broker) == {}
        assert await intake.take() is None


def effect_in(effects: list[str]) -> Callable[[Message, Transaction], Awaitable[None]]:
    async def effect(message: Message, tx: Transaction) -> None:
        await tx.execute("INSERT INTO effects (message) VALUES ($1)", message.id)
        effects.append(message.id)

    return effect


async def counted(on: Bench) -> int:
    async with on.tables.transaction(soon()) as tx:
        return await tx.fetch_one(int, "SELECT count(*) FROM effects")


async def test_effect_and_end_of_a_message_commit_together(bench: Opened) -> None:
    effects: list[str] = []
    async with bench() as on, consuming(on.broker, once(on.tables, effect_in(effects))) as intake:
        for number in range(20):
            await on.broker.publish(order(number), soon())

        async def all_done() -> bool:
            return intake.statistics()["finished"] == 20

        await until(all_done)
        assert await counted(on) == len(set(effects)) == 20
        assert await depths(on.broker) == {}
        assert intake.statistics()["lost"] == 0


async def test_an_effect_that_is_rolled_back_leaves_its_message(bench: Opened) -> None:
    effects: list[str] = []

    async def fail_once(message: Message, tx: Transaction) -> None:
        await effect_in(effects)(message, tx)
        if len(effects) == 1:
            raise Fault(Code.UNAVAILABLE, "down")

    async with bench() as on, consuming(on.broker, once(on.tables, fail_once)):
        await on.broker.publish(order(), soon())

        async def gone() -> bool:
            return await depths(on.broker) == {}

        await until(gone)
        assert (len(effects), await counted(on)) == (2, 1)


async def test_a_message_published_twice_takes_effect_once(bench: Opened) -> None:
    effects: list[str] = []
    async with bench() as on, consuming(on.broker, once(on.tables, effect_in(effects))) as intake:
        sent = order()
        await on.broker.publish(sent, soon())
        await on.broker.publish(sent, soon())

        async def both_gone() -> bool:
            return intake.statistics()["finished"] == 2

        await until(both_gone)
        assert (await counted(on), await depths(on.broker)) == (1, {})


async def test_a_lost_lease_calls_the_work_off_and_its_effect_never_commits(
    bench: Opened,
) -> None:
    effects: list[str] = []
    begun = asyncio.Event()

    async def slow_at_first(message: Message, tx: Transaction) -> None:
        await effect_in(effects)(message, tx)
        if len(effects) == 1:
            begun.set()
            await asyncio.sleep(3600)

    async def handler(call: Call[Received]) -> None:
        # Claimed late: the lease goes away before the claim holds the row.
        async with on.tables.transaction(call.deadline) as tx:
            await slow_at_first(call.payload.message, tx)
            await call.payload.claim(tx)

    async with bench() as on, consuming(on.broker, handler):
        await on.broker.publish(order(), soon())
        await begun.wait()
        await on.lose()

        async def gone() -> bool:
            return await depths(on.broker) == {}

        await until(gone)
        assert (len(effects), await counted(on)) == (2, 1)


async def test_what_another_took_over_cannot_be_settled_any_more(bench: Opened) -> None:
    async with bench() as on, bench() as other:
        for _ in range(3):
            await on.broker.publish(order(), soon())
        intake = on.broker.source(READING)
        paused = [delivery for _ in range(3) if (delivery := await intake.take()) is not None]
        await on.lose()
        second = other.broker.source(READING)
        taken = [delivery for _ in range(3) if (delivery := await second.take()) is not None]
        assert {one.call.payload.message.id for one in taken} == {
            one.call.payload.message.id for one in paused
        }
        await paused[0].settle(Done(None))
        await paused[1].settle(Failed(Fault(Code.UNAVAILABLE, "down")))
        await paused[2].settle(Failed(Fault(Code.NOT_FOUND, "none")))
        await intake.close()
        assert intake.statistics()["lost"] == 3
        assert await depths(on.broker) == {"leased": 3}
        for delivery in taken:
            await delivery.settle(Done(None))
        await second.close()
        assert second.statistics()["finished"] == 3
        assert await depths(on.broker) == {}


async def test_what_was_lost_and_taken_again_by_the_same_consumer_is_settled_by_the_second(
    bench: Opened,
) -> None:
    async with bench() as on:
        await on.broker.publish(order(), soon())
        intake = on.broker.source(READING)
        first = await intake.take()
        assert first is not None
        await on.lose()
        second = await intake.take()
        assert second is not None
        await first.settle(Done(None))
        await asyncio.sleep(0.3)
        assert await depths(on.broker) == {"leased": 1}, "the first is nobody's any more"
        await second.settle(Failed(Fault(Code.NOT_FOUND, "none")))
        await intake.close()
        assert await depths(on.broker) == {"dead": 1}


async def test_a_claim_on_a_lost_lease_is_refused(bench: Opened) -> None:
    async with bench() as on:
        await on.broker.publish(order(), soon())
        intake = on.broker.source(READING)
        delivery = await intake.take()
        assert delivery is not None
        await on.lose()
        with pytest.raises(Fault, match=r"lease of message .* is lost") as refused:
            async with on.tables.transaction(soon()) as tx:
                await tx.execute("INSERT INTO effects (message) VALUES ('x')")
                await delivery.call.payload.claim(tx)
        assert (refused.value.code, refused.value.effect) == (Code.ABORTED, Effect.NONE)
        assert await counted(on) == 0
        await delivery.settle(Failed(refused.value))


async def test_two_consumers_share_the_messages(bench: Opened) -> None:
    shops = [Shop(), Shop()]
    async with bench() as on, bench() as other:
        async with on.tables.transaction(soon()) as tx:
            for number in range(200):
                await tx.publish("orders", number)
        async with consuming(on.broker, shops[0]), consuming(other.broker, shops[1]):

            async def all_gone() -> bool:
                return await depths(on.broker) == {}

            await until(all_gone)
    numbers = shops[0].numbers() + shops[1].numbers()
    assert sorted(numbers) == list(range(200))


async def test_retries_that_outlive_the_memory_are_refused_at_the_start(bench: Opened) -> None:
    async with bench() as on:
        with pytest.raises(ValueError, match="inbox remembers 3600 s"):
            on.broker.source(Reading("orders", "shop", attempts=1000))
