"""What a breaker is told and what it tells: its settings, its states, its transitions."""

from enum import StrEnum

import msgspec

from switchgear.policy import ranges
from switchgear.policy.window import WindowSettings

__all__ = ["BreakerSettings", "State", "Transition"]


class State(StrEnum):
    """Where a breaker stands: closed lets through, open refuses, half open probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Transition(msgspec.Struct, frozen=True):
    """One change of state: which breaker, from where to where, at which instant, and why."""

    name: str
    old: State
    new: State
    at: float
    why: str


class BreakerSettings(msgspec.Struct, frozen=True):
    """When a breaker opens, for how long, and how it comes back. Durations are in seconds.

    `failures` and `slow` are shares of the calls in `window`, judged from `calls` calls on;
    `consecutive` failures open it whatever the share. A call is slow when it took longer than
    `slow_after` (None: no call is). It stays open for `open_for`, doubled up to `open_most` each
    time it opens again before it had recovered, with `jitter` either way. (The 15 s are measured:
    with longer waits the end of a long fault is seen more than half a minute late.) Then one probe
    at a time goes through, each leased for `probe_lease`; after `probes` successes it is closed,
    and admits a share that grows from nothing to all over `ramp`.
    """

    failures: float = 0.5
    calls: int = 10
    consecutive: int = 5
    slow: float = 0.6
    slow_after: float | None = None
    window: WindowSettings = WindowSettings()
    open_for: float = 5.0
    open_most: float = 15.0
    jitter: float = 0.2
    probes: int = 3
    probe_lease: float = 10.0
    ramp: float = 10.0

    def __post_init__(self) -> None:
        ranges.kind(self, "window", WindowSettings)
        for share in ("failures", "slow"):
            ranges.share(self, share)
        for count in ("calls", "consecutive", "probes"):
            ranges.at_least(self, count, 1)
        for duration in ("open_for", "probe_lease"):
            ranges.above(self, duration, 0)
        ranges.at_least(self, "open_most", self.open_for)
        if self.slow_after is not None:
            ranges.above(self, "slow_after", 0)
        ranges.at_least(self, "ramp", 0)
        ranges.between(self, "jitter", 0, 0.9)
