"""A retry budget: retries and hedges stay a fraction of the traffic, whatever fails."""

from math import inf
from typing import Final

from switchgear.policy.settings import BudgetSettings
from switchgear.policy.window import Window

__all__ = ["BudgetSettings", "RetryBudget"]


_DEFAULTS: Final = BudgetSettings()
# The kinds that the window counts.
_REQUESTS: Final = 0
_SPENT: Final = 1


class RetryBudget:
    """Allow extra attempts as a ratio of requests, not of calls in flight, plus a floor.

    One budget per dependency, shared by its retries and hedges: each request is deposited once,
    each further attempt withdrawn first. When everything fails, a dependency sees at most
    1 + `ratio` times the requests, plus the floor, which lets a quiet route retry at all. A ratio
    of calls in flight would grow with the very slowness that it should contain.

    Until the instant `edge`, adding one to `fresh` is a deposit, too: a frame does that by hand.
    """

    __slots__ = ("_denied", "_granted", "_ratio", "_reserve", "_window", "edge", "fresh")

    def __init__(self, settings: BudgetSettings = _DEFAULTS) -> None:
        self.edge = -inf
        self.fresh = 0  # requests of the newest bucket that are not in the window yet
        self._ratio = settings.ratio
        self._reserve = settings.floor * settings.window.span
        self._window = Window(2, settings.window)
        self._granted = self._denied = 0

    def deposit(self, now: float) -> None:
        """Record one request (its first attempt)."""
        self._gather()
        self._window.add(_REQUESTS, now)
        self.edge = self._window.edge

    def withdraw(self, now: float) -> bool:
        """Take one further attempt out of the budget; False says that it is spent."""
        self._gather()
        allowed = self._ratio * self._window.total(_REQUESTS, now) + self._reserve
        if self._window.total(_SPENT, now) + 1 > allowed:
            self._denied += 1
            return False
        self._window.add(_SPENT, now)
        self._granted += 1
        return True

    def statistics(self) -> dict[str, float | str]:
        """Return how many further attempts were granted and denied so far."""
        return {"granted": self._granted, "denied": self._denied}

    def _gather(self) -> None:
        """Bring the requests that were only counted into the window, in the bucket they fell."""
        if self.fresh:
            self._window.add(_REQUESTS, -inf, self.fresh)
            self.fresh = 0
