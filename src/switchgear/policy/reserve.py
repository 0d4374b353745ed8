"""A reserve: the last places of a bulkhead, of which nobody gets more than his part."""

from collections.abc import Callable
from typing import Final

from switchgear.policy.gate import Ask, Permit

__all__ = ["Reserve"]

_PARTS: Final = 4  # so many clients take all of it at the least


class Reserve:
    """So many `places`, of which each client gets up to a quarter; `free` are not taken.

    Who has taken all that is before it gets that much more, and there is room for others. `whose`
    tells by the key of an ask whom it is for. What is remembered is bounded by the places.
    """

    __slots__ = ("_each", "_held", "_out", "_whose", "free")

    def __init__(self, places: int, whose: Callable[[str], str]) -> None:
        self.free = places
        self._each = max(1, places // _PARTS)
        self._whose = whose
        self._held: dict[str, int] = {}
        self._out: dict[Permit, str] = {}

    def is_due(self, ask: Ask) -> bool:
        """Say whether an ask is within the part of who asks, be there room for it or not."""
        return self._held.get(self._whose(ask.key), 0) + ask.weight <= self._each

    def take(self, permit: Permit, ask: Ask) -> None:
        """Give places to a permit, for an ask that is due."""
        who = self._whose(ask.key)
        self.free -= ask.weight
        self._held[who] = self._held.get(who, 0) + ask.weight
        self._out[permit] = who

    def give(self, permit: Permit) -> bool:
        """Take the places of a permit back, if it has any of these."""
        who = self._out.pop(permit, None)
        if who is None:
            return False
        self.free += permit.weight
        self._held[who] -= permit.weight
        if not self._held[who]:
            del self._held[who]
        return True

    def __len__(self) -> int:
        """Return how many clients have places of it, who alone are remembered."""
        return len(self._held)
