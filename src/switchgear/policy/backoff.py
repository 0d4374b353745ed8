"""Backoff: how long to wait before another attempt, and when to stop trying."""

from collections.abc import Callable
from typing import Final

import msgspec

from switchgear.policy import ranges
from switchgear.policy.verdict import Verdict

__all__ = ["Backoff", "BackoffSettings"]


class BackoffSettings(msgspec.Struct, frozen=True):
    """How often and how soon. Durations are in seconds.

    `attempts` counts the first one too. The wait before attempt n + 1 is drawn from nothing up
    to `base` x 2^(n - 1), at most `cap`. A dependency that asks for more than
    `longest_retry_after` is not tried again.
    """

    attempts: int = 3
    base: float = 0.025
    cap: float = 0.25
    longest_retry_after: float = 3.0

    def __post_init__(self) -> None:
        ranges.between(self, "attempts", 1, 100)
        ranges.at_least(self, "base", 0)
        ranges.at_least(self, "cap", self.base)
        ranges.at_least(self, "longest_retry_after", 0)


_DEFAULTS: Final = BackoffSettings()


class Backoff:
    """Space the attempts by exponential backoff with full jitter.

    Full jitter, because callers who failed together must not come back together; a wait that
    the dependency asked for is added to, never cut. `random` returns a number in [0, 1).

    Source: Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015).
    """

    def __init__(
        self, settings: BackoffSettings = _DEFAULTS, *, random: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._random = random

    def delay(self, attempt: int, verdict: Verdict, retry_after: float | None) -> float | None:
        """Return the seconds to wait after `attempt` (from 1) ended, or None to stop."""
        settings = self._settings
        if attempt >= settings.attempts or not verdict.again:
            return None
        most = min(settings.cap, settings.base * 2.0 ** (attempt - 1))
        wait = self._random() * most
        if retry_after is None:
            return wait
        if not retry_after <= settings.longest_retry_after:  # so that NaN, too, stops
            return None
        return max(0.0, retry_after) + wait
