"""A sliding window: how often things happened during the last seconds."""

from typing import Final

from switchgear.policy.settings import WindowSettings

__all__ = ["Window", "WindowSettings"]


_DEFAULTS: Final = WindowSettings()


class Window:
    """Count events of a few kinds (numbered from 0) over the last `span` seconds.

    ::

        | b0 | b1 | b2 | ... | b9 |   each `span / buckets` wide, on multiples of that width;
                     ^ now            turning on empties what is older than `span`

    A total covers the bucket of `now` and the `buckets - 1` before it: between 90 and 100 % of the
    span with ten buckets. Recording adds to two integers and allocates nothing; a bucket is
    emptied once per turn. An instant before the newest one seen counts as the newest. `edge` is the
    instant at which the newest bucket ends.
    """

    __slots__ = ("_buckets", "_first", "_kinds", "_place", "_ring", "_totals", "_width", "edge")

    def __init__(self, kinds: int = 1, settings: WindowSettings = _DEFAULTS) -> None:
        self._kinds = kinds
        self._buckets = settings.buckets
        self._width = settings.span / settings.buckets
        self._place = 0  # the newest bucket's number on the clock's own scale
        self.edge = float("-inf")  # the instant at which the newest bucket ends
        self.clear()

    def add(self, kind: int, now: float, count: int = 1) -> None:
        """Record `count` events of a kind at `now`."""
        if now >= self.edge:
            self._turn(now)
        self._totals[kind] += count
        self._ring[self._first + kind] += count

    def total(self, kind: int, now: float) -> int:
        """Return how many events of a kind the window holds at `now`."""
        if now >= self.edge:
            self._turn(now)
        return self._totals[kind]

    def clear(self) -> None:
        """Forget everything."""
        self._ring = [0] * (self._kinds * self._buckets)
        self._totals = [0] * self._kinds

    def _turn(self, now: float) -> None:
        """Move on to the bucket of `now`, emptying each bucket that fell out of the span."""
        place = int(now // self._width)
        steps = place - self._place
        if steps >= self._buckets:
            self.clear()
        else:
            for passed in range(self._place + 1, place + 1):
                first = passed % self._buckets * self._kinds
                for kind in range(self._kinds):
                    self._totals[kind] -= self._ring[first + kind]
                    self._ring[first + kind] = 0
        self._place = place
        self._first = place % self._buckets * self._kinds  # where the bucket begins in the ring
        self.edge = (place + 1) * self._width
