"""A worker that may die: `python worker.py DSN_AS_JSON POINT NUMBER`.

It kills itself with SIGKILL at POINT (`received`, `effect`, `committed`, `never`) of the NUMBER-th
message, or stops at `pause`; the message "poison" kills it always. It prints a line per message.
"""

import asyncio
import os
import signal
import sys

import msgspec

from switchgear.core.consume import consume
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.queue import PostgresQueue, QueueSettings
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.call import Call
from switchgear.ports.broker import Reading, Received

SETTINGS = QueueSettings(lease=1.0, heartbeat=0.2, poll=0.2, deaths=int(os.environ["DEATHS"]))


async def main() -> None:
    dsn = msgspec.json.decode(sys.argv[1], type=Dsn)
    point, number = sys.argv[2], int(sys.argv[3])
    queue = PostgresQueue(dsn, settings=SETTINGS)
    tables = PostgresTables(dsn, outbox=queue)
    seen = 0

    def die_at(here: str, nth: int) -> None:
        if here == point and nth == number:
            os.kill(os.getpid(), signal.SIGKILL)

    async def handle(call: Call[Received]) -> None:
        nonlocal seen
        seen += 1
        nth = seen
        message = call.payload.message
        print(message.id, flush=True)
        die_at("received", nth)
        if point == "pause" and nth == number:
            os.kill(os.getpid(), signal.SIGSTOP)
        async with tables.transaction(call.deadline) as tx:
            if await call.payload.claim(tx):
                await tx.execute("INSERT INTO effects (message) VALUES ($1)", message.id)
                if message.body == b'"poison"':
                    os.kill(os.getpid(), signal.SIGKILL)
                await asyncio.sleep(0.001)
                die_at("effect", nth)
        die_at("committed", nth)

    intake = queue.source(Reading("orders", "shop", prefetch=8, deadline=2.0))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, intake.drain)
    await consume(intake, handle, lanes=2)
    await queue.close()
    await tables.close()
    print("stats", msgspec.json.encode(intake.statistics()).decode(), flush=True)


asyncio.run(main())
