"""Messages so large that a statement has not the time for as many of them as there is room for."""

import asyncio
from time import perf_counter
from uuid import uuid4

import pytest

from switchgear.core.outcome import Done
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, install, intake
from switchgear.ports.broker import Message, Reading

COUNT = 72
BODY = b'"' + b"a" * (4 << 20) + b'"'


async def test_they_are_taken_fewer_at_a_time(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every turn would take its whole time for nothing, for ever."""
    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    for _ in range(COUNT):
        await queue.publish(Message(str(uuid4()), "films", BODY), perf_counter() + 30)
    monkeypatch.setattr(intake, "TIMEOUT", 0.1)
    source = queue.source(Reading("films", "cinema", prefetch=COUNT))
    async with asyncio.timeout(60):
        for _ in range(COUNT):
            delivery = await source.take()
            assert delivery is not None
            assert len(delivery.message.body) == len(BODY)
            await delivery.settle(Done(None))
    assert source.statistics()["faults"] >= 1, "all came at once: it proves nothing here"
    monkeypatch.setattr(intake, "TIMEOUT", 5.0)
    await source.close()
    assert await queue.depths(perf_counter() + 5) == {}
    await queue.close()
