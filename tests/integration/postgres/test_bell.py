"""The bell: whatever goes wrong with it, it costs the time of a poll and nothing else."""

import asyncio
from time import perf_counter
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from switchgear.core.outcome import Done
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, QueueSettings, install
from switchgear.engines.postgres.queue.bell import Bell
from switchgear.ports.broker import Message, Reading

SLOW = QueueSettings(poll=30.0)


async def test_a_topic_that_no_notification_holds_keeps_no_other_from_being_rung(
    roles: Roles,
) -> None:
    """It was rung again and again, each time on another connection."""
    await install(roles.owner)
    queue = PostgresQueue(roles.app, settings=SLOW)
    looking = await asyncpg.connect(**roles.owner.arguments())
    intake = queue.source(Reading("orders", "shop"))
    taking = asyncio.ensure_future(intake.take())
    bells = (
        "SELECT coalesce(max(pid), 0) FROM pg_stat_activity"
        " WHERE application_name = 'switchgear bell' AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while not await looking.fetchval(bells):
            await asyncio.sleep(0.02)
        for topic in ("x" * 9000, "orders"):
            await queue.publish(Message(str(uuid4()), topic, b"1"), perf_counter() + 5)
            await asyncio.sleep(0.3)
        delivery = await taking
    assert delivery is not None
    await delivery.settle(Done(None))
    before = await looking.fetchval(bells)
    await asyncio.sleep(0.5)
    assert await looking.fetchval(bells) == before, "it is still connecting anew"
    await queue.close()
    await looking.close()


async def test_a_defect_of_the_driver_does_not_silence_it(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it has where a server welcomes it in a way that no server should."""
    connect = asyncpg.connect
    times = 0

    async def connecting(*arguments: Any, **given: Any) -> Any:
        nonlocal times
        times += 1
        if times <= 2:
            raise AttributeError("server_version")
        return await connect(*arguments, **given)

    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    heard = asyncio.Event()
    monkeypatch.setattr(asyncpg, "connect", connecting)
    bell = Bell(roles.app)
    bell.listen("orders", heard.set)
    async with asyncio.timeout(20):
        await heard.wait()
    assert told == ["the queue's bell failed"] * 2
    await bell.close()
