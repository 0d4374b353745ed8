"""The tables port: transactions that end by a deadline, and rows as typed values."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

__all__ = ["Tables", "Transaction"]

T = TypeVar("T")


class Transaction(Protocol):
    """One open transaction. What it did takes effect when its block ends, or not at all.

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

    async def execute(self, sql: str, /, *arguments: object) -> int:
        """Execute a statement and return how many rows it touched."""
        ...

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

    async def probe(self, deadline: float) -> None:
        """Ask the server for the least it can answer. Raises a Fault where it cannot."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...
