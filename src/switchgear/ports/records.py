"""The records port: what came of a request that bore an idempotency key, kept with its effect."""

from typing import Protocol

import msgspec

from switchgear.ports.tables import Transaction

__all__ = ["Record", "Records"]


class Record(msgspec.Struct, frozen=True):
    """An outcome: the `fingerprint` of what was asked, and what was answered.

    `body` is None where it was too large to be kept.
    """

    fingerprint: bytes
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


class Records(Protocol):
    """Outcomes by scope: a digest of whose key it is, for which route. They expire by themselves.

    Who has found a scope empty has it to the end of the transaction, and no other transaction can
    find it meanwhile; it is free as soon as the transaction ends, or its process dies.
    """

    async def find(self, tx: Transaction, scope: bytes, *, wait: bool = False) -> Record | None:
        """Return what was recorded, or take the scope for `tx` where nothing was.

        Raises a Fault (aborted) while another transaction has it, and has recorded nothing yet; to
        `wait` is to wait for that one to end.
        """
        ...

    async def keep(self, tx: Transaction, scope: bytes, record: Record) -> None:
        """Record an outcome where `find` found none; it commits with what else `tx` has done."""
        ...

    async def forget(self, tx: Transaction, most: int) -> int:
        """Remove up to `most` that have expired; return how many those were."""
        ...
