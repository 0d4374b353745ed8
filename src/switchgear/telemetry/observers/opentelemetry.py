"""OpenTelemetry: events as metrics, as events of the current span, and attempts as spans.

Only the API is needed. Where no SDK is configured its instruments and spans do nothing, so a
library may observe its policies always, and leave it to the application whether somebody listens.

Names follow the semantic conventions: durations in seconds, `error.type` for what failed, all
else under `switchgear.`. Source: https://opentelemetry.io/docs/specs/semconv/
"""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

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
from switchgear.telemetry.metrics import LATENCY

__all__ = ["OpenTelemetryObserver"]

Attributes = dict[str, Any]

_MOST_BREAKERS: Final = 1000
_POLICY: Final = "switchgear.policy"
_ENFORCED: Final = "switchgear.enforced"
_STATE: Final = "switchgear.breaker.state"


class OpenTelemetryObserver:
    """Measure events by a meter, and note on the current span what happened on the way.

    Retries, refusals, hedges, fallbacks, overruns, joins and transitions become events of the span
    that is current when they happen. With a `tracer` each attempt becomes a span of its own below
    it. The meter is by default the configured one. `now` is wall time in nanoseconds: it dates the
    spans of attempts, which are told when they have ended.

    Raises ImportError without opentelemetry-api, and TypeError for a provider in the place of what
    it makes.
    """

    def __init__(
        self, tracer: Any = None, meter: Any = None, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise ImportError(
                "OpenTelemetryObserver needs opentelemetry-api: pip install 'switchgear[otel]'"
            ) from error
        _require("tracer", tracer, "start_span")
        _require("meter", meter, "create_histogram")
        self._tracer = tracer
        self._current: Callable[[], Any] = trace.get_current_span
        self._client, self._failed = trace.SpanKind.CLIENT, trace.StatusCode.ERROR
        self._now = now
        meter = metrics.get_meter("switchgear") if meter is None else meter
        self._took = meter.create_histogram(
            "switchgear.call.duration",
            unit="s",
            description="Whole calls, all attempts included.",
            explicit_bucket_boundaries_advisory=LATENCY,
        )
        self._counters = {
            kind: meter.create_counter(told.counter, unit=told.unit, description=told.text)
            for kind, told in _KINDS.items()
        }
        self._states = meter.create_up_down_counter(
            "switchgear.breaker.state",
            unit="1",
            description="1 for the state a breaker is in, from its first transition on.",
        )
        self._at: dict[str, State] = {}

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind is CallEnded:
            self._took.record(event.elapsed, _outcome(event))
        elif (told := _KINDS.get(kind)) is not None:
            labels: Attributes = {_POLICY: event.name, **told.labels(event)}
            self._counters[kind].add(1, labels)
            if kind is AttemptEnded:
                self._attempt(event, told, labels)
            else:
                self._note(event, told, labels)

    def _attempt(self, event: AttemptEnded, told: "_Told", labels: Attributes) -> None:
        """Make the span of an attempt that has ended, below the current one where that is kept."""
        if self._tracer is None or not self._current().is_recording():
            return
        end = self._now()
        span = self._tracer.start_span(
            f"{event.name} {told.event}",
            kind=self._client,
            attributes={**labels, "switchgear.attempt": event.attempt},
            start_time=end - round(event.elapsed * 1e9),
        )
        if event.verdict.health is Health.BAD:
            span.set_status(self._failed)
        span.end(end_time=end)

    def _note(self, event: Event, told: "_Told", labels: Attributes) -> None:
        """Add an event to the current span, if that is kept."""
        if type(event) is Transition:
            self._move(event)
        span = self._current()
        if span.is_recording():
            span.add_event(f"switchgear.{told.event}", {**labels, **told.details(event)})

    def _move(self, event: Transition) -> None:
        """Count a breaker out of the state that it was last told to be in, and into the new one."""
        before = self._at.get(event.name)
        if before is None and len(self._at) >= _MOST_BREAKERS:
            return
        self._at[event.name] = event.new
        for state, step in ((before, -1), (event.new, 1)):
            if state is not None:
                self._states.add(step, {_POLICY: event.name, _STATE: state.value})


def _require(option: str, given: object, what: str) -> None:
    if given is None or hasattr(given, what):
        return
    made = f"get_{option}"
    right = f"its {made}('policies')" if hasattr(given, made) else f"a {option}"
    raise TypeError(f"OpenTelemetryObserver.{option} is {given!r}, where {right} would be right")


class _Told(NamedTuple):
    """How a kind is told: its counter, its name in a trace, and the attributes of both.

    `labels` are few and repeat, for they tell series apart; `details` are for the span alone.
    """

    counter: str
    unit: str
    text: str
    event: str
    labels: Callable[[Any], Attributes]
    details: Callable[[Any], Attributes]


def _outcome(event: CallEnded) -> Attributes:
    return {_POLICY: event.name, **({"error.type": event.code} if event.code else {})}


def _nothing(_: Event) -> Attributes:
    return {}


def _enforced(event: Retrying | Overran) -> Attributes:
    return {_ENFORCED: event.enforced}


def _after(event: Hedging | Overran) -> Attributes:
    return {"switchgear.after": event.after}


def _refusal(event: Refusing) -> Attributes:
    return {
        "switchgear.gate": event.kind,
        "switchgear.refusal": event.refusal.value,
        _ENFORCED: event.enforced,
    }


def _fallback(event: FellBack) -> Attributes:
    return {"switchgear.fallback": event.how, "error.type": event.code}


_KINDS: Final[dict[type, _Told]] = {
    AttemptEnded: _Told(
        "switchgear.attempts",
        "{attempt}",
        "Attempts by what they said of the dependency.",
        "attempt",
        lambda event: {"switchgear.health": event.verdict.health.value},
        _nothing,
    ),
    Coalesced: _Told(
        "switchgear.coalesced",
        "{call}",
        "Calls that joined an earlier one.",
        "coalesced",
        _nothing,
        _nothing,
    ),
    FellBack: _Told(
        "switchgear.fallbacks",
        "{call}",
        "Calls answered by a fallback.",
        "fallback",
        _fallback,
        lambda event: {} if event.age is None else {"switchgear.age": event.age},
    ),
    Hedging: _Told(
        "switchgear.hedges",
        "{attempt}",
        "Attempts sent beside another.",
        "hedge",
        _nothing,
        _after,
    ),
    Overran: _Told(
        "switchgear.overruns",
        "{call}",
        "Work that outlived its time.",
        "overrun",
        _enforced,
        _after,
    ),
    Refusing: _Told(
        "switchgear.refusals",
        "{call}",
        "Calls that a gate refused.",
        "refusal",
        _refusal,
        lambda event: {"switchgear.detail": event.detail},
    ),
    Retrying: _Told(
        "switchgear.retries",
        "{attempt}",
        "Attempts after the first.",
        "retry",
        _enforced,
        lambda event: {"switchgear.attempt": event.attempt, "switchgear.wait": event.wait},
    ),
    Transition: _Told(
        "switchgear.breaker.transitions",
        "{transition}",
        "Changes of a breaker's state.",
        "transition",
        lambda event: {_STATE: event.new.value},
        lambda event: {"switchgear.breaker.before": event.old.value, "switchgear.why": event.why},
    ),
}
