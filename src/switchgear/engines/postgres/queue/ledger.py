"""The ledger: settlements that are decided and not yet written.

A settlement counts only if its row still names the holder that it was made under; the server checks
it in the same statement. One that is refused changes nothing and is counted as lost.
"""

from collections import Counter
from typing import Any

from switchgear.engines.postgres.pool import PostgresPool
from switchgear.engines.postgres.queue import sql
from switchgear.engines.postgres.queue.delivery import Committed, QueueDelivery
from switchgear.lane.settlement import Bury, Finish, Release, Retry, Settlement
from switchgear.policy.fault import Fault
from switchgear.ports.broker import Reading

__all__ = ["Ledger"]

Written = Settlement | Committed
Entry = tuple[QueueDelivery, Written]


class Ledger:
    """What is to be written for one intake, by kind of settlement."""

    def __init__(self, pool: PostgresPool, reading: Reading) -> None:
        self._pool = pool
        self._reading = reading
        self._entries: dict[QueueDelivery, Written] = {}
        self._counts: Counter[str] = Counter()
        self._fault: Fault | None = None

    def add(self, delivery: QueueDelivery, settlement: Written) -> None:
        self._entries[delivery] = settlement

    def note(self, fault: Fault) -> None:
        """Remember why the server could not be written to."""
        self._counts["faults"] += 1
        self._fault = fault

    def finished(self, holder: int) -> list[QueueDelivery]:
        """Return what `holder` has finished: the caller writes it, and tells by `wrote`."""
        return [
            delivery
            for delivery, settlement in self._entries.items()
            if delivery.holder == holder and isinstance(settlement, Finish)
        ]

    def wrote(self, finished: list[QueueDelivery], accepted: int) -> None:
        """Forget what was written; of it, `accepted` counted."""
        self._count("finished", len(finished), accepted)
        self._forget(finished)

    async def write(
        self, deadline: float, except_finished_by: int | None = None
    ) -> list[QueueDelivery]:
        """Write what is decided; return what it was about.

        What `except_finished_by` has finished is left to the statement that leases more.
        """
        groups: dict[tuple[int, type[Written]], list[Entry]] = {}
        for delivery, settlement in self._entries.items():
            if isinstance(settlement, Finish) and delivery.holder == except_finished_by:
                continue
            group = groups.setdefault((delivery.holder, type(settlement)), [])
            group.append((delivery, settlement))
        written: list[QueueDelivery] = []
        for (holder, kind), entries in groups.items():
            statement = self._statement(holder, kind, entries)
            rows = await self._pool.fetch(*statement, deadline=deadline)
            if kind is Committed:  # nothing was there to be given back, as it should be
                self._counts["released"] += len(rows)
                self._counts["finished"] += len(entries) - len(rows)
            else:
                self._count(NAMES[kind], len(entries), len(rows))
            deliveries = [delivery for delivery, _ in entries]
            self._forget(deliveries)
            written += deliveries
        return written

    def statistics(self) -> dict[str, float]:
        """Return the counts of what was written and of what was lost."""
        return {name: self._counts[name] for name in (*NAMES.values(), "lost", "faults")}

    def _statement(self, holder: int, kind: type[Written], entries: list[Entry]) -> tuple[Any, ...]:
        numbers = [delivery.leased.id for delivery, _ in entries]
        if kind is Finish:
            return sql.FINISH, holder, numbers
        if kind is Release or kind is Committed:
            return sql.RELEASE, holder, numbers
        if kind is Retry:
            retries = [one for _, one in entries if isinstance(one, Retry)]
            waits = [one.after for one in retries]
            counted = [int(one.counted) for one in retries]
            return sql.RETRY, holder, numbers, waits, counted, [one.cause for one in retries]
        buried = [one for _, one in entries if isinstance(one, Bury)]
        outcomes = [one.outcome for one in buried]
        counted = [int(one.outcome == "dead") for one in buried]
        causes = [one.cause for one in buried]
        return sql.BURY, holder, numbers, outcomes, causes, counted, self._reading.consumer

    def _count(self, name: str, written: int, accepted: int) -> None:
        self._counts[name] += accepted
        self._counts["lost"] += written - accepted

    def _forget(self, deliveries: list[QueueDelivery]) -> None:
        for delivery in deliveries:
            self._entries.pop(delivery, None)


NAMES: dict[type[Written], str] = {
    Finish: "finished",
    Release: "released",
    Retry: "retried",
    Bury: "buried",
}
