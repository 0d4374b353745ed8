"""The intake: takes messages of one topic under a lease, and writes what became of them.

One task talks to the server. Each of its turns writes the settlements that have gathered and leases
what there is room for, in one statement where all went well. `take` and `settle` touch memory
only: what is settled is durable with the next turn, and counts as room only then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from math import inf
from typing import Any, Protocol

from switchgear.core.clock import Clock
from switchgear.core.outcome import Outcome
from switchgear.engines.postgres.pool import PostgresPool
from switchgear.engines.postgres.queue import sql
from switchgear.engines.postgres.queue.bell import Bell
from switchgear.engines.postgres.queue.delivery import (
    EXPIRED,
    Committed,
    Leased,
    QueueDelivery,
)
from switchgear.engines.postgres.queue.ledger import Ledger
from switchgear.engines.postgres.queue.settings import QueueSettings
from switchgear.lane.settlement import Release, Rules, Settlement, decide
from switchgear.policy.fault import Fault
from switchgear.ports.broker import Reading

__all__ = ["Keeping", "QueueIntake"]

TIMEOUT = 5.0  # seconds for one statement
# Seconds in which a statement that was given up may still commit: what it leases then is known to
# nobody, and kept for as long as we live. Till they are over, every turn returns such rows.
UNCERTAIN = 30.0
GATHER = 0.003  # seconds to gather settlements while there is other work at hand
RETRY = (0.05, 1.0)  # seconds: first and longest wait while the server is away


class Keeping(Protocol):
    """Who renews the leases of this process, and lets one suspect run at a time."""

    alone: asyncio.Lock

    async def hold(self, intake: "QueueIntake") -> int: ...

    def let_go(self, intake: "QueueIntake") -> None: ...


class QueueIntake:
    """The deliveries of one topic, for one process."""

    def __init__(
        self,
        reading: Reading,
        settings: QueueSettings,
        pool: PostgresPool,
        bell: Bell,
        keeper: Keeping,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.reading = reading
        self.rules = Rules(reading.attempts, settings.backoff, settings.backoff_cap)
        self.clock = clock
        self.holder: int | None = None
        self.suspected = False
        self._settings = settings
        self._pool = pool
        self._bell = bell
        self._keeper = keeper
        self._random = random
        self._ledger = Ledger(pool, reading)
        self._buffer: deque[QueueDelivery] = deque()
        # By delivery, not by row: what was lost and taken again is out twice, under two holders.
        self._out: set[QueueDelivery] = set()
        self._floor = 0
        self._floor_at = clock()
        self._most = reading.prefetch
        self._uncertain_until = -inf
        self._isolating = False
        self._draining = False
        self.closed = False
        self._hungry = True
        self._arrived = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._taken = 0
        self._told = False

    async def take(self) -> QueueDelivery | None:
        """Return the next message, or None once `drain` was called."""
        if self._task is None and not self._draining:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), context=Context())
            self._bell.listen(self.reading.topic, self.wake)
        while not self._buffer:
            if self._draining:
                return None
            if self._task is not None and self._task.done():
                self._told = True
                self._task.result()  # a defect of the pump is the consumer's to know
            self._arrived.clear()
            await self._arrived.wait()
        self._taken += 1
        return self._buffer.popleft()

    def wake(self) -> None:
        """Look for messages now."""
        self._hungry = True
        self._wake.set()

    def drain(self) -> None:
        """Take no more, and hand back what has not been taken."""
        self._draining = True
        self._hand_back()
        self._arrived.set()

    async def close(self) -> None:
        """Write what is settled, give the rest back, and let go of the lease."""
        self.drain()
        self._bell.deafen(self.reading.topic, self.wake)
        self.closed = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task], timeout=TIMEOUT)  # a turn that is under way ends whole
            task.cancel()
            await asyncio.wait([task])
        self._keeper.let_go(self)
        if self._isolating:
            self._keeper.alone.release()
            self._isolating = False
        holder, self.holder = self.holder, None
        try:
            await self._ledger.write(self.clock() + TIMEOUT)
            self._out.clear()
            if holder is not None:
                await self._pool.fetch(sql.LET_GO, holder, deadline=self.clock() + TIMEOUT)
        except Fault as fault:
            # The lease runs out by itself, and who finds it makes all of it ready again.
            self._ledger.note(fault)
        if task is not None and not task.cancelled() and not self._told:
            task.result()

    def statistics(self) -> dict[str, float]:
        """Return what was taken and what became of it, since the start."""
        out = {"taken": self._taken, "out": len(self._out), "buffered": len(self._buffer)}
        return {**out, **self._ledger.statistics()}

    def decide(self, delivery: QueueDelivery, outcome: Outcome[Any]) -> Settlement:
        """Decide what becomes of a delivery."""
        return decide(outcome, delivery.leased.attempts, self.rules, self._random())

    def settled(self, delivery: QueueDelivery, settlement: Settlement | Committed) -> None:
        """Have a settlement written with the next turn."""
        self._ledger.add(delivery, settlement)
        self._wake.set()

    def lost(self) -> None:
        """Call everything off: the lease is gone, and what is settled now changes nothing."""
        self.holder = None
        self.doubt()

    def doubt(self) -> None:
        """Call everything off and hand it back: nobody can say whether the lease still stands."""
        for delivery in tuple(self._out):
            delivery.lose()
        self._hand_back()

    def _hand_back(self) -> None:
        while self._buffer:
            self.settled(self._buffer.popleft(), Release())

    async def _run(self) -> None:
        wait, longest = RETRY
        try:
            while not self.closed:
                try:
                    await self._turn()
                except Fault as fault:
                    self._uncertain_until = self.clock() + UNCERTAIN
                    # Messages may be so large that many of them take longer than a statement may.
                    self._most = max(1, self._most // 2)
                    self._ledger.note(fault)
                    await asyncio.sleep(wait * (0.5 + self._random() / 2))
                    wait = min(longest, wait * 2)
                    continue
                wait = RETRY[0]
                await self._sleep()
        finally:
            self._arrived.set()

    async def _sleep(self) -> None:
        """Wait for settlements, for the bell, or for the time to look again."""
        if self._hungry and self._room() > 0 and not self.suspected:
            return
        try:
            async with asyncio.timeout(self._settings.poll):
                await self._wake.wait()
                if self._buffer:
                    await asyncio.sleep(GATHER)
        except TimeoutError:
            self._hungry = True
        self._wake.clear()

    async def _turn(self) -> None:
        deadline = self.clock() + TIMEOUT
        if self.holder is None:
            self.holder = await self._keeper.hold(self)
        if self.clock() < self._uncertain_until:
            known = [one.leased.id for one in self._out if one.holder == self.holder]
            topic = self.reading.topic
            await self._pool.fetch(sql.RETURN_UNKNOWN, self.holder, topic, known, deadline=deadline)
        finished = self._ledger.finished(self.holder)
        self._out.difference_update(
            await self._ledger.write(deadline, except_finished_by=self.holder)
        )
        suspects = await self._isolated(len(finished))
        want = min(self._wanted(len(finished), suspects), self._most)
        if finished or want:
            await self._next(self.holder, finished, want, suspects, deadline)

    async def _next(
        self, holder: int, finished: list[QueueDelivery], want: int, suspects: bool, deadline: float
    ) -> None:
        """Write what is finished and lease up to `want` more."""
        statement = sql.NEXT_SUSPECT if suspects else sql.NEXT
        floor = 0 if suspects else self._floor
        numbers = [delivery.leased.id for delivery in finished]
        rows = await self._pool.fetch(
            statement, holder, numbers, self.reading.topic, floor, want, deadline=deadline
        )
        self._ledger.wrote(finished, rows[0]["finished"])
        self._out.difference_update(finished)
        leased = [Leased.of(row) for row in rows if row["id"] is not None]
        for one in leased:
            self._accept(QueueDelivery(one, holder, self))
        if suspects:
            self.suspected = bool(leased)
            self._hungry = True
        elif want:
            self._hungry = len(leased) == want
            if len(leased) >= self._most:  # as many were not too many; of none that says nothing
                self._most = min(self.reading.prefetch, self._most * 2)
            self._lift_floor(leased)
        if self.holder != holder:  # lost while the statement ran
            self.doubt()

    def _accept(self, delivery: QueueDelivery) -> None:
        self._out.add(delivery)
        if delivery.expired:
            self.settled(delivery, EXPIRED)
            return
        if self._draining:
            self.settled(delivery, Release())
            return
        self._buffer.append(delivery)
        self._arrived.set()

    def _room(self) -> int:
        return 0 if self._draining else self.reading.prefetch - len(self._out)

    def _wanted(self, finishing: int, suspects: bool) -> int:
        if self._draining or self._isolating:
            return int(suspects and not self._draining)
        if self.suspected and not self._keeper.alone.locked():
            return 0  # let what runs end, so that the suspect runs alone
        return self._room() + finishing

    async def _isolated(self, finishing: int) -> bool:
        """Whether a suspect may be leased now: nothing else of ours is out, and no other suspect.

        What dies with a suspect becomes suspect itself; so it dies alone.
        """
        if len(self._out) > finishing:
            return False
        alone = self._keeper.alone
        if self._isolating and not self.suspected:
            alone.release()
            self._isolating = False
        if self.suspected and not self._isolating and not alone.locked():
            await alone.acquire()
            self._isolating = True
        return self._isolating

    def _lift_floor(self, leased: list[Leased]) -> None:
        """Pass over the rows below what was leased: they are gone, but their index entries linger.

        Only while there is plenty, and for a second at most: rows that commit late or are handed
        back lie below the floor.
        """
        now = self.clock()
        if not self._hungry or now - self._floor_at > 1.0:
            self._floor, self._floor_at = 0, now
        elif leased:
            self._floor = leased[-1].id
