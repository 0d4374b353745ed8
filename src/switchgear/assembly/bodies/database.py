"""The database as a role uses it: tables at the offered address, watched and told when away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import RoleContext
from switchgear.core.clock import FINE
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.pool import PoolSettings
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.ports.tables import OpenSnapshot, Tables, Transaction

__all__ = ["FOR_REQUESTS", "Guarded", "dsn_of", "guarded", "watch"]

FOR_REQUESTS: Final = PoolSettings(kept=2, patience=0.5, hurried=0.4)
"""For whoever answers requests, of which there may be more than the database bears.

A burst waits up to half of its time. Once somebody has been waiting for long, it is no burst: who
waits any longer than a fifth of its time makes room for those who still have theirs. Of the kept
connections a route gets one, so that one is left for others, whatever it waits for.
"""

_EVERY: Final = 1.0  # seconds between two looks while it is well, and when to ask again meanwhile
_AGAIN: Final = 0.25  # seconds to the next look while it is not
_PATIENCE: Final = 1.0  # seconds for an answer
_SURE: Final = 2  # failed looks in a row until nobody waits for it any more


def dsn_of(context: RoleContext, offer: str) -> Dsn:
    """Return the address that the role was offered.

    Raises StartError where it was offered none.
    """
    url = context.offers.get(offer)
    if url is None:
        raise StartError(f"{context.label} needs the database address {offer!r} and was given none")
    return Dsn.parse(url)


@asynccontextmanager
async def guarded(
    context: RoleContext,
    dsn: Dsn,
    queue: PostgresQueue | None = None,
    pool: PoolSettings | None = None,
) -> AsyncIterator[Tables]:
    """Open the tables at `dsn`, guarded by a watch whose one connection is no request's.

    `pool` is the role's own, by default one in which each waits for as long as there is time.
    """
    alone = PoolSettings(connections=1)
    probed = PostgresTables(dsn, name=f"{context.label} watch", settings=alone)
    snapshots = context.settings.database.snapshots
    own = PostgresTables(dsn, name=context.label, settings=pool, snapshots=snapshots, outbox=queue)
    tables = Guarded(own)

    def trouble() -> str:
        return own.trouble() or ("" if queue is None else queue.trouble())

    watching = asyncio.create_task(watch(context, probed, tables.looked, trouble))
    try:
        yield tables
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await tables.close()
        await probed.close()


class Guarded:
    """Tables that refuse at once while their server is known to be away.

    Else every call that needs it would wait to its deadline with a permit, a connection and a
    client in hand, and all their late answers at its return would look like a slow service. Only
    looks that are nobody's request decide: a route with a slow statement shuts none of the others.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._failed = 0
        self._why = ""

    def looked(self, why: str | None) -> None:
        """Take note of a look: None when the server answered, else why it did not."""
        self._failed = 0 if why is None else self._failed + 1
        self._why = why or ""

    def transaction(self, deadline: float) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction. Raises a Fault (unavailable) while the server is away."""
        self._refuse()
        return self._tables.transaction(deadline)

    async def snapshot(self, deadline: float) -> OpenSnapshot:
        """Open a snapshot. Raises a Fault (unavailable) while the server is away."""
        self._refuse()
        return await self._tables.snapshot(deadline)

    def _refuse(self) -> None:
        if self._failed >= _SURE:
            raise Fault(
                Code.UNAVAILABLE,
                f"the database is away: {self._why}",
                effect=Effect.NONE,
                refusal=Refusal.OPEN,
                retry_after=_EVERY,
                origin="database",
            )

    async def probe(self, deadline: float) -> None:
        """Ask the server itself, however the last looks went."""
        await self._tables.probe(deadline)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()


async def watch(
    context: RoleContext,
    probed: Tables,
    looked: Callable[[str | None], None] = lambda _: None,
    trouble: Callable[[], str] = str,
) -> None:
    """Look after the database for as long as the role runs: degraded while it does not answer.

    The process stays ready all the while: a shared database that is down would else turn every
    replica unready at once. `looked` hears how each look went; `trouble` says what is wrong with a
    server that answers, which shuts nobody out.
    """
    while True:
        why = None
        try:
            await probed.probe(FINE() + _PATIENCE)
        except Fault as fault:
            why = fault.detail
        except Exception as error:  # noqa: BLE001 - a watch that ended would leave its last word
            why = f"{type(error).__name__}: {error}"
        context.degraded("database", why or trouble() or None)
        looked(why)
        await asyncio.sleep(_EVERY if why is None else _AGAIN)
