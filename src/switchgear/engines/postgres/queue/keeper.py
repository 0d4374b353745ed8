"""The keeper: renews the leases of this process, and takes from the dead what they held.

The renewals have a connection of their own: handlers that hold all others must not cost the
process its leases. Housekeeping (what is due, what the dead left, what the inbox may forget) is
done by every process that takes messages; the statements let each other pass.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from switchgear.core.clock import Clock
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.pool import PoolSettings, PostgresPool
from switchgear.engines.postgres.queue import sql
from switchgear.engines.postgres.queue.bell import Bell
from switchgear.engines.postgres.queue.intake import QueueIntake
from switchgear.engines.postgres.queue.settings import QueueSettings
from switchgear.policy.fault import Fault

__all__ = ["Keeper"]

DUE = 0.25  # seconds between two looks at what is due
BATCH = 1000
PRUNED = 10_000  # rows of the inbox at a time; as long as there are so many, with every look
AGAIN = 0.2  # seconds until a renewal that failed is tried again
TIMEOUT = 5.0


class Keeper:
    """Renews every intake's lease with one statement; starts with the first of them."""

    def __init__(
        self, dsn: Dsn, name: str, settings: QueueSettings, pool: PostgresPool, bell: Bell,
        clock: Clock,
    ) -> None:  # fmt: skip
        self.alone = asyncio.Lock()
        self._name = name
        self._settings = settings
        self._pool = pool
        self._own = PostgresPool(dsn, f"{name} lease", PoolSettings(connections=1), clock)
        self._bell = bell
        self._clock = clock
        self._held: dict[int, QueueIntake] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._renewed = clock()
        self._steady_since = clock()
        self._overgrown = False

    async def hold(self, intake: QueueIntake) -> int:
        """Register an intake as a holder of messages; return the number of its lease."""
        asked = self._clock()
        rows = await self._pool.fetch(
            sql.HOLD, f"{self._name} {intake.reading.consumer}", self._settings.lease,
            deadline=asked + min(TIMEOUT, self._settings.lease / 2),
        )  # fmt: skip
        holder: int = rows[0]["id"]
        if not self._held:
            self._renewed = asked
        self._held[holder] = intake
        if not self._tasks:
            loop = asyncio.get_running_loop()
            for loops in (self._renewing, self._keeping):
                self._tasks.append(loop.create_task(loops(), context=Context()))
        return holder

    def let_go(self, intake: QueueIntake) -> None:
        """Renew an intake's lease no more."""
        self._held = {number: one for number, one in self._held.items() if one is not intake}

    async def close(self) -> None:
        """End the renewals."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        await self._own.close()

    async def _renewing(self) -> None:
        while True:
            asked = self._clock()
            try:
                await self._renew(asked)
            except Exception as error:  # noqa: BLE001 - without renewals all work would be lost
                _report(error)
                self._steady_since = self._clock()
                if self._steady_since - self._renewed > self._settings.lease:
                    for intake in tuple(self._held.values()):
                        intake.doubt()
                await asyncio.sleep(AGAIN)
            else:
                self._renewed = asked
                await asyncio.sleep(self._settings.heartbeat)

    async def _renew(self, asked: float) -> None:
        held = dict(self._held)
        deadline = asked + self._settings.heartbeat
        rows = await self._own.fetch(sql.RENEW, [*held], self._settings.lease, deadline=deadline)
        for number in held.keys() - {row["id"] for row in rows}:
            if self._held.pop(number, None) is not None:
                held[number].lost()

    async def _keeping(self) -> None:
        """Look after what nobody holds. A server that is away is looked for again."""
        rounds = 0
        while True:
            for every, work in (
                (1, self._move_due),
                (4, self._reclaim),
                (4, self._suspects),
                (1 if self._overgrown else 240, self._forget),
            ):
                if rounds % every == 0:
                    await self._tried(work)
            rounds += 1
            await asyncio.sleep(DUE)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the others' housekeeping goes on
            _report(error)
            await asyncio.sleep(AGAIN)

    async def _run(self, statement: str, *arguments: object) -> list[Any]:
        return await self._pool.fetch(statement, *arguments, deadline=self._clock() + TIMEOUT)

    async def _move_due(self) -> None:
        self._bell.ring(row["topic"] for row in await self._run(sql.MOVE_DUE, BATCH))

    async def _reclaim(self) -> None:
        """Free what the dead held.

        Not within a lease's time of an outage: then everybody was silent, and nobody died.
        """
        if self._clock() - self._steady_since < self._settings.lease:
            return
        await self._run(sql.MARK_DEAD)
        self._bell.ring(row["topic"] for row in await self._run(sql.RECLAIM, self._settings.deaths))

    async def _suspects(self) -> None:
        topics = {row["topic"] for row in await self._run(sql.SUSPECTS)}
        for intake in tuple(self._held.values()):
            if intake.reading.topic in topics:
                intake.suspected = True
                intake.wake()

    async def _forget(self) -> None:
        rows = await self._run(sql.PRUNE, self._settings.inbox, PRUNED)
        self._overgrown = rows[0]["pruned"] >= PRUNED
        await self._run(sql.FORGET_DEAD)


def _report(error: Exception) -> None:
    """Tell the loop of a defect; a server that is away is known by the intakes' figures."""
    if not isinstance(error, Fault):
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the queue's keeper failed", "exception": error}
        )
