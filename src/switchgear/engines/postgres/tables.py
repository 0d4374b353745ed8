"""The tables port on PostgreSQL."""

from types import TracebackType
from typing import Any

from msgspec.structs import replace

from switchgear.core.clock import FINE, Clock
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.faults import translate
from switchgear.engines.postgres.pool import RESET, PoolSettings, PostgresPool
from switchgear.engines.postgres.session import GRACE, whole
from switchgear.engines.postgres.snapshot import PostgresSnapshot, open_snapshot
from switchgear.engines.postgres.snapshot_settings import SnapshotSettings
from switchgear.engines.postgres.transaction import Outbox, PostgresTransaction

__all__ = ["PostgresTables"]

# In a broken transaction (a statement of it was called off, and the handler went on) COMMIT rolls
# back and says that all is well. Any other statement fails there: so one stands before it.
COMMIT = f"CLOSE ALL; COMMIT; {RESET}"
# The server gives up a little before the caller: its answer is known, the caller's loss is not.
MARGIN = 0.02


class PostgresTables:
    """Transactions over a pool; `outbox` is the queue that `publish` writes to.

    Snapshots have a pool of their own: they last for as long as somebody takes an answer.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        name: str = "switchgear",
        settings: PoolSettings | None = None,
        snapshots: SnapshotSettings | None = None,
        outbox: Outbox | None = None,
        clock: Clock = FINE,
    ) -> None:
        self.pool = PostgresPool(dsn, name, settings, clock)
        self._lasting = snapshots or SnapshotSettings()
        own = self.pool.settings
        # Who asks for one gives up in time by himself: see `open_snapshot`.
        most = self._lasting.connections
        bound = replace(own, connections=most, kept=0, patience=1.0, hurried=1.0)
        self.snapshots = PostgresPool(dsn, f"{name} snapshots", bound, clock)
        self._outbox = outbox
        self._clock = clock

    def transaction(self, deadline: float) -> "_Opening":
        """Open a transaction that must be over by `deadline`; leaving the block commits it."""
        return _Opening(self.pool, deadline, self._clock, self._outbox)

    async def snapshot(self, deadline: float) -> PostgresSnapshot:
        """Open a snapshot; see the port."""
        return await open_snapshot(self.snapshots, deadline, self._lasting.total, self._clock)

    async def probe(self, deadline: float) -> None:
        """Ask the server for the least it can answer. Raises a Fault where it cannot."""
        async with self.transaction(deadline) as tx:
            await tx.fetch_one(int, "SELECT 1")

    def trouble(self) -> str:
        """Say what is wrong with a server that answers: its disk was full just now."""
        return self.pool.trouble()

    async def close(self) -> None:
        """Close the connections."""
        await self.snapshots.close()
        await self.pool.close()

    def statistics(self) -> dict[str, float]:
        """Return the pool's figures."""
        return self.pool.statistics()


class _Opening:
    """The block of one transaction. A class, not a generator: half the cost, the same order."""

    __slots__ = ("_clock", "_connection", "_deadline", "_outbox", "_pool", "_tx")

    def __init__(
        self, pool: PostgresPool, deadline: float, clock: Clock, outbox: Outbox | None
    ) -> None:
        self._pool = pool
        self._deadline = deadline
        self._clock = clock
        self._outbox = outbox
        self._connection: Any = None
        self._tx: PostgresTransaction | None = None

    async def __aenter__(self) -> PostgresTransaction:
        connection = self._connection = await self._pool.take(self._deadline)
        tx = PostgresTransaction(connection, self._deadline, self._clock, self._outbox)
        try:
            left = tx.remaining()
            limit = max(1, int((left - min(MARGIN, left / 10)) * 1000))
            await connection.execute(
                f"BEGIN; SET LOCAL statement_timeout = {limit};"
                f" SET LOCAL {whole(connection)} = {limit + GRACE}",
                timeout=left,
            )
        except BaseException as error:
            self._pool.end(connection, error)
            fault = translate(error)
            if fault is None or fault is error:
                raise
            raise fault from error
        self._tx = tx
        return tx

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tx, connection = self._tx, self._connection
        if tx is None:
            return
        tx.over = True
        if error is not None:
            self._pool.end(connection, tx.broken)
            return
        try:
            await tx.flush()
        except BaseException as failure:
            self._pool.end(connection, failure)
            fault = tx.refused(failure)
            if fault is None or fault is failure:
                raise
            raise fault from failure
        try:
            await connection.execute(COMMIT, timeout=tx.remaining())
        except BaseException as failure:
            self._pool.end(connection, failure)
            fault = tx.refused(failure, committing=True)
            if fault is None or fault is failure:
                raise
            raise fault from failure
        tx.announce()
        await self._pool.give(connection)
