"""One leased message: what a handler is given, and what is settled."""

from math import inf
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from switchgear.core.clock import Clock
from switchgear.core.drivers import Work
from switchgear.core.outcome import Outcome
from switchgear.engines.postgres.faults import ORIGIN
from switchgear.engines.postgres.queue.sql import CLAIM
from switchgear.lane.envelope import trace_of
from switchgear.lane.settlement import Bury, Finish, Settlement
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import Message, Reading, Received
from switchgear.ports.tables import Transaction

__all__ = ["EXPIRED", "Committed", "Leased", "QueueDelivery"]


EXPIRED: Final = Bury("expired", "its time was over before it was taken")


class Leased(msgspec.Struct, frozen=True):
    """A leased row: its number, the message, its record, and the seconds `left` to it, if bound."""

    id: int
    message: Message
    attempts: int
    deaths: int
    left: float | None

    @classmethod
    def of(cls, row: asyncpg.Record) -> "Leased":
        message = Message(
            id=str(row["message"]),
            topic=row["topic"],
            body=row["body"],
            key=row["key"],
            trace=trace_of(row["headers"]),
            published_at=row["published"],
        )
        return cls(row["id"], message, row["attempts"], row["deaths"], row["left"])


class Committed(msgspec.Struct, frozen=True):
    """It ended in its effect's transaction. Were its row still there, nothing of it was done."""


class Settler(Protocol):
    """The intake that a delivery came from."""

    reading: Reading
    clock: Clock

    def decide(self, delivery: "QueueDelivery", outcome: Outcome[Any]) -> Settlement: ...

    def settled(self, delivery: "QueueDelivery", settlement: Settlement | Committed) -> None: ...


class QueueDelivery:
    """A message under the lease of `holder`; it is both the delivery and what is received."""

    __slots__ = (
        "_call", "_claimed", "_expires", "_intake", "_lost", "_settled", "_work", "expired",
        "holder", "leased",
    )  # fmt: skip

    def __init__(self, leased: Leased, holder: int, intake: Settler) -> None:
        self.leased = leased
        self.holder = holder
        self._intake = intake
        self._work: Work | None = None
        self._lost = False
        self._claimed = False
        self._settled = False
        self._expires = inf if leased.left is None else intake.clock() + leased.left
        self.expired = leased.left is not None and leased.left <= 0
        self._call = self._made()

    @property
    def message(self) -> Message:
        return self.leased.message

    @property
    def call(self) -> Call[Received]:
        """The call; its deadline counts from `begin`, not from the wait for a lane."""
        return self._call

    def begin(self, work: Work) -> None:
        """Note whom to call off when the lease is lost, and start the deadline.

        Raises a Fault (deadline_exceeded) where its time ran out while it waited for a lane.
        """
        self.expired = self._intake.clock() >= self._expires
        if self.expired:
            raise Fault(Code.DEADLINE_EXCEEDED, EXPIRED.cause, effect=Effect.NONE, origin=ORIGIN)
        self._work = work
        self._call = self._made()
        if self._lost:
            work.cancel()

    def lose(self) -> None:
        """Call the work off: the lease is lost, or nobody can say that it is not."""
        self._lost = True
        if self._work is not None and not self._settled:
            self._work.cancel()

    async def claim(self, tx: Transaction) -> bool:
        """Complete the message within `tx`; False when its effect was committed before.

        Raises a Fault (aborted) when the lease is lost.
        """
        self._claimed = True
        leased, consumer = self.leased, self._intake.reading.consumer
        row = await tx.fetch_one(dict, CLAIM, leased.id, self.holder, consumer, self.message.id)
        if not row["ours"]:
            raise Fault(
                Code.ABORTED,
                f"the lease of message {self.message.id} on {self.message.topic!r} is lost",
                effect=Effect.NONE,
                origin=ORIGIN,
            )
        return bool(row["noted"])

    async def settle(self, outcome: Outcome[None]) -> None:
        """Decide what becomes of the message and have it written with the next statement.

        Raises RuntimeError the second time.
        """
        if self._settled:
            raise RuntimeError(f"message {self.message.id} was settled before")
        self._settled = True
        self._work = None
        settlement = EXPIRED if self.expired else self._intake.decide(self, outcome)
        ended = self._claimed and isinstance(settlement, Finish)
        self._intake.settled(self, Committed() if ended else settlement)

    def _made(self) -> Call[Received]:
        message, intake = self.leased.message, self._intake
        return Call(
            self,
            intake.clock() + intake.reading.deadline,
            attempt=self.leased.attempts + 1,
            key=message.key,
            trace=message.trace,
        )
