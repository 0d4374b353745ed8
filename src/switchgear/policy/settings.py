"""The settings of the machines that stand in every call's way.

They stand apart from the machines, because those can be compiled (`docs/compiled.md`): what makes
classes of structs is not understood by the compiler, and needs no speed.
"""

from math import inf
from typing import Final

import msgspec

from switchgear.policy import ranges

__all__ = [
    "BalanceSettings",
    "BucketSettings",
    "BudgetSettings",
    "BulkheadSettings",
    "EjectionSettings",
    "GcraSettings",
    "HurrySettings",
    "LatencySettings",
    "ShedderSettings",
    "WindowSettings",
]

_SHORTEST: Final = 1e-9  # seconds: buckets that are shorter cannot be numbered in the end


class WindowSettings(msgspec.Struct, frozen=True):
    """How far a window looks back, in seconds, and in how many buckets it forgets."""

    span: float = 10.0
    buckets: int = 10

    def __post_init__(self) -> None:
        ranges.above(self, "span", 0)
        ranges.between(self, "buckets", 1, 1000)
        if self.span / self.buckets < _SHORTEST:
            raise ValueError(ranges.words(self, "span", "a nanosecond for each bucket at least"))


class LatencySettings(msgspec.Struct, frozen=True):
    """How far to look back (`span`, in seconds), and how many `samples` say anything at all."""

    span: float = 30.0
    samples: int = 20

    def __post_init__(self) -> None:
        ranges.above(self, "span", 0)
        ranges.at_least(self, "samples", 1)


class BucketSettings(msgspec.Struct, frozen=True):
    """How fast and for how many: `rate` tokens a second, `burst` at most saved up, by key.

    At most `keys` buckets are kept apart (about 200 bytes each, and 8 more once some are not).
    """

    rate: float
    burst: float
    keys: int = 65_536

    def __post_init__(self) -> None:
        ranges.above(self, "rate", 0)
        ranges.at_least(self, "burst", 1)
        ranges.at_least(self, "keys", 1)
        if self.burst / self.rate == inf:  # what is owed would be nothing beside it
            raise ValueError(ranges.words(self, "rate", "one that ever pays for a burst"))


class GcraSettings(msgspec.Struct, frozen=True):
    """How far apart admissions are: one in `interval` seconds, by key.

    One that comes early is admitted all the same as long as it, and what came early before it,
    are no more than `tolerance` seconds ahead of that. At most `keys` are kept apart.
    """

    interval: float
    tolerance: float = 0.0
    keys: int = 65_536

    def __post_init__(self) -> None:
        ranges.above(self, "interval", 0)
        ranges.at_least(self, "tolerance", 0)
        ranges.at_least(self, "keys", 1)
        if self.interval + self.tolerance == inf:
            raise ValueError(ranges.words(self, "tolerance", "one with an end"))


class BudgetSettings(msgspec.Struct, frozen=True):
    """How much may be spent: `ratio` of the requests plus `floor` a second, over `window`."""

    ratio: float = 0.2
    floor: float = 3.0
    window: WindowSettings = WindowSettings()

    def __post_init__(self) -> None:
        ranges.kind(self, "window", WindowSettings)
        ranges.between(self, "ratio", 0, 1)
        ranges.at_least(self, "floor", 0)


class BulkheadSettings(msgspec.Struct, frozen=True):
    """How many may be inside and how many may wait. Durations are in seconds.

    A waiter is refused when it has waited `patience`, a share of the time from its asking to
    its deadline. Once the queue has stood for `standing` without ever being empty, that patience
    shrinks to its `hurried` share, in favour of those who came later. A permit whose work has not
    answered by its deadline, or within `permit_age`, counts as overdue.
    """

    permits: int = 64
    queue: int = 64
    patience: float = 0.1
    standing: float = 0.1
    hurried: float = 0.5
    permit_age: float = 300.0

    def __post_init__(self) -> None:
        ranges.at_least(self, "permits", 1)
        ranges.at_least(self, "queue", 0)
        ranges.between(self, "patience", 0, 1)
        ranges.at_least(self, "standing", 0)
        ranges.between(self, "hurried", 0, 1)
        ranges.above(self, "permit_age", 0)


class HurrySettings(msgspec.Struct, frozen=True):
    """Below which share of the calls' times nobody is let in, and what that is judged by.

    The `quantile` is that of the good calls within `span` seconds, once there are `samples`.
    """

    quantile: float = 0.5
    samples: int = 20
    span: float = 10.0

    def __post_init__(self) -> None:
        ranges.between(self, "quantile", 0, 1)
        ranges.at_least(self, "samples", 1)
        ranges.above(self, "span", 0)


class ShedderSettings(msgspec.Struct, frozen=True):
    """From which lag or queue delay on, and how much. Durations are in seconds.

    Both are smoothed over `smoothing`. Shedding begins at a lag of the event loop of `begin`, or a
    delay in the queue of `queue_begin`, and reaches everything but the exempt at `full`, or
    `queue_full`. Whoever is shed is told to come back after `retry_after`. What was last observed
    more than `stale` ago counts as none.
    """

    begin: float = 0.05
    full: float = 0.5
    smoothing: float = 0.5
    retry_after: float = 1.0
    stale: float = 5.0
    queue_begin: float = 0.1
    queue_full: float = 1.0

    def __post_init__(self) -> None:
        ranges.above(self, "begin", 0)
        ranges.above(self, "full", self.begin)
        ranges.above(self, "smoothing", 0)
        ranges.at_least(self, "retry_after", 0)
        ranges.above(self, "stale", 0)
        ranges.above(self, "queue_begin", 0)
        ranges.above(self, "queue_full", self.queue_begin)


class BalanceSettings(msgspec.Struct, frozen=True):
    """How balancers treat the new: an endpoint's share grows to a full one over `slow_start` s."""

    slow_start: float = 10.0

    def __post_init__(self) -> None:
        ranges.at_least(self, "slow_start", 0)


class EjectionSettings(msgspec.Struct, frozen=True):
    """How many may be left out, as shares of all the endpoints.

    At most `most` of them are ejected. With fewer than `panic_below` of them well, none is.
    """

    most: float = 0.5
    panic_below: float = 0.5

    def __post_init__(self) -> None:
        ranges.between(self, "most", 0, 1)
        ranges.between(self, "panic_below", 0, 1)
