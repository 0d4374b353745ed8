"""The broker port: messages published, and taken under a lease until they are settled."""

import re
from collections.abc import Set
from typing import Any, Final, Protocol

import msgspec

from switchgear.core.delivery import Source
from switchgear.policy.call import Trace
from switchgear.ports.tables import Transaction
from switchgear.ports.traits import Trait

__all__ = [
    "TOPIC",
    "Broker",
    "DeadLetter",
    "DeadLetters",
    "Intake",
    "Message",
    "Reading",
    "Received",
    "check_topic",
]

TOPIC: Final = "lower-case words joined by dots, like user.created"
"""How a topic is written, by who publishes and who consumes: else the two would not meet."""

_TOPIC: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


def check_topic(topic: str) -> None:
    """Raise ValueError for a topic that no consumer can be of: its messages would stay for ever."""
    if not _TOPIC.fullmatch(topic):
        raise ValueError(f"no consumer can be of this topic: {topic[:80]!r}; write {TOPIC}")


class Message(msgspec.Struct, frozen=True):
    """What was published. `id` is its identity for good: the same id is the same message.

    `body` is JSON. `delay` and `expires` are seconds from the publishing, `published_at` is the
    broker's wall clock as seconds since the epoch (0 where it has not been published yet).
    """

    id: str
    topic: str
    body: bytes
    key: str = ""
    trace: Trace | None = None
    delay: float = 0.0
    expires: float | None = None
    published_at: float = 0.0


class Reading(msgspec.Struct, frozen=True):
    """How one consumer reads a topic.

    `prefetch` bounds what is taken and not settled, `deadline` (seconds) one attempt.
    """

    topic: str
    consumer: str
    prefetch: int = 16
    attempts: int = 10
    deadline: float = 30.0


class Received(Protocol):
    """What a consumer's handler is given: a message, and the way to be done with it once."""

    @property
    def message(self) -> Message: ...

    async def claim(self, tx: Transaction) -> bool:
        """Complete the message within `tx`: its effect, its inbox row and its end commit together.

        Returns False when its effect was committed before; the handler then does nothing. Raises a
        Fault (aborted) when the lease is lost: the transaction must not commit.
        """
        ...


class Intake(Source[Received, Any], Protocol):
    """A source of deliveries that can be closed."""

    def drain(self) -> None:
        """Take no more: hand back, uncounted, what has not begun; `take` then returns None."""
        ...

    async def close(self) -> None:
        """Give everything back and let go of the lease."""
        ...

    def statistics(self) -> dict[str, float]:
        """Return what was taken, finished, retried, buried, handed back and lost."""
        ...


class Broker(Protocol):
    """A queue of messages by topic, delivered at least once."""

    @property
    def traits(self) -> Set[Trait]: ...

    async def publish(self, message: Message, deadline: float) -> None:
        """Publish a message durably.

        Raises a Fault; where its effect is UNKNOWN, publish it again: of messages with the same id
        one takes effect, if it is claimed.
        """
        ...

    def source(self, reading: Reading) -> Intake:
        """Return the deliveries of a topic."""
        ...

    async def depths(self, deadline: float) -> dict[str, dict[str, int]]:
        """Return, by topic, how many messages are ready, leased, delayed and dead."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that will not be tried again, with the reason and the way it took.

    `outcome` is `dead` or `expired`; `trail` has one line per ended attempt.
    """

    entry: int
    message: Message
    consumer: str
    outcome: str
    cause: str
    attempts: int
    deaths: int
    trail: tuple[str, ...]
    died_at: float


class DeadLetters(Protocol):
    """What could not be done: listed, replayed, discarded. The trait is DEAD_LETTERS."""

    async def dead(self, topic: str, deadline: float, *, after: int = 0) -> list[DeadLetter]:
        """Return up to 100 dead letters, oldest first, behind the entry `after`."""
        ...

    async def replay(self, entry: int, deadline: float) -> bool:
        """Make one ready again with its attempts forgotten; False where there is none."""
        ...

    async def discard(self, entry: int, deadline: float) -> bool:
        """Remove one for good; False where there is none."""
        ...
