"""Cuts: the alarms of attempts, which call their work off when its time is over."""

from typing import Any, Final, Protocol

from switchgear.core.sweep import Alarm

__all__ = ["GRACE", "NOBODY", "Cut", "Watch"]

GRACE: Final = 0.1  # seconds that called-off work has to end before it counts as a zombie
NOBODY: Final[Any] = None
"""Whose work a cut times that waits to be used again."""


class Watch(Protocol):
    """Who is told by the alarms of its attempts. `enforces`: it calls their work off."""

    @property
    def enforces(self) -> bool: ...

    def rang(self, cut: "Cut", /) -> "set[Alarm] | None":
        """Take in that an attempt's time is over; return where its alarm waits to ring again."""
        ...

    def ended(self, cut: "Cut", /) -> None:
        """Take in that the work of an attempt whose alarm has rung has ended."""
        ...


class Cut:
    """The alarm of one attempt: calls its work off, and notes if that goes on all the same.

    `work` is what drives the attempt, a `Work`, and `asked` how often others had called that off
    when the alarm was armed. It rings at the instant `limit`. `by_hand`: the attempt holds a place
    of the bulkhead without a permit. `slot` is where it waits to ring again. One that never rang
    may be used again, and is kept in a chain by `spare` till then.
    """

    __slots__ = ("asked", "by_hand", "limit", "rings", "slot", "spare", "watch", "work")

    def __init__(self, watch: Watch, work: Any, limit: float, asked: int, *, by_hand: bool) -> None:
        self.watch = watch
        self.work = work
        self.limit = limit
        self.asked = asked
        self.by_hand = by_hand
        self.rings = 0
        self.slot: set[Alarm] | None = None
        self.spare: Cut | None = None

    def ring(self) -> None:
        """Call the work off; when it rings again, the work has become a zombie."""
        self.rings += 1
        self.slot = self.watch.rang(self)

    def off(self) -> None:
        """Take back what was rung for: the work has ended."""
        if self.slot is not None:
            self.slot.discard(self)
        self.watch.ended(self)

    @property
    def enforced(self) -> bool:
        """Whether the work was really called off."""
        return self.watch.enforces

    def alone(self) -> bool:
        """Say, once its own call is taken back, whether nobody else has called the work off."""
        asked: int = self.work.cancelling()
        return asked <= self.asked
