"""Probes: the few calls that find out whether a dependency is well again."""

from switchgear.policy.gate import Permit

__all__ = ["Probes"]


class Probes:
    """Lease one place at a time to a probe, and count how the probes went.

    A probe that is given back, whatever its verdict, frees its place at once. One that never comes
    home (lost, cancelled without a word, hung) loses the place when its `lease` in seconds is over,
    so it cannot keep a breaker half open for ever.
    """

    __slots__ = ("_holder", "_lease", "lapsed", "slow", "succeeded")

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._holder: Permit | None = None
        self.succeeded = 0
        self.slow = 0
        self.lapsed = 0

    def clear(self) -> None:
        """Begin anew: nobody holds the place, nothing has been learned."""
        self._holder = None
        self.succeeded = self.slow = 0

    def vacate(self) -> None:
        """Free the place of a probe that will never come home."""
        self._holder = None

    def left(self, now: float) -> float:
        """Return the seconds until the place is surely free; 0 says that it is."""
        if self._holder is None:
            return 0.0
        return max(0.0, self._holder.at + self._lease - now)

    def lease(self, permit: Permit) -> None:
        """Give the place to a permit. Ask `left` first."""
        self.lapsed += self._holder is not None
        self._holder = permit

    def give_back(self, permit: Permit) -> None:
        """Free the place, if this permit still holds it."""
        if self._holder is permit:
            self._holder = None

    def count(self, slow: bool) -> None:
        """Record a probe that succeeded."""
        self.succeeded += 1
        self.slow += slow
