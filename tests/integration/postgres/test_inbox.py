"""The inbox: what it may forget goes as fast as it came, and what it must know stays."""

import asyncio

import asyncpg

from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.ports.broker import Reading

OLD = """
INSERT INTO switchgear.inbox (consumer, message, done_at)
SELECT 'shop', gen_random_uuid(), now() - make_interval(days => $1) FROM generate_series(1, $2)
"""


async def test_it_does_not_outgrow_what_it_forgets(roles: Roles) -> None:
    """A busy consumer writes more in a minute than one look takes away."""
    await install(roles.owner)
    looking = await asyncpg.connect(**roles.owner.arguments())
    await looking.fetch(OLD, 2, 45_000)
    await looking.fetch(OLD, 0, 5)
    queue = PostgresQueue(roles.app)
    source = queue.source(Reading("orders", "shop"))
    taking = asyncio.ensure_future(source.take())
    async with asyncio.timeout(15):
        while await looking.fetchval("SELECT count(*) FROM switchgear.inbox") > 5:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert await looking.fetchval("SELECT count(*) FROM switchgear.inbox") == 5
    source.drain()
    assert await taking is None
    await queue.close()
    await looking.close()
