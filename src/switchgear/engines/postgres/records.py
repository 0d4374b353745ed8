"""The records port on PostgreSQL: a row per outcome, and a lock of the transaction on its scope."""

from typing import Final

import asyncpg
import msgspec

from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.records import Record
from switchgear.ports.tables import Transaction

__all__ = ["PostgresRecords"]

# A lock of the transaction ends with it, or with its connection. It is taken by a statement of its
# own: one that also looked would look as of before it had the lock, when the one that had it had
# not yet committed what it did.
TRY: Final = "SELECT pg_try_advisory_xact_lock($1)"
WAIT: Final = "SELECT pg_advisory_xact_lock($1)"

# $1 scope, $2 seconds
FIND: Final = """
SELECT fingerprint, status, headers, body FROM switchgear.idempotency
WHERE scope = $1 AND kept_at > now() - make_interval(secs => $2)
"""

# What stands there already has expired, or `find` would have found it.
KEEP: Final = """
INSERT INTO switchgear.idempotency (scope, fingerprint, status, headers, body)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    headers = excluded.headers, body = excluded.body, kept_at = excluded.kept_at
"""

# $1 seconds, $2 how many at most. Several processes do this: they let each other pass.
FORGET: Final = """
DELETE FROM switchgear.idempotency WHERE scope IN (
    SELECT scope FROM switchgear.idempotency
    WHERE kept_at <= now() - make_interval(secs => $1)
    ORDER BY kept_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""

_AGAIN: Final = 0.25  # seconds that who comes second is asked to wait: it may be a rollback
_headers_of: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


class _Row(msgspec.Struct):
    fingerprint: bytes
    status: int
    headers: str
    body: bytes | None


class PostgresRecords:
    """Outcomes of the last `keep` seconds, in the database that the effects are in."""

    def __init__(self, keep: float) -> None:
        self._keep = keep

    async def find(self, tx: Transaction, scope: bytes, *, wait: bool = False) -> Record | None:
        """Return what was recorded, or take the scope for `tx` where nothing was."""
        lock = int.from_bytes(scope[:8], "big", signed=True)
        ours = True
        if wait:
            await tx.execute(WAIT, lock)
        else:
            ours = await tx.fetch_one(bool, TRY, lock)
        row = await tx.fetch_first(_Row, FIND, scope, self._keep)
        if row is not None:  # whoever else looks at it just now
            return Record(row.fingerprint, row.status, _headers_of(row.headers), row.body)
        if not ours:
            raise Fault(
                Code.ABORTED,
                "another request with this idempotency key is under way",
                effect=Effect.NONE,
                retry_after=_AGAIN,
                public="A request with this idempotency key is under way; try again in a moment.",
            )
        return None

    async def keep(self, tx: Transaction, scope: bytes, record: Record) -> None:
        """Record an outcome where `find` found none."""
        headers = msgspec.json.encode(record.headers).decode()
        row = (scope, record.fingerprint, record.status, headers, record.body)
        try:
            await tx.execute(KEEP, *row)
        except asyncpg.InFailedSQLTransactionError:
            pass  # a statement before it failed: nothing will commit, and the commit says why

    async def forget(self, tx: Transaction, most: int) -> int:
        """Remove up to `most` that have expired; return how many those were."""
        return await tx.execute(FORGET, self._keep, most)
