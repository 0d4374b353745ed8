"""An adaptive limit: as many calls in flight as a dependency takes without becoming slow."""

from math import exp, inf, sqrt
from typing import Final

import msgspec

from switchgear.policy import ranges
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import Health, Verdict

__all__ = ["AdaptiveLimit", "AdaptiveSettings"]


class AdaptiveSettings(msgspec.Struct, frozen=True):
    """Between which limits it moves, and by what. Durations are in seconds.

    The limit begins at `initial` and stays from `least` to `most`. Latencies are averaged over a
    `window`, prolonged until it holds `samples`. The limit holds as long as that average stays
    within `tolerance` times the long one, which looks back over about `memory`. Each window moves
    the limit by the share `smoothing` of the way.
    """

    initial: float = 20.0
    least: float = 4.0
    most: float = 200.0
    tolerance: float = 1.5
    smoothing: float = 0.2
    window: float = 0.25
    samples: int = 10
    memory: float = 300.0

    def __post_init__(self) -> None:
        ranges.at_least(self, "least", 1)
        ranges.at_least(self, "most", self.least)
        ranges.between(self, "initial", self.least, self.most)
        ranges.at_least(self, "tolerance", 1)
        ranges.between(self, "smoothing", 0.01, 1)
        ranges.above(self, "window", 0)
        ranges.at_least(self, "samples", 1)
        ranges.above(self, "memory", 0)


_DEFAULTS: Final = AdaptiveSettings()
_GOOD: Final = Health.GOOD
_NEUTRAL: Final = Health.NEUTRAL
_STEEPEST: Final = 0.5  # no window takes more than this share of the limit away
_QUICKER: Final = 10.0  # how much sooner is learnt what cannot be our own crowding


class AdaptiveLimit:
    """Admit as many calls at once as the dependency takes at its usual pace; refuse the rest.

    ::

        gradient = tolerance x long / short          from 0.5 to 1
        limit    = limit x gradient + sqrt(limit)    smoothed, from `least` to `most`

    `short` is the average latency of the last window, `long` that of the last minutes. While calls
    go as quickly as ever the limit grows by a small queue, the square root; once they queue
    in the dependency the gradient takes away more than that. No idle minimum is ever measured,
    so traffic is never held back for the sake of a measurement. The limit moves only by
    windows in which at least half of it was in use: the rest says nothing about it.

    BAD calls count as at least twice what is tolerated, however fast they failed, and are no
    part of the long average; NEUTRAL ones teach nothing. The long average follows
    sooner (`memory` / 10) what cannot be our own crowding: latencies seen at less than half use,
    those that fell by half, and those that stay after the limit has been halved for them. Under a
    demand without end it is drawn upwards by the very queue that it should detect, so the
    limit then creeps towards `most`, slowly.

    It has no queue of its own. A call heavier than the whole limit goes alone, else it never
    would. Work that never ends keeps its place.

    Source: Netflix, concurrency-limits (Gradient2).
    """

    kind: Final = "adaptive"
    bounds: Final = True  # a place is taken until the work has really ended

    def __init__(self, name: str, settings: AdaptiveSettings = _DEFAULTS) -> None:
        self.name = name
        self._settings = settings
        self._limit = float(settings.initial)
        self._in_flight = self._peak = 0  # by weight; the most since the window began
        self._short = self._long = 0.0
        self._learnt_at = -inf  # when the long average last learnt
        self._well = 0.0  # the limit when calls last went as quickly as usual
        self._ends = -inf  # the instant at which the window may end
        self._sum = self._bad_sum = 0.0  # seconds
        self._good = self._bad = 0
        self._admitted = self._settled = self._refused = 0
        self._vacated = -inf  # when all that was in flight by then was left to another process

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let one call in, or refuse it because the limit is reached.

        Raises:
            ValueError: its weight is not at least 1.
        """
        weight = ask.weight
        in_flight = self._in_flight + weight
        if weight < 1 or (in_flight > self._limit and in_flight > weight):
            return self._refuse(ask)
        self._in_flight = in_flight
        if in_flight > self._peak:
            self._peak = in_flight
        self._admitted += 1
        return Permit(now, 0, weight)

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit and learn from how long its call took. Nobody ever waits here.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of adaptive limit '{self.name}' was settled twice")
        permit.spent = True
        if permit.at < self._vacated:
            return ()
        self._in_flight -= permit.weight
        self._settled += 1
        health = verdict.health
        if health is not _NEUTRAL:
            ended = now if permit.answered is None else permit.answered
            elapsed = max(0.0, ended - permit.at)
            if health is _GOOD:
                self._good += 1
                self._sum += elapsed
            else:
                self._bad += 1
                self._bad_sum += elapsed
            if now >= self._ends and self._good + self._bad >= self._settings.samples:
                self._conclude(now)
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: an adaptive limit gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"adaptive limit '{self.name}' gives out no waiting places")

    def vacate(self, now: float) -> None:
        """Have nothing in flight: what is was left to another process, by a fork.

        What came in before `now` changes nothing, should its end be met with here all the same.
        """
        self._vacated = now
        self._in_flight = self._peak = 0
        self._settled = self._admitted

    def statistics(self) -> dict[str, float | str]:
        """Return the limit, what is in flight by weight, both averages in seconds, and the counts.

        An average is 0 while nothing is known.
        """
        return {
            "limit": self._limit,
            "in_flight": self._in_flight,
            "short": self._short,
            "long": self._long,
            "admitted": self._admitted,
            "settled": self._settled,
            "out": self._admitted - self._settled,
            "refused": self._refused,
        }

    def _refuse(self, ask: Ask) -> Refused:
        if ask.weight < 1:
            raise ValueError(f"{ask!r}: a weight from 1 would be right")
        self._refused += 1
        taken = f"{self._in_flight} in flight of {self._limit:.1f}"
        return Refused(Refusal.FULL, f"adaptive limit '{self.name}' is reached: {taken}")

    def _conclude(self, now: float) -> None:
        """End the window: learn from it, and move the limit if it was in use."""
        settings = self._settings
        busy = self._peak * 2 >= self._limit
        if self._good:
            self._short = self._sum / self._good
            self._learn(self._short, busy and self._limit * 2 >= self._well, now)
        if busy:
            gradient = self._gradient()
            wanted = self._limit * gradient + sqrt(self._limit)
            moved = self._limit + settings.smoothing * (wanted - self._limit)
            self._limit = min(float(settings.most), max(float(settings.least), moved))
            if gradient == 1.0:
                self._well = self._limit
        self._ends = now + settings.window
        self._peak = self._in_flight
        self._sum = self._bad_sum = 0.0
        self._good = self._bad = 0

    def _learn(self, short: float, crowded: bool, now: float) -> None:
        """Draw the long average to the short one, by the time since it was last drawn."""
        memory = self._settings.memory
        if not crowded or 2 * short < self._long:
            memory /= _QUICKER
        weight = 1.0 - exp((self._learnt_at - now) / memory)  # the whole of it the first time
        self._long += weight * (short - self._long)
        self._learnt_at = now

    def _gradient(self) -> float:
        """Return the share of the limit that the window leaves standing."""
        if self._learnt_at == -inf:
            return _STEEPEST  # nothing but failures so far
        tolerated = self._settings.tolerance * self._long
        bad_sum = max(self._bad_sum, self._bad * tolerated / _STEEPEST)
        mean = (self._sum + bad_sum) / (self._good + self._bad)
        return 1.0 if mean <= tolerated else max(_STEEPEST, tolerated / mean)
