"""Consumers on a real queue: effects once, endings recorded, and nothing kept from others."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Struct

from switchgear import Call, Code, Fault, IdempotencyKey, Transaction
from switchgear.consumers.subscription import Subscription
from switchgear.consumers.worker import Worker
from switchgear.core.ambient import current
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, QueueSettings, install
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.call import Trace
from switchgear.ports.broker import DeadLetter, Message
from tests.support.postgres import run

QUICK = QueueSettings(poll=0.1, backoff=0.01, backoff_cap=0.05)


class Made(Struct):
    name: str


class House:
    """A queue, tables, and a worker that may be started on them."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.queue = PostgresQueue(roles.app, settings=QUICK)
        self.tables = PostgresTables(roles.app, outbox=self.queue)
        self.failures: list[str] = []

    async def publish(self, body: bytes = b'{"name":"lamp"}', **fields: Any) -> str:
        message = Message(str(uuid4()), "item.made", body, **fields)
        await self.queue.publish(message, time.perf_counter() + 5)
        return message.id

    @asynccontextmanager
    async def consuming(self, function: Callable[..., Any], **fields: Any) -> AsyncIterator[Worker]:
        worker = Worker(
            [Subscription("item.made", function, **fields)],
            broker=self.queue,
            tables=self.tables,
            providers={},
            random=lambda: 0.5,
            on_failure=lambda _, error: self.failures.append(repr(error)),
        )
        work = asyncio.ensure_future(worker.run())
        try:
            yield worker
            worker.drain()
            await asyncio.wait_for(work, 10)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def effects(self) -> list[str]:
        async with self.tables.transaction(time.perf_counter() + 5) as tx:
            return await tx.fetch_all(str, "select name from effect order by name")

    async def depths(self) -> dict[str, int]:
        return (await self.queue.depths(time.perf_counter() + 5)).get("item.made", {})

    async def dead(self) -> list[DeadLetter]:
        return await self.queue.dead("item.made", time.perf_counter() + 5)


@asynccontextmanager
async def house(roles: Roles) -> AsyncIterator[House]:
    await install(roles.owner)
    # Without a unique constraint: a second effect must show.
    await run(roles.owner, "create table effect (name text not null)")
    told = House(roles)
    try:
        yield told
    finally:
        await told.tables.close()
        await told.queue.close()


async def until(found: Callable[[], Any], within: float = 10.0) -> Any:
    async with asyncio.timeout(within):
        while True:
            value = found()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)


async def store(tx: Transaction, name: str) -> None:
    await tx.execute("insert into effect (name) values ($1)", name)


async def test_the_effect_and_the_end_of_its_message_are_one_commit(roles: Roles) -> None:
    async with house(roles) as told:
        tries = 0

        async def take(made: Made, tx: Transaction) -> None:
            nonlocal tries
            tries += 1
            await store(tx, made.name)
            if tries == 1:
                raise ZeroDivisionError("after the effect")

        async with told.consuming(take):
            await told.publish()
            await until(told.effects)
            await until(lambda: _is_empty(told))
        assert (tries, await told.effects()) == (2, ["lamp"])


async def _is_empty(told: House) -> bool:
    return not await told.depths()


async def test_the_same_message_again_has_no_second_effect(roles: Roles) -> None:
    async with house(roles) as told:

        async def take(made: Made, tx: Transaction) -> None:
            await store(tx, made.name)

        async with told.consuming(take):
            message = Message(str(uuid4()), "item.made", b'{"name":"lamp"}')
            for _ in range(2):
                await told.queue.publish(message, time.perf_counter() + 5)
                await until(told.effects)
                await until(lambda: _is_empty(told))
        assert await told.effects() == ["lamp"]


async def test_a_key_is_the_messages_own_in_every_attempt(roles: Roles) -> None:
    async with house(roles) as told:
        keys: list[str] = []
        calls: list[Call[Any] | None] = []

        async def take(made: Made, key: IdempotencyKey) -> None:
            keys.append(key)
            calls.append(current())
            if len(keys) < 3:
                raise Fault(Code.UNAVAILABLE, "the mail server is away")

        trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
        async with told.consuming(take):
            message = await told.publish(trace=trace)
            await until(lambda: len(keys) == 3)
            await until(lambda: _is_empty(told))
        assert keys == [message] * 3
        assert [call.attempt for call in calls if call is not None] == [1, 2, 3]
        assert calls[0] is not None
        assert calls[0].trace == trace


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name":1}', b"\xff", b'{"title":"lamp"}'])
async def test_what_cannot_be_read_is_dead_at_once(roles: Roles, body: bytes) -> None:
    async with house(roles) as told:
        taken: list[Made] = []

        async def take(made: Made, tx: Transaction) -> None:
            taken.append(made)

        async with told.consuming(take):
            await told.publish(body)
            await told.publish()
            (letter,) = await until(told.dead)
            await until(lambda: taken)
        assert (letter.outcome, letter.attempts, letter.message.body) == ("dead", 1, body)
        assert letter.cause.startswith("invalid_argument: ")
        assert taken == [Made("lamp")]


async def test_a_newer_producer_may_say_more(roles: Roles) -> None:
    async with house(roles) as told:

        async def take(made: Made, tx: Transaction) -> None:
            await store(tx, made.name)

        async with told.consuming(take):
            await told.publish(b'{"name":"lamp","colour":"red"}')
            assert await until(told.effects) == ["lamp"]


async def test_attempts_end(roles: Roles) -> None:
    async with house(roles) as told:

        async def take(made: Made, tx: Transaction) -> None:
            await store(tx, made.name)
            raise ZeroDivisionError("again")

        async with told.consuming(take, attempts=3):
            await told.publish()
            (letter,) = await until(told.dead)
        assert letter.attempts == 3
        assert "ZeroDivisionError: again (attempt 3 of 3)" in letter.cause
        assert await told.effects() == []


async def test_what_is_too_late_is_not_done(roles: Roles) -> None:
    async with house(roles) as told:

        async def take(made: Made, tx: Transaction) -> None:
            await store(tx, made.name)

        await told.publish(expires=0.05)
        await asyncio.sleep(0.2)
        async with told.consuming(take):
            (letter,) = await until(told.dead)
        assert letter.outcome == "expired"
        assert await told.effects() == []


async def test_what_ran_out_of_time_behind_others_is_not_done(roles: Roles) -> None:
    """It was taken in time, and then waited for a lane, or for its key."""
    async with house(roles) as told:
        go = asyncio.Event()

        async def take(made: Made, tx: Transaction) -> None:
            await store(tx, made.name)
            await go.wait()

        async with told.consuming(take, lanes=1) as worker:
            await told.publish()
            for _ in range(3):
                await told.publish(b'{"name":"late"}', expires=0.5)
            await told.publish(b'{"name":"patient"}')
            await until(lambda: worker.statistics()["item.made"]["out"] == 2)
            await asyncio.sleep(0.6)
            go.set()
            await until(lambda: _is(told, {"expired": 3}))
        assert await told.effects() == ["lamp", "patient"]
        assert {(one.outcome, one.attempts) for one in await told.dead()} == {("expired", 0)}


async def _is(told: House, depths: dict[str, int]) -> bool:
    return await told.depths() == depths


async def test_an_attempt_has_its_deadline(roles: Roles) -> None:
    async with house(roles) as told:
        began: list[float] = []

        async def take(made: Made, tx: Transaction) -> None:
            began.append(time.perf_counter())
            await store(tx, made.name)
            if len(began) == 1:
                await asyncio.sleep(30)

        async with told.consuming(take, deadline=0.3):
            await told.publish()
            await until(told.effects)
        assert 0.25 < began[1] - began[0] < 2.0


async def test_a_drain_finishes_what_runs_and_hands_the_rest_back_uncounted(roles: Roles) -> None:
    async with house(roles) as told:
        go = asyncio.Event()
        begun: list[str] = []

        async def take(made: Made, tx: Transaction) -> None:
            begun.append(made.name)
            await go.wait()
            await store(tx, made.name)

        for number in range(6):
            await told.publish(b'{"name":"%d"}' % number)
        async with told.consuming(take, lanes=2) as worker:
            await until(lambda: len(begun) == 2)
            await until(lambda: worker.statistics()["item.made"]["taken"] >= 3)
            worker.drain()
            await asyncio.sleep(0.05)
            go.set()
        done = len(await told.effects())
        assert 2 <= done <= 4
        assert await told.depths() == {"ready": 6 - done}

        async def rest(made: Made, tx: Transaction) -> None:
            call = current()
            assert call is not None
            await store(tx, f"{made.name} at attempt {call.attempt}")

        async with told.consuming(rest):
            await until(lambda: _is_empty(told))
        assert sum("at attempt 1" in name for name in await told.effects()) == 6 - done


async def test_a_consumer_may_publish_in_its_own_commit(roles: Roles) -> None:
    async with house(roles) as told:

        async def take(made: Made, tx: Transaction) -> None:
            await tx.publish("item.noted", made)

        async with told.consuming(take):
            await told.publish()
            depths = await until(
                lambda: _depth(told, "item.noted"),
            )
        assert depths == {"ready": 1}


async def _depth(told: House, topic: str) -> dict[str, int] | None:
    return (await told.queue.depths(time.perf_counter() + 5)).get(topic)
