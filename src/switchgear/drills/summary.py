"""What a load saw, request by request and summed up. Pure values, no I/O."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

__all__ = ["Percentiles", "Record", "Summary", "percentile", "summarise"]


class Record(msgspec.Struct, frozen=True):
    """One request. Instants are on the machine's monotonic clock, shared by its processes.

    `error` is empty when a whole response came, else the kind of failure. `sent` is None when the
    request never left: no connection was free, or none could be made.
    """

    sequence: int
    scheduled: float
    sent: float | None
    ended: float
    status: int = 0
    error: str = ""

    @property
    def latency(self) -> float:
        """Seconds from the instant at which it was due to be sent: queueing here counts too."""
        return self.ended - self.scheduled

    @property
    def good(self) -> bool:
        """Whether the response was whole, right, and a success or a redirection."""
        return not self.error and 200 <= self.status < 400


class Percentiles(msgspec.Struct, frozen=True):
    """Latencies in seconds, by the nearest rank."""

    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    highest: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> "Percentiles":
        """Sort and rank; all zero when there are none."""
        ordered = sorted(values)
        if not ordered:
            return cls()
        return cls(*(percentile(ordered, share) for share in (0.5, 0.9, 0.99, 1.0)))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of values in ascending order, at least one."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Summary(msgspec.Struct, frozen=True):
    """A load in figures. `answered` ranks whole responses only, `every` the failures too."""

    requests: int
    good: int
    seconds: float
    statuses: dict[str, int]
    errors: dict[str, int]
    answered: Percentiles
    every: Percentiles

    @property
    def goodput(self) -> float:
        """The share of requests that went well; 1 when there was none."""
        return self.good / self.requests if self.requests else 1.0

    def text(self) -> str:
        """Say it in one line."""
        parts = [f"{self.requests} requests, {self.good} good ({self.goodput:.1%})"]
        parts += [f"{count} x {status}" for status, count in sorted(self.statuses.items())]
        parts += [f"{count} {error}" for error, count in sorted(self.errors.items())]
        ranks = self.answered
        parts.append(
            f"p50 {ranks.p50 * 1000:.1f} ms, p99 {ranks.p99 * 1000:.1f} ms, "
            f"max {ranks.highest * 1000:.1f} ms"
        )
        return ", ".join(parts)


def summarise(records: Sequence[Record]) -> Summary:
    """Sum records up, in whatever order they are."""
    began = min((record.scheduled for record in records), default=0.0)
    ended = max((record.ended for record in records), default=0.0)
    return Summary(
        requests=len(records),
        good=sum(record.good for record in records),
        seconds=ended - began,
        statuses=dict(Counter(str(record.status) for record in records if record.status)),
        errors=dict(Counter(record.error for record in records if record.error)),
        answered=Percentiles.of(record.latency for record in records if record.status),
        every=Percentiles.of(record.latency for record in records),
    )
