"""Checkpoints: how far a log was worked off when its records end out of order."""

from collections import deque

__all__ = ["Checkpoint"]


class Checkpoint:
    """Track records taken in order and settled in any; commit only what has no gap before it.

    ::

        taken      1 2 3 4 5
        settled    x x   x x      reached: 2, however long 3 takes

    `reached` is the offset of the last record of which every earlier one is settled too.
    """

    def __init__(self, reached: int = -1) -> None:
        self.reached = reached
        self._open: deque[int] = deque()
        self._settled: set[int] = set()

    @property
    def pending(self) -> int:
        """How many records lie between what was reached and what was taken last."""
        return len(self._open)

    def take(self, offset: int) -> None:
        """Note a record as taken.

        Raises ValueError for one that is not behind all that were taken: an order that goes
        back would make a gap look closed.
        """
        last = self._open[-1] if self._open else self.reached
        if offset <= last:
            raise ValueError(f"offset {offset} was taken behind {last}")
        self._open.append(offset)

    def settle(self, offset: int) -> bool:
        """Note a record as settled; say whether `reached` moved.

        Raises ValueError for one that is not out: it was never taken, or was settled before.
        """
        if offset in self._settled or offset not in self._open:  # bounded by the prefetch
            raise ValueError(f"offset {offset} is not out")
        self._settled.add(offset)
        before = self.reached
        while self._open and self._open[0] in self._settled:
            self.reached = self._open.popleft()
            self._settled.discard(self.reached)
        return self.reached != before
