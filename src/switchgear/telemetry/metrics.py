"""Metrics: plain numbers that a request may touch, and the families that name them.

Labels are bound once, where a route or an endpoint is set up; what the hot path holds is the
`Counter` itself, and counting is one addition. A family bounds how many label sets it keeps:
whatever comes after shares one series named `other`, so that no input can grow the memory.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from switchgear.telemetry.shots import FamilyShot, Kind, Series, Snapshot

__all__ = [
    "LATENCY",
    "Counter",
    "Family",
    "FamilyShot",
    "Gauge",
    "Histogram",
    "Registry",
    "Series",
    "Snapshot",
]

LATENCY: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Bounds in seconds that fit a request: a fast read to a deadline well overrun."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_MOST_SERIES = 1000
_REST = "other"


class Counter:
    """A number that only grows. Add to `value` directly where each nanosecond counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Count `amount` more."""
        self.value += amount


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0.0

    def add(self, amount: float = 1) -> None:
        """Move the gauge by `amount`, which may be negative."""
        self.value += amount

    def put(self, value: float) -> None:
        """Set the gauge."""
        self.value = value


class Histogram:
    """How often a value fell under each of its fixed bounds, and the sum of all values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCY) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a value equal to a bound falls under it."""
        place = 0
        for bound in self.bounds:  # most values are small, and what is quick is to stay so
            if value <= bound:
                break
            place += 1
        self.counts[place] += 1
        self.total += value


Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class Family(Generic[Metric]):
    """All series of one name, told apart by the values of its labels."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        make: Callable[[], Metric],
        bounds: Sequence[float] = (),
    ) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self._make: Callable[[], Metric] = make
        self._children: dict[tuple[str, ...], Metric] = {}

    def bind(self, *values: str) -> Metric:
        """Return the series of these label values, made at first use.

        Raises:
            ValueError: the number of values is not the number of labels.
        """
        child = self._children.get(values)
        if child is not None:
            return child
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} is told apart by {self.labels}, not by {values}")
        if len(self._children) >= _MOST_SERIES:
            values = (_REST,) * len(values)
        return self._children.setdefault(values, self._make())

    def shot(self, kind: Kind) -> FamilyShot:
        """Return the family as it stands."""
        series = []
        for values, child in list(self._children.items()):
            if isinstance(child, Histogram):
                series.append(Series(values, child.total, tuple(child.counts)))
            else:
                series.append(Series(values, child.value))
        return FamilyShot(self.name, kind, self.text, self.labels, self.bounds, tuple(series))


class Registry:
    """Every family of one process. A name is registered once."""

    def __init__(self) -> None:
        self._shots: dict[str, Callable[[], FamilyShot]] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Counter]:
        """Register a family of counters; its name ends in `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"a counter's name ends in _total, {name!r} does not")
        family = Family(name, text, labels, Counter)
        self._add(name, labels, lambda: family.shot("counter"))
        return family

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Gauge]:
        """Register a family of gauges."""
        family = Family(name, text, labels, Gauge)
        self._add(name, labels, lambda: family.shot("gauge"))
        return family

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), bounds: Sequence[float] = LATENCY
    ) -> Family[Histogram]:
        """Register a family of histograms; `bounds` rise, and all its series share them."""
        if list(bounds) != sorted(set(bounds)) or not bounds:
            raise ValueError(f"the bounds of {name} must rise: {tuple(bounds)}")
        family = Family(name, text, labels, lambda: Histogram(bounds), bounds)
        self._add(name, labels, lambda: family.shot("histogram"))
        return family

    def sampled(
        self, name: str, text: str, read: Callable[[], float], kind: Kind = "gauge"
    ) -> None:
        """Register a number that is read only when somebody asks."""
        self._add(name, (), lambda: FamilyShot(name, kind, text, series=(Series((), read()),)))

    def sampled_by(
        self,
        name: str,
        text: str,
        label: str,
        read: Callable[[], Mapping[str, float]],
        kind: Kind = "gauge",
    ) -> None:
        """Register numbers that are read only when somebody asks, told apart by one label.

        What they are told apart by is theirs to bound.
        """

        def shot() -> FamilyShot:
            series = tuple(Series((key,), value) for key, value in read().items())
            return FamilyShot(name, kind, text, (label,), series=series)

        self._add(name, (label,), shot)

    def snapshot(self) -> Snapshot:
        """Return every family as it stands."""
        return [shot() for shot in self._shots.values()]

    def _add(self, name: str, labels: Sequence[str], shot: Callable[[], FamilyShot]) -> None:
        if not _NAME.match(name) or not all(_NAME.match(label) for label in labels):
            raise ValueError(f"names and labels are lower snake case: {name!r} {tuple(labels)}")
        if name in self._shots:
            raise ValueError(f"a metric named {name!r} is registered already")
        if "process" in labels or "le" in labels:
            raise ValueError(f"{name} may not use the labels 'process' and 'le'")
        self._shots[name] = shot
