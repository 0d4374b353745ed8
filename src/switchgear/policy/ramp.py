"""A ramp: lets traffic back in by a share that grows, spread evenly, without drawing lots."""

from math import inf

__all__ = ["Ramp"]


class Ramp:
    """Admit a share of the calls that grows from nothing to all within `span` seconds.

    The share is carried forward as in error diffusion: each call adds the present share to what is
    saved, and goes through when that reaches one whole call. So at a share of a quarter it
    is exactly every fourth call, and a quiet route is not left to chance. The first call after
    `start` goes through.
    """

    __slots__ = ("_from", "_saved", "_span")

    def __init__(self, span: float) -> None:
        self._span = span
        self._from = -inf
        self._saved = 0.0

    def start(self, now: float) -> None:
        """Begin at a share of nothing."""
        self._from = now
        self._saved = 1.0

    def share(self, now: float) -> float:
        """Return the share that is admitted at `now`, from 0 to 1."""
        passed = now - self._from
        if passed >= self._span:
            return 1.0
        return max(0.0, passed / self._span) if self._span else 0.0

    def admits(self, now: float) -> bool:
        """Decide on one call."""
        saved = self._saved + self.share(now)
        self._saved = saved - 1.0 if saved >= 1.0 else saved
        return saved >= 1.0

    def left(self, now: float) -> float:
        """Return the seconds until the whole traffic is admitted."""
        return max(0.0, self._from + self._span - now)
