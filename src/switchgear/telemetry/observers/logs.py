"""Logs: each event a sentence with structured fields, and an outage no flood.

During an outage a policy may refuse ten thousand calls a second, and every one for the same reason.
So kinds that come in crowds are throttled: `most` lines a second for each kind and policy, for
refusals also each gate and reason, and the next line says how many like it were left out.
"""

import logging
import time
from collections.abc import Callable
from inspect import getattr_static
from types import ModuleType
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
from switchgear.policy.breaker_settings import Transition

__all__ = ["LogObserver"]

Words = tuple[str, dict[str, Any]]

_MOST_KEYS: Final = 1000
_REST: Final = ("other",)


class LogObserver:
    """Write events to a logger of the standard library, or of structlog.

    Breakers that change their state and work that overruns are warnings; refusals and fallbacks
    are informative; all the rest is for debugging. Fields go into `extra`, with structlog into the
    event: `kind`, `policy`, and what the kind has. `clock` is for the throttle.

    Raises TypeError for what is no logger, such as the name of one.
    """

    def __init__(
        self,
        logger: Any = None,
        *,
        most: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if most < 1:
            raise ValueError(f"LogObserver.most is {most}, where at least 1 line would be right")
        if logger is not None and not _writes(logger):
            right = f"logging.getLogger({logger!r})" if isinstance(logger, str) else "a logger"
            raise TypeError(f"LogObserver.logger is {logger!r}, where {right} would be right")
        self._logger: Any = logging.getLogger("switchgear") if logger is None else logger
        self._plain = isinstance(self._logger, (logging.Logger, logging.LoggerAdapter))
        self._throttle = _Throttle(most, clock)

    def __call__(self, event: Event) -> None:
        known = _KINDS.get(type(event))
        if known is None:
            return
        kind, level, throttled, words = known
        if self._plain and not self._logger.isEnabledFor(level):
            return
        left_out = 0
        if throttled:
            gate = (event.gate, event.kind, event.refusal) if isinstance(event, Refusing) else ()
            left = self._throttle.left_out((kind, event.name, *gate))
            if left is None:
                return
            left_out = left
        text, fields = words(event)
        fields = {"kind": kind, "policy": event.name, **fields}
        if left_out:
            text = f"{text} ({left_out} more like it were left out)"
            fields["left_out"] = left_out
        self._write(level, text, fields)

    def _write(self, level: int, text: str, fields: dict[str, Any]) -> None:
        if self._plain:
            self._logger.log(level, text, extra=fields)
        elif level >= logging.WARNING:
            self._logger.warning(text, **fields)
        elif level >= logging.INFO:
            self._logger.info(text, **fields)
        else:
            self._logger.debug(text, **fields)


def _writes(logger: object) -> bool:
    """Say whether it is a logger, asking it nothing: structlog's would be configured by that."""
    if isinstance(logger, type | ModuleType):
        return False
    return hasattr(type(logger), "__getattr__") or all(
        getattr_static(logger, level, None) for level in ("debug", "info", "warning")
    )


class _Throttle:
    """So many lines per key and second; the rest is counted."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        # Of each key: the start of its second, the lines written in it, and what was left out.
        self._keys: dict[tuple[str, ...], tuple[float, int, int]] = {}

    def left_out(self, key: tuple[str, ...]) -> int | None:
        """Return how many lines were left out before this one, or None to leave it out too."""
        now = self._clock()
        if key not in self._keys and len(self._keys) >= _MOST_KEYS:
            key = _REST
        begun, written, left = self._keys.get(key, (now, 0, 0))
        if now - begun >= 1.0:
            begun, written = now, 0
        if written >= self._most:
            self._keys[key] = begun, written, left + 1
            return None
        self._keys[key] = begun, written + 1, 0
        return left


def _attempt_ended(event: AttemptEnded) -> Words:
    health = event.verdict.health.value
    return (
        f"{event.name}: attempt {event.attempt} was {health} after {event.elapsed:.3f} s",
        {"attempt": event.attempt, "health": health, "elapsed": event.elapsed},
    )


def _call_ended(event: CallEnded) -> Words:
    how = f"failed with {event.code}" if event.code else "succeeded"
    times = "1 attempt" if event.attempts == 1 else f"{event.attempts} attempts"
    return (
        f"{event.name}: a call {how} after {times} and {event.elapsed:.3f} s",
        {"attempts": event.attempts, "code": event.code, "elapsed": event.elapsed},
    )


def _refusing(event: Refusing) -> Words:
    was = "was refused" if event.enforced else "would have been refused"
    return (
        f"{event.name}: a call {was}: {event.detail}",
        {
            "gate": event.kind,
            "reason": event.refusal.value,
            "detail": event.detail,
            "enforced": event.enforced,
        },
    )


def _retrying(event: Retrying) -> Words:
    follows = "follows" if event.enforced else "would follow"
    return (
        f"{event.name}: attempt {event.attempt + 1} {follows} in {event.wait:.3f} s",
        {
            "attempt": event.attempt,
            "wait": event.wait,
            "health": event.verdict.health.value,
            "enforced": event.enforced,
        },
    )


def _hedging(event: Hedging) -> Words:
    return (
        f"{event.name}: another attempt was sent beside one silent for {event.after:.3f} s",
        {"after": event.after},
    )


def _overran(event: Overran) -> Words:
    how = "goes on past its time" if event.enforced else "is past the time it would have had"
    by = f", by {event.after:.3f} s," if event.after else ""
    return (
        f"{event.name}: work {how}{by} and still holds its permits",
        {"after": event.after, "enforced": event.enforced},
    )


def _fell_back(event: FellBack) -> Words:
    how = event.how if event.age is None else f"{event.how}, of {event.age:.3f} s ago"
    return (
        f"{event.name}: a fallback ({how}) answered a call that failed with {event.code}",
        {"how": event.how, "code": event.code, "age": event.age},
    )


def _coalesced(event: Coalesced) -> Words:
    return f"{event.name}: a call joined an earlier one that asks for the same", {}


def _transition(event: Transition) -> Words:
    old, new = event.old.replace("_", " "), event.new.replace("_", " ")
    return (
        f"{event.name}: the breaker went from {old} to {new}: {event.why}",
        {"old": event.old.value, "new": event.new.value, "why": event.why},
    )


# Of each kind: its name, its level, whether it comes in crowds, and how it is told.
_KINDS: Final[dict[type, tuple[str, int, bool, Callable[[Any], Words]]]] = {
    AttemptEnded: ("attempt_ended", logging.DEBUG, False, _attempt_ended),
    CallEnded: ("call_ended", logging.DEBUG, False, _call_ended),
    Coalesced: ("coalesced", logging.DEBUG, True, _coalesced),
    FellBack: ("fell_back", logging.INFO, True, _fell_back),
    Hedging: ("hedging", logging.DEBUG, True, _hedging),
    Overran: ("overran", logging.WARNING, True, _overran),
    Refusing: ("refusing", logging.INFO, True, _refusing),
    Retrying: ("retrying", logging.DEBUG, True, _retrying),
    Transition: ("transition", logging.WARNING, False, _transition),
}
