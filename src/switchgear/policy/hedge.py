"""Hedging: when a second attempt beside the first is worth its cost."""

from typing import Final

import msgspec

from switchgear.policy import ranges
from switchgear.policy.quantile import Latencies, LatencySettings

__all__ = ["Hedge", "HedgeSettings"]


class HedgeSettings(msgspec.Struct, frozen=True):
    """From when on, and how many more. Durations are in seconds.

    Another attempt is due once the first has taken longer than the share `quantile` of the latest
    ones, yet never before `least`. At most `most_extra` are sent beside the first. Nothing is
    hedged before `samples` attempts were seen within `span`.
    """

    quantile: float = 0.95
    least: float = 0.005
    most_extra: int = 1
    samples: int = 20
    span: float = 30.0

    def __post_init__(self) -> None:
        ranges.between(self, "quantile", 0, 1)
        ranges.at_least(self, "least", 0)
        ranges.between(self, "most_extra", 1, 10)
        ranges.at_least(self, "samples", 1)
        ranges.above(self, "span", 0)


_DEFAULTS: Final = HedgeSettings()


class Hedge:
    """Say after which time an attempt is so late that another is sent beside it.

    Only the slowest one in twenty is worth a second attempt: that cuts the tail, for five per
    cent more work. A time fixed beforehand would double the load just when everything becomes
    slow; this one moves with the dependency, and the retry budget bounds the rest. Only repeatable
    calls may be hedged.

    Source: Dean and Barroso, The Tail at Scale (CACM, 2013).
    """

    def __init__(self, settings: HedgeSettings = _DEFAULTS) -> None:
        self.most_extra = settings.most_extra
        self._quantile = settings.quantile
        self._least = settings.least
        self._latencies = Latencies(LatencySettings(settings.span, settings.samples))

    def delay(self, now: float) -> float | None:
        """Return the seconds after which to send another attempt, or None while nothing is known.

        They count from the start of the latest attempt.
        """
        usual = self._latencies.quantile(self._quantile, now)
        return None if usual is None else max(usual, self._least)

    def observe(self, elapsed: float, now: float) -> None:
        """Take in how long one attempt took, in seconds.

        One that was called off, because another answered first, counts with the time that it had
        taken by then: left out, the slow ones would never be seen, and each hedge would bring
        the next one forward.
        """
        self._latencies.observe(elapsed, now)
