"""A job: long work under a lease, which a heartbeat renews for as long as the work runs."""

import asyncio
from math import inf

import msgspec

from switchgear.core.consume import consume
from switchgear.core.frames import Timeout
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.lane.envelope import body_of
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate
from switchgear.ports.broker import Broker, Intake, Reading, Received
from switchgear.ports.tables import Tables

DEADLINE = 300.0


class Digest(msgspec.Struct):
    """So many pages are due; each takes a while to write."""

    day: str
    pages: int
    pause: float


class Press:
    """Writes digests, and publishes each when it is complete."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.written = 0

    async def write(self, call: Call[Received]) -> None:
        """Write a digest; whoever has lost its lease meanwhile publishes nothing."""
        digest = body_of(call.payload.message.body, Digest)
        for _ in range(digest.pages):
            await asyncio.sleep(digest.pause)
            self.written += 1
        async with self.tables.transaction(call.deadline) as tx:
            if await call.payload.claim(tx):
                await tx.execute("INSERT INTO digests (day) VALUES ($1)", digest.day)


def digests_of(broker: Broker) -> Intake:
    """Take one digest at a time; the intake renews its lease until it is settled."""
    return broker.source(Reading("digest", "press", prefetch=1, attempts=3, deadline=DEADLINE))


async def run_press(intake: Intake, press: Press, gate: Gate) -> None:
    """Write what is due until the intake is drained."""
    whole = Timeout(full=DEADLINE, limit=inf, share=1.0)
    parts = [Part(Place.DEADLINE, whole), Part(Place.SHED, gate)]
    try:
        await consume(intake, stack("digest", INBOUND, parts, press.write).run)
    finally:
        await intake.close()
