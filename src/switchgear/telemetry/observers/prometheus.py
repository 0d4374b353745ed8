"""Prometheus: events as metrics of prometheus_client's registry.

A call that a policy protects takes about a microsecond, and counting it must not take another. So
the figures are plain numbers, read when somebody scrapes. Only where several processes share
their figures through files (PROMETHEUS_MULTIPROC_DIR) are the client's own instruments used.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from switchgear.core.observe import (
    AttemptEnded,
    CallEnded,
    Coalesced,
    Event,
    FellBack,
    Hedging,
    Overran,
    Refusing,
    Retrying,
)
from switchgear.policy.breaker_settings import State, Transition
from switchgear.policy.verdict import Health
from switchgear.telemetry.metrics import LATENCY, FamilyShot, Registry

__all__ = ["PrometheusObserver"]

Tell = Callable[..., None]
"""Adds one to a counter, observes a duration, sets a gauge: a series with its labels bound."""
Bind = Callable[..., Tell]
"""Takes the values of a family's labels and returns the series."""

_MOST_SERIES: Final = 1000
_MULTIPROCESS: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class PrometheusObserver:
    """Count events in a registry, by default the client's own.

    Make one per registry and share it among all policies. `outcome` is ok, or the code of a fault,
    or the type of an exception. `breaker_state` is 1 for the state a breaker is in, from its first
    transition on. Whatever the names, a family has a thousand series at most: the rest
    shares one, named other.

    Raises ImportError without prometheus_client.
    """

    def __init__(self, registry: Any = None) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise ImportError(
                "PrometheusObserver needs prometheus-client: pip install prometheus-client"
            ) from error
        if registry is None:
            registry = prometheus_client.REGISTRY
        shared = any(name in os.environ for name in _MULTIPROCESS)
        families: _Families = _Shared(registry) if shared else _Plain()
        counter = families.counter
        self._attempts = _Cells(counter("attempts", "Attempts by what they said.", "health"))
        self._calls = _Cells(counter("calls", "Calls by how they ended.", "outcome"))
        self._took = _Cells(
            families.histogram("call_duration_seconds", "Whole calls, all attempts included.")
        )
        self._refusals = _Cells(
            counter("refusals", "Calls a gate refused.", "gate", "reason", "enforced")
        )
        self._retries = _Cells(counter("retries", "Attempts after the first.", "enforced"))
        self._hedges = _Cells(counter("hedges", "Attempts sent beside another."))
        self._fallbacks = _Cells(counter("fallbacks", "Calls answered by a fallback.", "how"))
        self._overruns = _Cells(counter("overruns", "Work that outlived its time.", "enforced"))
        self._coalesced = _Cells(counter("coalesced", "Calls that joined another."))
        self._transitions = _Cells(
            counter("breaker_transitions", "Changes of a breaker's state.", "state")
        )
        self._states = _Cells(
            families.gauge("breaker_state", "1 for the state a breaker is in.", "state")
        )
        if isinstance(families, _Plain):
            registry.register(families)
        self._policies: dict[str, _Policy] = {}
        self._kinds: dict[type, Callable[[Any], None]] = {
            AttemptEnded: self._attempt_ended,
            CallEnded: self._call_ended,
            Coalesced: lambda event: self._coalesced(event.name)(),
            FellBack: lambda event: self._fallbacks(event.name, event.how)(),
            Hedging: lambda event: self._hedges(event.name)(),
            Overran: lambda event: self._overruns(event.name, _word(event.enforced))(),
            Refusing: self._refusing,
            Retrying: lambda event: self._retries(event.name, _word(event.enforced))(),
            Transition: self._transition,
        }

    def __call__(self, event: Event) -> None:
        tell = self._kinds.get(type(event))
        if tell is not None:
            tell(event)

    def _policy(self, name: str) -> "_Policy":
        """Return what is counted at every call of a policy; it is kept for so many policies."""
        cells = _Policy(name, self._attempts, self._took, self._calls)
        if len(self._policies) < _MOST_SERIES:
            self._policies[name] = cells
        return cells

    def _attempt_ended(self, event: AttemptEnded) -> None:
        policy = self._policies.get(event.name) or self._policy(event.name)
        health = event.verdict.health
        if health is Health.GOOD:
            policy.good()
        elif health is Health.BAD:
            policy.bad()
        else:
            policy.neutral()

    def _call_ended(self, event: CallEnded) -> None:
        policy = self._policies.get(event.name) or self._policy(event.name)
        policy.took(event.elapsed)
        if event.code:
            self._calls(event.name, event.code)()
        else:
            policy.ok()

    def _refusing(self, event: Refusing) -> None:
        reason, enforced = event.refusal.value, _word(event.enforced)
        self._refusals(event.name, event.kind, reason, enforced)()

    def _transition(self, event: Transition) -> None:
        self._transitions(event.name, event.new.value)()
        for state in State:
            self._states(event.name, state.value)(float(state is event.new))


class _Policy:
    """The series that nearly every call touches."""

    __slots__ = ("bad", "good", "neutral", "ok", "took")

    def __init__(self, name: str, attempts: "_Cells", took: "_Cells", calls: "_Cells") -> None:
        self.good = attempts(name, Health.GOOD.value)
        self.bad = attempts(name, Health.BAD.value)
        self.neutral = attempts(name, Health.NEUTRAL.value)
        self.took = took(name)
        self.ok = calls(name, "ok")


class _Cells:
    """The series of one family, bound once each, up to a bound."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._bound: dict[tuple[str, ...], Tell] = {}

    def __call__(self, *values: str) -> Tell:
        bound = self._bound.get(values)
        if bound is None:
            if len(self._bound) >= _MOST_SERIES:
                values = ("other",) * len(values)
            bound = self._bound.setdefault(values, self._bind(*values))
        return bound


class _Plain:
    """Families of plain numbers, and a collector of prometheus_client that reads them."""

    def __init__(self) -> None:
        self._registry = Registry()

    def counter(self, name: str, text: str, *labels: str) -> Bind:
        family = self._registry.counter(f"switchgear_{name}_total", text, ("policy", *labels))
        return lambda *values: family.bind(*values).add

    def gauge(self, name: str, text: str, *labels: str) -> Bind:
        family = self._registry.gauge(f"switchgear_{name}", text, ("policy", *labels))
        return lambda *values: family.bind(*values).put

    def histogram(self, name: str, text: str, *labels: str) -> Bind:
        family = self._registry.histogram(f"switchgear_{name}", text, ("policy", *labels))
        return lambda *values: family.bind(*values).observe

    def describe(self) -> Iterable[Any]:
        """Tell the registry which names are taken: a second observer in it is refused."""
        return self.collect()

    def collect(self) -> Iterable[Any]:
        """Read every family, as the registry asks for it at a scrape."""
        return [_metric(shot) for shot in self._registry.snapshot()]


class _Shared:
    """Families of prometheus_client's own instruments, whose values other processes can read."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Bind:
        from prometheus_client import Counter

        family = Counter(f"switchgear_{name}", text, ("policy", *labels), registry=self._registry)
        return lambda *values: family.labels(*values).inc

    def gauge(self, name: str, text: str, *labels: str) -> Bind:
        from prometheus_client import Gauge

        family = Gauge(
            f"switchgear_{name}",
            text,
            ("policy", *labels),
            registry=self._registry,
            multiprocess_mode="livesum",  # how many of the processes have their breaker in a state
        )
        return lambda *values: family.labels(*values).set

    def histogram(self, name: str, text: str, *labels: str) -> Bind:
        from prometheus_client import Histogram

        family = Histogram(
            f"switchgear_{name}",
            text,
            ("policy", *labels),
            registry=self._registry,
            buckets=LATENCY,
        )
        return lambda *values: family.labels(*values).observe


_Families = _Plain | _Shared


def _word(value: bool) -> str:
    return "true" if value else "false"


def _metric(shot: FamilyShot) -> Any:
    """Turn a family into what prometheus_client exposes."""
    from prometheus_client import core

    if shot.kind == "histogram":
        histogram = core.HistogramMetricFamily(shot.name, shot.help, labels=shot.labels)
        for series in shot.series:
            buckets = _running(shot.bounds, series.buckets)
            histogram.add_metric(series.labels, buckets, sum_value=series.value)
        return histogram
    family: Any = core.CounterMetricFamily if shot.kind == "counter" else core.GaugeMetricFamily
    made = family(shot.name, shot.help, labels=shot.labels)
    for series in shot.series:
        made.add_metric(series.labels, series.value)
    return made


def _running(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Add the counts up, as Prometheus has them: each bucket holds all below its bound."""
    running = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(repr, bounds), "+Inf"), counts, strict=True):
        running += count
        buckets.append((bound, running))
    return buckets
