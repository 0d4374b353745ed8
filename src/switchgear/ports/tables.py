"""The tables port: transactions that end by a deadline, and rows as typed values."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

__all__ = ["OpenSnapshot", "Snapshot", "Tables", "Transaction"]

T = TypeVar("T")


class Snapshot(Protocol):
    """What the database held at one instant, to be read from while an answer streams.

    `kind` says what a row becomes: a msgspec Struct, a dataclass, a class of attrs, a pydantic
    model or a `dict` by the columns' names; any other type by the first column. Every method
    raises a Fault of effect NONE.
    """

    async def fetch_all(self, kind: type[T], sql: str, /, *arguments: object) -> list[T]:
        """Return every row."""
        ...

    async def fetch_first(self, kind: type[T], sql: str, /, *arguments: object) -> T | None:
        """Return the first row, or None where there is none."""
        ...

    async def fetch_one(self, kind: type[T], sql: str, /, *arguments: object) -> T:
        """Return the first row. Raises a Fault (not_found) where there is none."""
        ...

    def rows(
        self, kind: type[T], sql: str, /, *arguments: object, batch: int = 64
    ) -> AsyncIterator[T]:
        """Return the rows one after the other, as they are taken: `batch` are held at a time."""
        ...

    async def execute(self, sql: str, /, *arguments: object) -> int:
        """Execute a statement and return how many rows it touched. A snapshot lets none write."""
        ...


class OpenSnapshot(Snapshot, Protocol):
    """A snapshot as whoever has opened it holds it. It ends by itself, at the latest in its time.

    Until it is told to `outlive` the call, that is the deadline of the call.
    """

    def outlive(self) -> None:
        """Let it go on while the answer streams, for as long as such a one may."""
        ...

    def end(self) -> None:
        """Let go of it, whatever is under way; once more is no error."""
        ...


class Transaction(Snapshot, Protocol):
    """One open transaction. What it did takes effect when its block ends, or not at all.

    It reads as a `Snapshot` does, but what others have committed meanwhile.
    """

    async def publish(
        self,
        topic: str,
        value: object,
        *,
        key: str = "",
        delay: float = 0.0,
        expires: float | None = None,
    ) -> str:
        """Publish a message if, and only if, this transaction commits; return the message's id.

        A process handles messages of one `key` one after another; several processes do where
        the broker has the trait KEY_ORDER. It is delivered `delay` seconds from now at the
        earliest, and not executed any more after `expires` seconds.
        """
        ...


class Tables(Protocol):
    """A database that commits."""

    def transaction(self, deadline: float) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that must be over by the instant `deadline`.

        Leaving the block commits; an exception rolls back. Raises a Fault whose effect is NONE
        wherever it surely did not commit, and UNKNOWN where the connection broke while it did.
        """
        ...

    async def snapshot(self, deadline: float) -> OpenSnapshot:
        """Open a snapshot. Raises a Fault of effect NONE where none is to be had in time.

        How many are open at a time is bounded apart from transactions: none of those waits for who
        takes a long answer slowly.
        """
        ...

    async def probe(self, deadline: float) -> None:
        """Ask the server for the least it can answer. Raises a Fault where it cannot."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...
