"""A shedder: turns the cheapest traffic away while the process cannot keep up."""

from math import exp, inf
from typing import Final

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.settings import ShedderSettings
from switchgear.policy.verdict import Verdict

__all__ = ["Shedder", "ShedderSettings"]


_DEFAULTS: Final = ShedderSettings()
_EXEMPT: Final = 9  # the priority that always passes
_HEAVIEST: Final = 0.25  # what a single measurement can count for
_LONGEST: Final = 2.0  # ... and no longer than this, in times of what sheds everything


class _Signal:
    """One sign that the process cannot keep up: smoothed seconds, and the level they call for.

    The average is weighted exponentially. After a long gap one measurement would count for nearly
    all, so its weight is bounded, and so is its length (a process that was stopped for a minute has
    one that long): one hiccup that has passed is no reason to turn everybody away.
    """

    __slots__ = ("_begin", "_longest", "_observed_at", "_smoothing", "_stale", "_width", "level",
                 "seconds")  # fmt: skip

    def __init__(self, begin: float, full: float, smoothing: float, stale: float) -> None:
        self._begin = begin
        self._width = full - begin
        self._longest = full * _LONGEST
        self._smoothing = smoothing
        self._stale = stale
        self._observed_at = -inf
        self.seconds = 0.0
        self.level = 0.0

    def observe(self, seconds: float, now: float) -> None:
        self.forget(now)
        passed = max(0.0, now - self._observed_at)
        weight = min(_HEAVIEST, 1.0 - exp(-passed / self._smoothing))
        self.seconds += weight * (min(seconds, self._longest) - self.seconds)
        self._observed_at = max(self._observed_at, now)
        above = (self.seconds - self._begin) / self._width
        self.level = _EXEMPT * min(1.0, max(0.0, above))

    def forget(self, now: float) -> None:
        """Be as new if what was last observed is stale."""
        if self._observed_at < now - self._stale:
            self.seconds = self.level = 0.0


class Shedder:
    """Refuse the lowest priorities first, as far up as the worse of lag and queue asks for.

    ::

        lag     begin . . . . . . . . . full
        level   0   1   2   3   4 ...      9     priorities below the level are shed, of the one
                                                 at the level the share that its fraction says

    The fraction keeps it steady: were a whole priority switched at a time, most traffic,
    being of one priority, would come and go together. While the level is 0, nobody need ask: to let
    a call through comes to adding one to `waved`. Both signs are fed from outside: how late
    the event loop runs (too much to compute), and how long calls queued before they were begun
    (too much to wait for). Priority 9 (health, admin, drills) always passes; one below 0 counts
    as 0.
    """

    kind: Final = "shedder"

    def __init__(self, name: str, settings: ShedderSettings = _DEFAULTS) -> None:
        self.name = name
        self._settings = settings
        smoothing, stale = settings.smoothing, settings.stale
        self._lag = _Signal(settings.begin, settings.full, smoothing, stale)
        self._queue = _Signal(settings.queue_begin, settings.queue_full, smoothing, stale)
        self.level = 0.0  # the worse of the two; while it is 0, nobody is shed
        self.waved = 0
        self._shed = [0] * _EXEMPT
        self._owed = 0.0  # what is to be shed at the level and has not been, in calls
        self._admitted = self._settled = 0

    def observe_lag(self, seconds: float, now: float) -> None:
        """Take in how late the event loop ran, once."""
        self._lag.observe(seconds, now)
        self.level = max(self._lag.level, self._queue.level)

    def observe_queue(self, seconds: float, now: float) -> None:
        """Take in how long one call queued before it was begun, or has been queueing so far."""
        self._queue.observe(seconds, now)
        self.level = max(self._lag.level, self._queue.level)

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let a call through, or shed it."""
        if self.level and self._sheds(ask.priority, now):
            return self._refuse(max(0, ask.priority))
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
        """Return lag and queue delay, smoothed, the level, and what was admitted and shed."""
        figures: dict[str, float | str] = {
            "lag": self._lag.seconds,
            "queue": self._queue.seconds,
            "level": self.level,
            "admitted": self._admitted + self.waved,
            "settled": self._settled + self.waved,
            "out": self._admitted - self._settled,
            "refused": sum(self._shed),
        }
        for priority, count in enumerate(self._shed):
            figures[f"shed_{priority}"] = count
        return figures

    def _sheds(self, priority: int, now: float) -> bool:
        self._lag.forget(now)
        self._queue.forget(now)
        level = self.level = max(self._lag.level, self._queue.level)
        if priority >= level:  # so does the exempt one at any level
            return False
        fraction = level - max(0, priority)
        if fraction >= 1.0:
            return True
        self._owed += fraction
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True

    def _refuse(self, priority: int) -> Refused:
        self._shed[priority] += 1
        if self._queue.level > self._lag.level:
            why = f"calls queue for {self._queue.seconds:.3f} s"
        else:
            why = f"it lags {self._lag.seconds:.3f} s"
        detail = f"'{self.name}' sheds priority {priority}: {why}"
        return Refused(Refusal.SHED, detail, self._settings.retry_after)
