"""A shedder: turns the cheapest traffic away while the process cannot keep up."""

from math import exp, inf
from typing import Final

import msgspec

from switchgear.policy import ranges
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import Verdict

__all__ = ["Shedder", "ShedderSettings"]


class ShedderSettings(msgspec.Struct, frozen=True):
    """From which lag on, and how much. Durations are in seconds.

    The lag is smoothed over `smoothing`. Shedding begins at a lag of `begin` and reaches
    everything but the exempt at `full`. Whoever is shed is told to come back after
    `retry_after`. A lag that was last observed more than `stale` ago counts as none.
    """

    begin: float = 0.05
    full: float = 0.5
    smoothing: float = 0.5
    retry_after: float = 1.0
    stale: float = 5.0

    def __post_init__(self) -> None:
        ranges.above(self, "begin", 0)
        ranges.above(self, "full", self.begin)
        ranges.above(self, "smoothing", 0)
        ranges.at_least(self, "retry_after", 0)
        ranges.above(self, "stale", 0)


_DEFAULTS: Final = ShedderSettings()
_EXEMPT: Final = 9  # the priority that always passes
_HEAVIEST: Final = 0.25  # what a single measurement can count for


class Shedder:
    """Refuse the lowest priorities first, as far up as the lag asks for.

    ::

        lag     begin . . . . . . . . . full
        level   0   1   2   3   4 ...      9     priorities below the level are shed, of the one
                                                 at the level the share that its fraction says

    The fraction keeps it steady: were a whole priority switched at a time, most traffic,
    being of one priority, would come and go together. The lag is fed from outside: how late the
    event loop runs, or how long work queues. Priority 9 (health, admin, drills) always passes.
    """

    def __init__(self, name: str, settings: ShedderSettings = _DEFAULTS) -> None:
        self.name = name
        self._settings = settings
        self._lag = 0.0
        self._observed_at = -inf
        self._level = 0.0
        self._shed = [0] * _EXEMPT
        self._owed = 0.0  # what is to be shed at the level and has not been, in calls
        self._admitted = self._settled = 0

    def observe_lag(self, seconds: float, now: float) -> None:
        """Take in one measurement of the lag (an exponentially weighted moving average).

        After a long gap it would count for nearly all, so its weight is bounded: one
        hiccup that has passed is no reason to turn everybody away.
        """
        settings = self._settings
        passed = max(0.0, now - self._observed_at)
        weight = min(_HEAVIEST, 1.0 - exp(-passed / settings.smoothing))
        self._lag += weight * (seconds - self._lag)
        self._observed_at = max(self._observed_at, now)
        above = (self._lag - settings.begin) / (settings.full - settings.begin)
        self._level = _EXEMPT * min(1.0, max(0.0, above))

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let a call through, or shed it."""
        if self._level and self._sheds(ask.priority, now):
            self._shed[ask.priority] += 1
            detail = f"'{self.name}' sheds priority {ask.priority}: it lags {self._lag:.3f} s"
            return Refused(Refusal.SHED, detail, self._settings.retry_after)
        self._admitted += 1
        return Permit(now)

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of shedder '{self.name}' was settled twice")
        permit.spent = True
        self._settled += 1
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: a shedder gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"shedder '{self.name}' gives out no waiting places")

    def statistics(self) -> dict[str, float | str]:
        """Return the smoothed lag, the level, and what was admitted, settled and shed."""
        figures: dict[str, float | str] = {
            "lag": self._lag,
            "level": self._level,
            "admitted": self._admitted,
            "settled": self._settled,
            "out": self._admitted - self._settled,
            "refused": sum(self._shed),
        }
        for priority, count in enumerate(self._shed):
            figures[f"shed_{priority}"] = count
        return figures

    def _sheds(self, priority: int, now: float) -> bool:
        if now - self._observed_at > self._settings.stale:
            self._level = self._lag = 0.0
            return False
        if priority >= _EXEMPT or priority > self._level:
            return False
        fraction = self._level - priority
        if fraction >= 1.0:
            return True
        self._owed += fraction
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True
