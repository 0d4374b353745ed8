"""The room: how many connections all pools of a process may have open together.

When it is full, whoever needs one takes the place of the connection that has been idle the longest,
in whatever pool that is; only when none is idle is anybody refused.
"""

from math import inf
from typing import Protocol

__all__ = ["Lodger", "Room"]


class Lodger(Protocol):
    """A pool, as its room sees it."""

    def idle_since(self) -> float:
        """Return since when its longest idle connection has been idle; infinity for none."""
        ...

    def evict(self) -> None:
        """Close that connection."""
        ...


class Room:
    """Places for `connections`, shared by the pools that are given it."""

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self.taken = 0
        self.refused = 0
        self.evicted = 0
        self._lodgers: set[Lodger] = set()

    def join(self, lodger: Lodger) -> None:
        """Let a pool take places."""
        self._lodgers.add(lodger)

    def part(self, lodger: Lodger) -> None:
        """Look for idle connections there no longer."""
        self._lodgers.discard(lodger)

    def enter(self) -> bool:
        """Take a place; say whether there was one to be had."""
        if self.taken >= self.connections and not self._clear():
            self.refused += 1
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def _clear(self) -> bool:
        oldest = min(self._lodgers, key=lambda one: one.idle_since(), default=None)
        if oldest is None or oldest.idle_since() == inf:
            return False
        self.evicted += 1
        oldest.evict()
        return self.taken < self.connections

    def statistics(self) -> dict[str, int]:
        """Return the present figures."""
        return {
            "connections": self.connections,
            "taken": self.taken,
            "refused": self.refused,
            "evicted": self.evicted,
        }
