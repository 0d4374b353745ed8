"""One transaction on one connection: typed rows, a deadline that reaches SQL, an honest end."""

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast
from uuid import uuid4

import asyncpg
import msgspec

from switchgear.binding.finite import unfinite
from switchgear.binding.models import model_data
from switchgear.core.ambient import current
from switchgear.core.clock import Clock
from switchgear.core.invocation import mark
from switchgear.engines.postgres.faults import ORIGIN, translate
from switchgear.engines.postgres.rows import reader
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import Message, check_topic

__all__ = ["Outbox", "PostgresTransaction"]

P = ParamSpec("P")
T = TypeVar("T")

LONGEST: Final = 86400.0  # seconds: what a timer and the server's milliseconds can hold
FARTHEST: Final = 3.2e9  # seconds: a century, which the server's time can hold
_FEW: Final = 8  # calls that are kept although they were awaited
_TOO_LATE: Final = "await in its block whatever uses it"
# Nothing but blanks, comments and semicolons; a statement that begins otherwise is not looked at.
_EMPTY: Final = re.compile(r"(?>\s++|;|--[^\n]*+|/\*(?>[^*]|\*(?!/))*+\*/)*+")
_ITS_BEGIN: Final = ("", ";", "-", "/")


class Outbox(Protocol):
    """Where published messages go: written in the transaction, announced after its commit."""

    async def write(self, connection: Any, messages: Sequence[Message], timeout: float) -> None: ...

    def committed(self, topics: Iterable[str]) -> None: ...


def _kept(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Keep what a method was asked until it is awaited: what never is must not be committed."""

    @wraps(method)
    def ask(*arguments: P.args, **options: P.kwargs) -> Coroutine[Any, Any, T]:
        asked = method(*arguments, **options)
        cast("PostgresTransaction", arguments[0]).keep(asked)
        return asked

    return cast("Callable[P, Coroutine[Any, Any, T]]", mark(ask))


class PostgresTransaction:
    """A transaction as the port describes it.

    Messages are kept until the commit and then written by one statement. A statement that failed
    breaks the transaction: it cannot commit any more, even if the handler went on; `broken` is what
    it said. Nothing can be done with it once its block is left, however long a task of the
    handler's goes on.
    """

    def __init__(
        self, connection: Any, deadline: float, clock: Clock, outbox: Outbox | None
    ) -> None:
        self.connection = connection
        self._deadline = deadline
        self._clock = clock
        self._outbox = outbox
        self._messages: list[Message] = []
        self.broken: BaseException | None = None
        self._over = False
        self._running = False
        self._asked: list[Any] = []  # coroutines
        self._sift_at = _FEW

    @_kept
    async def fetch_all(self, kind: type[T], sql: str, /, *arguments: object) -> list[T]:
        """Return every row as a `kind`."""
        read = reader(kind)
        return list(map(read, await self._run(self.connection.fetch, sql, arguments)))

    @_kept
    async def fetch_first(self, kind: type[T], sql: str, /, *arguments: object) -> T | None:
        """Return the first row as a `kind`, or None."""
        read = reader(kind)
        row = await self._run(self.connection.fetchrow, sql, arguments)
        return None if row is None else read(row)

    @_kept
    async def fetch_one(self, kind: type[T], sql: str, /, *arguments: object) -> T:
        """Return the first row as a `kind`. Raises a Fault (not_found) where there is none."""
        read = reader(kind)
        row = await self._run(self.connection.fetchrow, sql, arguments)
        if row is None:
            detail = f"postgres: no row for {' '.join(sql.split())[:200]!r}"
            raise Fault(Code.NOT_FOUND, detail, effect=Effect.NONE, origin=ORIGIN)
        return read(row)

    @_kept
    async def execute(self, sql: str, /, *arguments: object) -> int:
        """Execute a statement and return how many rows it touched."""
        told: str = await self._run(self.connection.execute, sql, arguments)
        count = told.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    @_kept
    async def publish(
        self,
        topic: str,
        value: object,
        *,
        key: str = "",
        delay: float = 0.0,
        expires: float | None = None,
    ) -> str:
        """Publish `value` as JSON when this transaction commits; return the message's id.

        Raises TypeError for what no JSON is known for.
        """
        if self._outbox is None:
            raise RuntimeError("these tables have no queue to publish to")
        if self._over:
            raise RuntimeError(f"published to {topic!r} after the transaction's end: {_TOO_LATE}")
        check_topic(topic)
        if not isinstance(key, str):  # told here, by its name: the driver numbers it
            raise TypeError(f"publish to {topic!r}: key={key!r} is no text")
        for name, seconds in (("delay", delay), ("expires", expires or 0.0)):
            if not isinstance(seconds, (int, float)):
                raise TypeError(f"publish to {topic!r}: {name}={seconds!r} is no number of seconds")
            if not abs(seconds) <= FARTHEST:
                raise ValueError(f"publish to {topic!r}: {name}={seconds} is no span of seconds")
        body = msgspec.json.encode(value, enc_hook=model_data)
        if found := unfinite(value, body):
            raise TypeError(f"publish to {topic!r}: what cannot be JSON: {found}")
        call = current()
        message = Message(
            id=str(uuid4()),
            topic=topic,
            body=body,
            key=key,
            trace=None if call is None else call.trace,
            delay=delay,
            expires=expires,
        )
        self._messages.append(message)
        return message.id

    def keep(self, asked: Coroutine[Any, Any, Any]) -> None:
        """Keep a call of a method that nobody has awaited yet."""
        self._asked.append(asked)
        if len(self._asked) > self._sift_at:  # seldom: a list of calls may be awaited behind all
            self._asked = self._unawaited()
            self._sift_at = _FEW + 2 * len(self._asked)

    def _unawaited(self) -> list[Any]:
        return [one for one in self._asked if getcoroutinestate(one) == CORO_CREATED]

    def end(self) -> None:
        """Let nothing more be done in it: its block is left."""
        self._over = True

    async def flush(self) -> None:
        """Write what was published; the caller commits next."""
        if self.broken is not None:
            raise _uncommittable(self.broken)
        for one in self._unawaited():
            given = one.cr_frame.f_locals
            said = " ".join(str(given.get("sql", given.get("topic"))).split())[:60]
            raise RuntimeError(
                f"nothing was done of {said!r}, which was never awaited:"
                f" write `await tx.{one.__name__}(...)`"
            )
        if self._messages and self._outbox is not None:
            await self._outbox.write(self.connection, self._messages, self.remaining())

    def refused(self, error: BaseException, *, committing: bool = False) -> Fault | None:
        """Return the fault of an end that failed; None for a defect."""
        if isinstance(error, asyncpg.InFailedSQLTransactionError):
            return _uncommittable(error)
        return translate(error, committing=committing)

    def announce(self) -> None:
        """Tell the consumers of what was published; the caller has committed."""
        if self._messages and self._outbox is not None:
            self._outbox.committed({message.topic for message in self._messages})

    def remaining(self) -> float:
        """Return the seconds left. Raises a Fault (deadline_exceeded) when there are none."""
        left = self._deadline - self._clock()
        if left <= 0:
            detail = "postgres: the deadline passed before the statement was sent"
            raise Fault(Code.DEADLINE_EXCEEDED, detail, effect=Effect.NONE, origin=ORIGIN)
        return min(left, LONGEST)

    async def _run(self, method: Any, sql: str, arguments: tuple[object, ...]) -> Any:
        if self._over:
            raise RuntimeError(f"a statement after the transaction's end: {_TOO_LATE}")
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
            if self.broken is None or not later:  # what broke it is told, not what came after
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


def _uncommittable(error: BaseException) -> Fault:
    fault = Fault(
        Code.FAILED_PRECONDITION,
        f"the transaction cannot commit: a statement in it failed ({error})",
        effect=Effect.NONE,
        origin=ORIGIN,
    )
    fault.__cause__ = error
    return fault
