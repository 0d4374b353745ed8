"""The queue on PostgreSQL: the broker port, and the outbox of the tables beside it.

    publish / tx.publish --> ready --lease--> delivery --settle--> gone
                    |          ^ ^ released        |
                    +-> delayed+ +----- retry -----+--> dead

A published message is a row of the publisher's own transaction. An intake leases rows by
writing its number into them (`holder`): that is lease and fence in one, because whatever settles a
row does so only where its own number still stands. `keeper` renews the numbers and reclaims
those of dead processes; `bell` makes it quick; `sql` has every statement.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import random
from typing import Any, Final

from switchgear.core.clock import FINE, Clock
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.migrations import migrate
from switchgear.engines.postgres.pool import PoolSettings, PostgresPool
from switchgear.engines.postgres.queue import sql
from switchgear.engines.postgres.queue.bell import Bell
from switchgear.engines.postgres.queue.intake import QueueIntake
from switchgear.engines.postgres.queue.keeper import Keeper
from switchgear.engines.postgres.queue.settings import QueueSettings
from switchgear.lane.envelope import headers_of, trace_of
from switchgear.lane.settlement import Rules
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.ports.broker import DeadLetter, Message, Reading, check_topic
from switchgear.ports.traits import Trait

__all__ = ["PostgresQueue", "QueueSettings", "install"]

MIGRATIONS: Final = Path(__file__).with_name("migrations")

# The tables swing between empty and full faster than their statistics: a plan that was made when
# they were empty must not scan them when they are not.
SESSION: Final = {
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "statement_timeout": "10s",
}


async def install(owner: Dsn) -> list[str]:
    """Make the queue's tables, as the role that owns them; return the migrations applied."""
    return await migrate(owner, MIGRATIONS, "switchgear.queue")


class PostgresQueue:
    """Messages by topic, in the same database as the tables they belong to."""

    traits: Final = frozenset({Trait.TRANSACTIONAL, Trait.DELAY, Trait.EXPIRY, Trait.DEAD_LETTERS})

    def __init__(
        self,
        dsn: Dsn,
        *,
        name: str = "switchgear",
        settings: QueueSettings | None = None,
        clock: Clock = FINE,
        random: Callable[[], float] = random,
    ) -> None:
        self.settings = settings or QueueSettings()
        self._clock = clock
        self._random = random
        pool = PoolSettings(connections=self.settings.connections)
        self._pool = PostgresPool(dsn, f"{name} queue", pool, clock, SESSION)
        self._bell = Bell(dsn)
        self._keeper = Keeper(dsn, name, self.settings, self._pool, self._bell, clock)
        self._intakes: list[QueueIntake] = []

    async def write(self, connection: Any, messages: Sequence[Message], timeout: float) -> None:
        """Write messages in the transaction that is open on `connection`."""
        now = [message for message in messages if message.delay <= 0]
        later = [message for message in messages if not message.delay <= 0]  # NaN, too: it fails
        if now:
            await connection.execute(sql.PUBLISH, *_columns(now), timeout=timeout)
        if later:
            delays = [message.delay for message in later]
            await connection.execute(sql.PUBLISH_DELAYED, *_columns(later), delays, timeout=timeout)

    def committed(self, topics: Iterable[str]) -> None:
        """Tell the consumers of `topics` that a transaction with messages was committed."""
        self._bell.ring(topics)

    async def publish(self, message: Message, deadline: float) -> None:
        """Publish one message in a transaction of its own.

        Raises a Fault; where its effect is UNKNOWN, publish the same id again.
        """
        columns = _columns([message])
        if not message.delay <= 0:
            delay = [message.delay]
            await self._pool.fetch(sql.PUBLISH_DELAYED, *columns, delay, deadline=deadline)
        else:
            await self._pool.fetch(sql.PUBLISH, *columns, deadline=deadline)
        self._bell.ring([message.topic])

    def source(self, reading: Reading) -> QueueIntake:
        """Return the deliveries of a topic.

        Raises ValueError where retries could outlive the inbox, which then would not know them.
        """
        settings = self.settings
        rules = Rules(reading.attempts, settings.backoff, settings.backoff_cap)
        longest = rules.longest() + reading.attempts * (reading.deadline + settings.lease)
        if longest > settings.inbox:
            raise ValueError(
                f"consumer {reading.consumer!r}: {reading.attempts} attempts may take "
                f"{longest:.0f} s, and the inbox remembers {settings.inbox:.0f} s: allow fewer "
                "attempts, a shorter backoff, or a longer inbox"
            )
        intake = QueueIntake(
            reading, settings, self._pool, self._bell, self._keeper,
            clock=self._clock, random=self._random,
        )  # fmt: skip
        self._intakes = [one for one in self._intakes if not one.closed] + [intake]
        return intake

    async def depths(self, deadline: float) -> dict[str, dict[str, int]]:
        """Return, by topic, how many messages are ready, leased, delayed, dead and expired."""
        found: dict[str, dict[str, int]] = {}
        for row in await self._pool.fetch(sql.DEPTHS, deadline=deadline):
            found.setdefault(row["topic"], {})[row["state"]] = row["depth"]
        return found

    async def dead(self, topic: str, deadline: float, *, after: int = 0) -> list[DeadLetter]:
        """Return up to 100 dead letters, oldest first, behind the entry `after`."""
        rows = await self._pool.fetch(sql.DEAD, topic, after, deadline=deadline)
        return [_dead_letter(row) for row in rows]

    async def replay(self, entry: int, deadline: float) -> bool:
        """Make a dead letter ready again with its attempts forgotten; False where there is none."""
        rows = await self._pool.fetch(sql.REPLAY, entry, deadline=deadline)
        self._bell.ring([row["topic"] for row in rows])
        return bool(rows)

    async def discard(self, entry: int, deadline: float) -> bool:
        """Remove a dead letter for good; False where there is none."""
        return bool(await self._pool.fetch(sql.DISCARD, entry, deadline=deadline))

    def trouble(self) -> str:
        """Say what is wrong with a server that answers: its disk was full just now."""
        return self._pool.trouble()

    async def close(self) -> None:
        """Close the intakes, hand back what they hold, and let go of the connections."""
        for intake in self._intakes:
            await intake.close()
        await self._keeper.close()
        await self._bell.close()
        await self._pool.close()


def _columns(messages: Sequence[Message]) -> tuple[list[Any], ...]:
    for message in messages:
        try:
            check_topic(message.topic)
        except ValueError as error:
            raise Fault(Code.INVALID_ARGUMENT, str(error), effect=Effect.NONE) from None
    return (
        [message.id for message in messages],
        [message.topic for message in messages],
        [message.key for message in messages],
        [message.body for message in messages],
        [headers_of(message.trace) for message in messages],
        [message.expires for message in messages],
    )


def _dead_letter(row: Any) -> DeadLetter:
    message = Message(
        id=str(row["message"]),
        topic=row["topic"],
        body=row["body"],
        key=row["key"],
        trace=trace_of(row["headers"]),
        published_at=row["published"],
    )
    return DeadLetter(
        entry=row["entry"],
        message=message,
        consumer=row["consumer"],
        outcome=row["outcome"],
        cause=row["cause"],
        attempts=row["attempts"],
        deaths=row["deaths"],
        trail=tuple(row["trail"]),
        died_at=row["died"],
    )
