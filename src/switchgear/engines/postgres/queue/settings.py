"""How the queue on PostgreSQL behaves, where its defaults do not serve."""

import msgspec

__all__ = ["QueueSettings"]


class QueueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Durations are in seconds."""

    lease: float = 6.0
    """A process that is silent for so long has lost what it holds."""
    heartbeat: float = 2.0
    poll: float = 1.0
    """How long a message may wait when its notification was lost."""
    deaths: int = 3
    """A message that was held by so many dying processes is dead."""
    backoff: float = 0.5
    backoff_cap: float = 60.0
    inbox: float = 86400.0
    """How long the inbox remembers; retries must be over by then."""
    connections: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat <= self.lease / 2:
            raise ValueError(
                f"queue heartbeat {self.heartbeat:g} s must be at most half of the lease, "
                f"{self.lease:g} s"
            )
