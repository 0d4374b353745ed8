"""A session: the statements of one transaction, one after the other, typed rows, a deadline."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import asyncpg

from switchgear.core.clock import Clock
from switchgear.core.invocation import mark
from switchgear.engines.postgres.faults import ORIGIN, translate
from switchgear.engines.postgres.rows import reader
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["GRACE", "PostgresSession", "kept", "whole"]

P = ParamSpec("P")
T = TypeVar("T")

# A process that hangs or was stopped keeps its locks no longer than its call had time (ms).
GRACE: Final = 1000
LONGEST: Final = 86400.0  # seconds: what a timer and the server's milliseconds can hold
_FEW: Final = 8  # calls that are kept although they were awaited
# Nothing but blanks, comments and semicolons; a statement that begins otherwise is not looked at.
_EMPTY: Final = re.compile(r"(?>\s++|;|--[^\n]*+|/\*(?>[^*]|\*(?!/))*+\*/)*+")
_ITS_BEGIN: Final = ("", ";", "-", "/")


def kept(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Keep what a method was asked until it is awaited: what never is must not be committed."""

    @wraps(method)
    def ask(*arguments: P.args, **options: P.kwargs) -> Coroutine[Any, Any, T]:
        asked = method(*arguments, **options)
        cast("PostgresSession", arguments[0]).keep(asked)
        return asked

    return cast("Callable[P, Coroutine[Any, Any, T]]", mark(ask))


class PostgresSession:
    """What a connection is asked within one transaction, by a deadline.

    A statement that failed breaks it: `broken` is what it said. What we refused ourselves breaks it
    for good, whatever the server says after that, for it knows nothing of it. Nothing can be asked
    any more once it is `over`.
    """

    def __init__(self, connection: Any, deadline: float, clock: Clock) -> None:
        self.connection = connection
        self.broken: BaseException | None = None
        self.over = False
        self._deadline = deadline
        self._clock = clock
        self._running = False
        self._asked: list[Any] = []  # coroutines
        self._sift_at = _FEW

    @kept
    async def fetch_all(self, kind: type[T], sql: str, /, *arguments: object) -> list[T]:
        """Return every row as a `kind`."""
        read = reader(kind)
        return list(map(read, await self.run(self.connection.fetch, sql, arguments)))

    @kept
    async def fetch_first(self, kind: type[T], sql: str, /, *arguments: object) -> T | None:
        """Return the first row as a `kind`, or None."""
        read = reader(kind)
        row = await self.run(self.connection.fetchrow, sql, arguments)
        return None if row is None else read(row)

    @kept
    async def fetch_one(self, kind: type[T], sql: str, /, *arguments: object) -> T:
        """Return the first row as a `kind`. Raises a Fault (not_found) where there is none."""
        read = reader(kind)
        row = await self.run(self.connection.fetchrow, sql, arguments)
        if row is None:
            detail = f"postgres: no row for {' '.join(sql.split())[:200]!r}"
            raise Fault(Code.NOT_FOUND, detail, effect=Effect.NONE, origin=ORIGIN)
        return read(row)

    @kept
    async def execute(self, sql: str, /, *arguments: object) -> int:
        """Execute a statement and return how many rows it touched."""
        told: str = await self.run(self.connection.execute, sql, arguments)
        count = told.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    def rows(self, kind: type[T], sql: str, /, *arguments: object, batch: int = 64) -> "Rows[T]":
        """Return the rows as they are asked for, of which `batch` are held at a time."""
        if batch < 1:
            raise ValueError(f"batch={batch}: at least one row is fetched at a time")
        return Rows(self, reader(kind), sql, arguments, batch)

    def keep(self, asked: Coroutine[Any, Any, Any]) -> None:
        """Keep a call of a method that nobody has awaited yet."""
        self._asked.append(asked)
        if len(self._asked) > self._sift_at:  # seldom: a list of calls may be awaited behind all
            self._asked = self.unawaited()
            self._sift_at = _FEW + 2 * len(self._asked)

    def unawaited(self) -> list[Any]:
        return [one for one in self._asked if getcoroutinestate(one) == CORO_CREATED]

    def remaining(self) -> float:
        """Return the seconds left. Raises a Fault (deadline_exceeded) when there are none."""
        left = self._deadline - self._clock()
        if left <= 0:
            detail = "postgres: the deadline passed before the statement was sent"
            raise Fault(Code.DEADLINE_EXCEEDED, detail, effect=Effect.NONE, origin=ORIGIN)
        return min(left, LONGEST)

    def ended(self) -> Exception:
        """Make the error of a statement that comes too late."""
        return RuntimeError(
            "a statement after the transaction's end: await in its block whatever uses it"
        )

    async def run(self, method: Any, sql: str, arguments: tuple[object, ...]) -> Any:
        """Have one statement executed by a method of the connection's."""
        if self.over:
            raise self.ended()
        if not isinstance(sql, str):
            first = "" if method == self.connection.execute else ", behind the type of a row"
            raise TypeError(f"a statement is a text{first}, and {sql!r:.60} is none")
        if sql.lstrip()[:1] in _ITS_BEGIN and _EMPTY.fullmatch(sql):
            raise ValueError(f"there is no statement in {sql[:60]!r}")
        left = self.remaining()
        if self._running:
            self.broken = RuntimeError(
                f"{' '.join(sql.split())[:60]!r} came while another statement was under way: one"
                " transaction is one connection; await one after the other, not in asyncio.gather"
            )
            raise self.broken
        self._running = True
        try:
            result = await method(sql, *arguments, timeout=left)
        except Exception as error:
            later = isinstance(error, asyncpg.InFailedSQLTransactionError)
            ours = isinstance(self.broken, RuntimeError)
            if self.broken is None or not (later or ours):  # what broke it is told, and no other
                self.broken = error
            fault = translate(error)
            if fault is None or fault is error:
                raise
            raise fault from error
        finally:
            self._running = False
        if not isinstance(self.broken, RuntimeError):  # ours, of which the server knows nothing
            self.broken = None  # only ROLLBACK TO succeeds in a broken one: it is whole again
        if not self.connection.is_in_transaction():
            # What came next would be committed at once, and by itself.
            self.broken = RuntimeError(
                f"{' '.join(sql.split())[:60]!r} ended the transaction that it ran in:"
                " to leave its block is what commits it, and an error what rolls it back"
            )
            raise self.broken
        return result


def whole(connection: Any) -> str:
    """Return the setting that ends a transaction whose process hangs or was stopped.

    Before version 17 there is only the one for an idle session; a process that is stopped between
    a statement's parsing and its execution does not count as idle, and keeps its locks.
    """
    modern = connection.get_server_version().major >= 17
    return "transaction_timeout" if modern else "idle_in_transaction_session_timeout"


class Rows(Generic[T]):
    """The rows of one statement, fetched by a cursor as they are taken.

    It is no generator: one that is left amid its rows would be closed whenever it is found, by a
    task of the loop's, and this holds nothing that is not the session's.
    """

    def __init__(
        self,
        session: PostgresSession,
        read: Callable[[asyncpg.Record], T],
        sql: str,
        arguments: tuple[object, ...],
        batch: int,
    ) -> None:
        self._session = session
        self._read = read
        self._sql = sql
        self._arguments = arguments
        self._batch = batch
        self._cursor: Any = None
        self._held: Iterator[asyncpg.Record] = iter(())
        self._last = False  # whether no batch follows

    def __aiter__(self) -> "Rows[T]":
        return self

    async def __anext__(self) -> T:
        for row in self._held:
            return self._read(row)
        if self._last:
            raise StopAsyncIteration
        found = await self._session.run(self._fetch, self._sql, self._arguments)
        self._last = len(found) < self._batch
        self._held = iter(found)
        return await anext(self)

    async def _fetch(self, sql: str, *arguments: object, timeout: float) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = []
        async with asyncio.timeout(timeout):
            if self._cursor is None:
                asked = self._session.connection.cursor(sql, *arguments, prefetch=self._batch)
                self._cursor = aiter(asked)
            async for row in self._cursor:
                found.append(row)
                if len(found) == self._batch:
                    break
        return found
