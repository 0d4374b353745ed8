"""The connections of one process to one server as one role.

asyncpg's pool, with four differences: a connection is opened in an empty Context (it outlives the
call that happened to need it), taking one is bounded by the deadline, whoever waits for one does so
in a line that can run out of patience, and there is no statement of the pool's own when one comes
back (what a transaction set is reset with its COMMIT).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import Any

import asyncpg
import msgspec

from switchgear.core.clock import FINE, Clock
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.faults import ORIGIN, denied, of_full_disk, translate
from switchgear.engines.postgres.line import Line
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.gate import Permit

__all__ = ["FULL_FOR", "PoolSettings", "PostgresPool"]

# One round trip ends a transaction and leaves nothing of it to the next: a `SET` by one request
# would otherwise be another tenant's.
RESET = (
    # RESET ALL leaves who one is as it is.
    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SELECT pg_advisory_unlock_all();"
    " CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES"
)

_MANY = 1 << 20  # may wait: as many as there are calls under way, which others bound

FULL_FOR = 30.0
"""Seconds for which a disk counts as full after it was: where nobody writes, nobody learns more."""


class PoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The connections of one process.

    Who finds all of them in use waits for one: for `patience`, a share of the time to the deadline,
    and once somebody has been waiting for `standing` seconds on end, for the `hurried` share of
    that. By default each waits for as long as there is time. `kept` of the connections are for
    routes that have not had their part.
    """

    connections: int = 10
    kept: int = 0
    patience: float = 1.0
    standing: float = 0.5
    hurried: float = 1.0
    connect_timeout: float = 3.0
    idle: float = 300.0
    """Seconds after which an unused connection is closed."""
    end_timeout: float = 2.0
    """Seconds for a transaction nobody waits for to be rolled back; then its connection goes."""

    @property
    def line(self) -> BulkheadSettings:
        """How one waits for a connection."""
        patience, standing, hurried = self.patience, self.standing, self.hurried
        return BulkheadSettings(self.connections, _MANY, patience, standing, hurried)


class PostgresPool:
    """Connections taken by a deadline and given back clean.

    `session` are settings of the server that every connection starts with.
    """

    def __init__(
        self,
        dsn: Dsn,
        name: str,
        settings: PoolSettings | None = None,
        clock: Clock = FINE,
        session: Mapping[str, str] | None = None,
    ) -> None:
        self.dsn = dsn
        self.clock = clock
        self.settings = settings or PoolSettings()
        self._session = {"application_name": name[:63], **(session or {})}
        self._pool: asyncpg.Pool[Any] | None = None
        self._line = Line(name, self.settings.line, self.settings.kept, clock)
        self._held: dict[Any, Permit] = {}  # by the connection that it is for
        self._full = ""
        self._full_at = 0.0
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, deadline: float) -> Any:
        """Return a connection that nobody else uses, opening one if none is free.

        Raises a Fault (unavailable) of effect NONE: the server cannot be reached, or, refused as
        full, every connection is in use for as long as one waits.
        """
        if self._closed:
            detail = "postgres: this process is closing its connections"
            raise Fault(Code.UNAVAILABLE, detail, effect=Effect.NONE, origin=ORIGIN)
        permit = await self._line.enter(deadline)
        try:
            connection = await self._acquire(deadline)
        except BaseException:
            self._line.leave(permit)
            raise
        self._held[connection] = permit
        return connection

    async def _acquire(self, deadline: float) -> Any:
        """Return one of the connections: there is one, or room to open one."""
        pool = self._pool or await self._open()
        try:
            async with asyncio.timeout(None if deadline == inf else self._left(deadline)):
                return await pool.acquire()
        except TimeoutError as error:
            raise self._unreached() from error
        except asyncpg.PostgresError as error:
            # Whatever a server says to one who is not yet let in is no word on the caller's work:
            # "permission denied" is not the client's, and what is unknown is no statement's defect.
            raise self._unopened(error) from error
        except Exception as error:
            fault = translate(error)
            if fault is None:
                raise
            raise fault from error

    async def give(self, connection: Any) -> None:
        """Take a connection back that is clean, or closed."""
        permit = self._held.pop(connection, None)
        try:
            if self._pool is not None:
                await self._pool.release(connection)
        finally:
            if permit is not None:
                self._line.leave(permit)

    def end(self, connection: Any, error: BaseException | None = None) -> None:
        """Roll back and take back a connection in the background: its caller waits no more.

        `error` is what the server said to its caller, if anything.
        """
        if full := of_full_disk(error):
            self._full, self._full_at = full, self.clock()
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._end(connection), context=Context())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def fetch(self, sql: str, *arguments: object, deadline: float) -> list[asyncpg.Record]:
        """Execute one statement as a transaction of its own and return its rows.

        Raises a Fault whose effect is UNKNOWN where the connection broke while it ran.
        """
        connection = await self.take(deadline)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(
                sql, *arguments, timeout=max(0.001, min(deadline - self.clock(), 86400.0))
            )
        except BaseException as error:
            self.end(connection, error)
            fault = translate(error, committing=True) or denied(error)
            if fault is None or fault is error:
                raise
            raise fault from error
        await self.give(connection)
        return rows

    def trouble(self) -> str:
        """Say that the server's disk is full, if it was lately: it says so only to who writes."""
        if self._full and self.clock() > self._full_at + FULL_FOR:
            self._full = ""
        return f"its disk is full: {self._full}" if self._full else ""

    async def close(self) -> None:
        """Close every connection, those in use when their users let go or time runs out."""
        self._closed = True
        if self._ending:
            await asyncio.wait(self._ending)
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(self.settings.end_timeout):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def statistics(self) -> dict[str, float]:
        """Return how many connections there are, are idle, and may be, and who waits for one."""
        pool = self._pool
        size, idle = (pool.get_size(), pool.get_idle_size()) if pool else (0, 0)
        waiting = self._line.waiting
        return {"size": size, "idle": idle, "limit": self.settings.connections, "waiting": waiting}

    async def _open(self) -> "asyncpg.Pool[Any]":
        # Without a first connection there is nothing to wait for, and nothing that can fail.
        self._pool = await asyncpg.create_pool(
            **self.dsn.arguments(),
            min_size=0,
            max_size=self.settings.connections,
            max_queries=0x7FFFFFFF,
            max_inactive_connection_lifetime=self.settings.idle,
            connect=_connect,
            reset=_as_it_is,
            timeout=self.settings.connect_timeout,
            server_settings=self._session,
        )
        return self._pool

    async def _end(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(self.settings.end_timeout):
                await connection.execute(f"ROLLBACK; {RESET}")
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - broken: the server rolls back
            with suppress(asyncpg.InterfaceError):  # closed, and back in the pool already
                connection.terminate()
        await self.give(connection)

    def _unopened(self, error: asyncpg.PostgresError) -> Fault:
        detail = f"postgres: no connection to {self.dsn.place}: {error} ({error.sqlstate})"
        return Fault(Code.UNAVAILABLE, detail, effect=Effect.NONE, origin=ORIGIN)

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self.clock())

    def _unreached(self) -> Fault:
        detail = f"postgres: no connection to {self.dsn.place} could be opened before the deadline"
        return Fault(Code.UNAVAILABLE, detail, effect=Effect.NONE, origin=ORIGIN)


async def _as_it_is(_: Any) -> None:
    """Nothing: see RESET."""


async def _connect(*arguments: Any, **given: Any) -> Any:
    """Connect in an empty Context; a caller who leaves meanwhile leaves no connection behind."""
    opening = asyncio.get_running_loop().create_task(
        asyncpg.connect(*arguments, **given), context=Context()
    )
    try:
        return await opening
    except asyncio.CancelledError:
        opening.cancel()
        opening.add_done_callback(_dropped)
        raise


def _dropped(opening: "asyncio.Task[Any]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().terminate()
