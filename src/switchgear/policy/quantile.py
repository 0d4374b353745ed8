"""Quantiles: how long calls have taken of late, cheaply noted and cheaply asked for."""

from collections.abc import Sequence
from math import ceil, exp, inf, log
from typing import Final

from switchgear.policy.settings import LatencySettings

__all__ = ["Latencies", "LatencySettings"]


_DEFAULTS: Final = LatencySettings()
_SHORTEST: Final = 1e-5  # seconds: up to here all are alike, and so are all from the longest on
_LONGEST: Final = 1e4
_STEPS: Final = 20.0  # buckets for each factor of e, so that each is 5 % wide
_SHIFT: Final = -_STEPS * log(_SHORTEST)
_LAST: Final = int(_STEPS * log(_LONGEST) + _SHIFT) + 1
_EMPTY: Final = (0,) * (_LAST + 1)
_FRESH: Final = 16  # a quantile is counted anew when more than one sample in so many is new


class Latencies:
    """Tell below which time a share of the latest calls stayed.

    ::

        | previous half | present half |    each `span / 2` wide, on multiples of that width
                             ^ now          turning on forgets the previous one

    A logarithmic histogram: what is told is within 2.6 % of the sample at the nearest rank,
    from 10 us to 10,000 s. It covers the present half of the span and the whole one before,
    so a memory of the past is gone after `span` at the latest. Observing adds to an integer;
    a quantile once told is told again until more than a sixteenth of the samples is new, or
    the half is over. An instant before the newest one seen counts as the newest.
    """

    __slots__ = ("_due", "_ends", "_half", "_lowest", "_past", "_past_lowest", "_present",
                 "_samples", "_seen", "_told")  # fmt: skip

    def __init__(self, settings: LatencySettings = _DEFAULTS) -> None:
        self._half = settings.span / 2
        self._samples = settings.samples
        self._ends = -inf  # the instant at which the present half is over: nothing is begun yet
        self._present: list[int]
        self._past: Sequence[int]
        self._lowest: int  # the first bucket of the present that holds any
        self._past_lowest: int
        self._seen: int  # how many samples both halves hold
        self._due: float  # from how many on quantiles are counted anew
        self._told: dict[float, float] = {}

    def observe(self, seconds: float, now: float, calls: int = 1) -> None:
        """Take in how long one call took, as a sample of so many."""
        if now >= self._ends:
            self._turn(now)
        if seconds <= _SHORTEST:
            place = 0
        elif seconds < _LONGEST:
            place = int(_STEPS * log(seconds) + _SHIFT) + 1
        else:
            place = _LAST
        self._lowest = min(self._lowest, place)
        self._present[place] += calls
        self._seen += calls

    def quantile(self, share: float, now: float) -> float | None:
        """Return the seconds within which `share` (from 0 to 1) of the calls ended.

        None while there are fewer than `samples`.
        """
        if now >= self._ends:
            self._turn(now)
        seen = self._seen
        if seen < self._samples:
            return None
        told = self._told
        if seen >= self._due:
            told.clear()
            self._due = float(seen + seen // _FRESH + 1)
        seconds = told.get(share)
        if seconds is None:
            seconds = told[share] = self._count(share)
        return seconds

    def seen(self, now: float) -> int:
        """Return how many samples there are to judge by."""
        if now >= self._ends:
            self._turn(now)
        return self._seen

    def _count(self, share: float) -> float:
        wanted = ceil(share * self._seen)
        present, past = self._present, self._past
        place = min(self._lowest, self._past_lowest)
        found = present[place] + past[place]
        while found < wanted:
            place += 1
            found += present[place] + past[place]
        # The middle of a bucket in the same logarithmic measure.
        return exp((place - 0.5 - _SHIFT) / _STEPS) if place else _SHORTEST

    def _turn(self, now: float) -> None:
        """Move on to the half of `now`, forgetting those before the last."""
        number = now // self._half
        if now < self._ends + self._half:
            self._past, self._past_lowest = self._present, self._lowest
        else:
            self._past, self._past_lowest = _EMPTY, _LAST
        self._present, self._lowest = list(_EMPTY), _LAST
        self._seen = sum(self._past)
        self._due = -inf
        self._ends = (number + 1) * self._half
