"""One transaction on one connection: what it publishes, and an honest end."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol
from uuid import uuid4

import asyncpg
import msgspec

from switchgear.binding.finite import unfinite
from switchgear.binding.models import model_data
from switchgear.core.ambient import current
from switchgear.core.clock import Clock
from switchgear.engines.postgres.faults import ORIGIN, translate
from switchgear.engines.postgres.session import PostgresSession, kept
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import Message, check_topic

__all__ = ["Outbox", "PostgresTransaction"]

FARTHEST: Final = 3.2e9  # seconds: a century, which the server's time can hold


class Outbox(Protocol):
    """Where published messages go: written in the transaction, announced after its commit."""

    async def write(self, connection: Any, messages: Sequence[Message], timeout: float) -> None: ...

    def committed(self, topics: Iterable[str]) -> None: ...


class PostgresTransaction(PostgresSession):
    """A transaction as the port describes it.

    Messages are kept until the commit and then written by one statement. A statement that failed
    breaks the transaction: it cannot commit any more, even if the handler went on. Nothing can be
    done with it once its block is left, however long a task of the handler's goes on.
    """

    def __init__(
        self, connection: Any, deadline: float, clock: Clock, outbox: Outbox | None
    ) -> None:
        super().__init__(connection, deadline, clock)
        self._outbox = outbox
        self._messages: list[Message] = []

    @kept
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
        if self.over:
            raise RuntimeError(
                f"published to {topic!r} after the transaction's end: await in its block whatever"
                " uses it"
            )
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

    async def flush(self) -> None:
        """Write what was published; the caller commits next."""
        if isinstance(self.broken, RuntimeError):
            raise self.broken  # ours: a defect of the handler's, which has passed it over
        if self.broken is not None:
            raise _uncommittable(self.broken)
        for one in self.unawaited():
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


def _uncommittable(error: BaseException) -> Fault:
    fault = Fault(
        Code.FAILED_PRECONDITION,
        f"the transaction cannot commit: a statement in it failed ({error})",
        effect=Effect.NONE,
        origin=ORIGIN,
    )
    fault.__cause__ = error
    return fault
