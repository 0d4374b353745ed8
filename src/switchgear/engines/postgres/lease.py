"""The lease port on PostgreSQL: a row per name, renewed while it is held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Final

from switchgear.core.clock import FINE, Clock
from switchgear.core.drivers import Work
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.faults import ORIGIN
from switchgear.engines.postgres.pool import PoolSettings, PostgresPool
from switchgear.engines.postgres.queue.settings import QueueSettings
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["PostgresHeld", "PostgresLease"]

TAKE: Final = """
INSERT INTO switchgear.lease AS l (name, fence, until)
VALUES ($1, 1, now() + make_interval(secs => $2))
ON CONFLICT (name) DO UPDATE SET fence = l.fence + 1, until = excluded.until WHERE l.until < now()
RETURNING fence
"""
RENEW: Final = """
UPDATE switchgear.lease SET until = now() + make_interval(secs => $3)
WHERE name = $1 AND fence = $2 RETURNING fence
"""
LET_GO: Final = """
UPDATE switchgear.lease SET until = '-infinity' WHERE name = $1 AND fence = $2 RETURNING fence
"""


class PostgresHeld:
    """A lease while it is held. Whoever writes under it checks `fence` where it writes."""

    def __init__(self, name: str, fence: int) -> None:
        self.name = name
        self.fence = fence
        self.lost = False
        self._work: list[Work] = []

    def begin(self, work: Work) -> None:
        """Call `work` off when the lease is lost; at once if it is."""
        self._work.append(work)
        if self.lost:
            work.cancel()

    def lose(self) -> None:
        """Call everything off that was begun under this lease."""
        self.lost = True
        for work in self._work:
            work.cancel()


class PostgresLease:
    """Names held by one process at a time; the durations are the queue's."""

    def __init__(
        self,
        dsn: Dsn,
        *,
        name: str = "switchgear",
        settings: QueueSettings | None = None,
        clock: Clock = FINE,
    ) -> None:
        self._settings = settings or QueueSettings()
        self._clock = clock
        self._pool = PostgresPool(dsn, f"{name} leases", PoolSettings(connections=2), clock)

    @asynccontextmanager
    async def hold(self, name: str, deadline: float) -> AsyncIterator[PostgresHeld]:
        """Wait for `name` until `deadline`, hold it while the block runs, renew it meanwhile.

        Raises a Fault (unavailable, no effect) when it was held by others all that time.
        """
        taken_at, held = await self._take(name, deadline)
        loop = asyncio.get_running_loop()
        renewing = loop.create_task(self._renewing(held, taken_at), context=Context())
        try:
            yield held
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await self._let_go(held)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.close()

    async def _take(self, name: str, deadline: float) -> tuple[float, PostgresHeld]:
        while True:
            asked = self._clock()
            rows = await self._pool.fetch(TAKE, name, self._settings.lease, deadline=deadline)
            if rows:
                return asked, PostgresHeld(name, rows[0]["fence"])
            if self._clock() + self._settings.poll > deadline:
                raise Fault(
                    Code.UNAVAILABLE,
                    f"the lease {name!r} is held by another process",
                    effect=Effect.NONE,
                    origin=ORIGIN,
                )
            await asyncio.sleep(self._settings.poll)

    async def _renewing(self, held: PostgresHeld, renewed: float) -> None:
        """Renew until the lease is lost: taken by another, or not renewed in its time."""
        lease, heartbeat = self._settings.lease, self._settings.heartbeat
        while True:
            await asyncio.sleep(heartbeat)
            asked = self._clock()
            deadline = min(asked + heartbeat, renewed + lease)
            try:
                rows = await self._pool.fetch(
                    RENEW, held.name, held.fence, lease, deadline=deadline
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, the lease runs out
                if not isinstance(error, Fault):
                    _report(error)
                if self._clock() < renewed + lease - heartbeat:
                    continue
                rows = []
            if not rows:
                held.lose()
                return
            renewed = asked

    async def _let_go(self, held: PostgresHeld) -> None:
        try:
            deadline = self._clock() + self._settings.heartbeat
            await self._pool.fetch(LET_GO, held.name, held.fence, deadline=deadline)
        except Fault:
            return  # it runs out by itself


def _report(error: Exception) -> None:
    """Tell the loop of a defect; a server that is away is known by the loss of the lease."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "a lease could not be renewed", "exception": error}
    )
