"""A snapshot: a transaction that only reads, and lasts for as long as an answer streams."""

import asyncio
from typing import Any, Final

import asyncpg

from switchgear.core.clock import Clock
from switchgear.engines.postgres.faults import ORIGIN, translate
from switchgear.engines.postgres.pool import PostgresPool
from switchgear.engines.postgres.session import GRACE, PostgresSession, whole
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["PostgresSnapshot", "open_snapshot"]

_SOON: Final = 0.001  # seconds: no timer is set for less


class PostgresSnapshot(PostgresSession):
    """A snapshot as the port describes it: on a connection of `pool`, which gets it back.

    Nobody waits for the end of it: it is ended by a callback, of the answer's end or of its time.
    """

    def __init__(
        self, connection: Any, deadline: float, until: float, pool: PostgresPool, clock: Clock
    ) -> None:
        super().__init__(connection, deadline, clock)
        self._pool = pool
        self._until = until
        self._late = ""
        self._narrow = True  # whether the server still holds it to the call's deadline
        self._alarm: asyncio.TimerHandle | None = None

    def outlive(self) -> None:
        """Let it go on until its own time is over."""
        if self.over:
            return
        self._deadline = self._until
        left = max(_SOON, self._until - self._clock())
        self._alarm = asyncio.get_running_loop().call_later(left, self._expire)

    def end(self) -> None:
        """Give the connection back."""
        if self.over:
            return
        self.over = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._pool.end(self.connection, self.broken)

    def ended(self) -> Exception:
        """Make the error of a statement that comes too late."""
        if self._late:
            return Fault(Code.DEADLINE_EXCEEDED, self._late, effect=Effect.NONE, origin=ORIGIN)
        return RuntimeError(
            "a statement of a snapshot after the end of its answer: return what uses it as the"
            " body of a StreamResponse"
        )

    async def run(self, method: Any, sql: str, arguments: tuple[object, ...]) -> Any:
        """Have one statement executed by a method of the connection's.

        Raises RuntimeError for one that writes: the server's own word for that is what a standby
        says, too, where to ask again would help.
        """
        if self._narrow and self._alarm is not None:
            self._narrow = False
            limit = int(self.remaining() * 1000) + 1
            await super().run(self.connection.execute, f"SET LOCAL statement_timeout = {limit}", ())
        try:
            return await super().run(method, sql, arguments)
        except Fault as fault:
            if isinstance(fault.__cause__, asyncpg.ReadOnlySQLTransactionError):
                words = f"{' '.join(sql.split())[:60]!r} writes, and a snapshot is only read from"
                raise RuntimeError(words) from fault.__cause__
            raise

    def _expire(self) -> None:
        self._late = (
            "postgres: a snapshot was open for as long as one may be (database.snapshots.total)"
        )
        self.end()


async def open_snapshot(
    pool: PostgresPool, deadline: float, total: float, clock: Clock
) -> PostgresSnapshot:
    """Open a snapshot that its caller must end.

    Raises a Fault of effect NONE where there is none to be had in half of the time to `deadline`:
    to be refused because others stream is no failure, and to be late would be one.
    """
    now = clock()
    connection = await pool.take(now + (deadline - now) / 2)
    snapshot = PostgresSnapshot(connection, deadline, clock() + total, pool, clock)
    try:
        left = snapshot.remaining()
        limit = int(left * 1000) + 1
        await connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
            f" SET LOCAL statement_timeout = {limit};"
            f" SET LOCAL {whole(connection)} = {int(total * 1000) + GRACE}",
            timeout=left,
        )
    except BaseException as error:
        snapshot.broken = error
        snapshot.end()
        fault = translate(error)
        if fault is None or fault is error:
            raise
        raise fault from error
    return snapshot
