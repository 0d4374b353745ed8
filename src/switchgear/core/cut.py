"""Cuts: the alarms of attempts, which call their work off when its time is over."""

from math import inf
from typing import Any, Final, Protocol

from switchgear.core.sweep import Alarm, Sweep

__all__ = ["GRACE", "NOBODY", "Cut", "Cuts", "Watch"]

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
    of the bulkhead without a permit. `slot` is where it waits to ring again.

    One that never rang may be used again, and is kept in a chain by `spare` till then. It stays
    where it is armed, because calls that come one after the other are due one after the other: when
    its slot's time has come it is armed anew, if it is then in use at all. So most calls need
    neither arm an alarm nor disarm it: only one that is due before `start`, where its slot begins.
    """

    __slots__ = ("asked", "by_hand", "kept", "limit", "rings", "slot", "spare", "start", "sweep",
                 "watch", "work")  # fmt: skip

    def __init__(self, watch: Watch, work: Any, limit: float, asked: int, *, by_hand: bool) -> None:
        self.watch = watch
        self.work = work
        self.limit = limit
        self.asked = asked
        self.by_hand = by_hand
        self.rings = 0
        self.slot: set[Alarm] | None = None
        self.spare: Cut | None = None
        self.sweep: Sweep | None = None
        self.kept: set[Alarm] | None = None
        self.start = inf

    @property
    def idle(self) -> bool:
        """Whether it times nobody's work."""
        return self.work is NOBODY

    def arm(self, sweep: Sweep) -> None:
        """Have it ring at its limit."""
        self.disarm()
        limit = self.limit
        self.kept = sweep.arm(limit, self)
        self.sweep = sweep
        self.start = sweep.start if sweep.start <= limit < sweep.end else inf

    def disarm(self) -> None:
        """Have it ring no more."""
        if self.kept is not None:
            self.kept.discard(self)
            self.kept = None
            self.start = inf

    def ring(self) -> None:
        """Call the work off; when it rings again, the work has become a zombie."""
        self.kept = None
        self.start = inf
        if self.work is NOBODY:
            return
        if not self.rings and self.sweep is not None and self.sweep.now() < self.limit:
            self.arm(self.sweep)
            return
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


class Cuts:
    """The cuts of one frame that wait to be used again: as many as it had calls at once."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        self.first: Cut | None = None

    def take(self, watch: Watch, sweep: Sweep, work: Any, limit: float, *, by_hand: bool) -> Cut:
        """Have work called off at `limit`, by a cut that waits, or by a new one."""
        cut = self.first
        if cut is None or cut.sweep is not sweep:
            self.first = None  # they wait on another loop
            cut = Cut(watch, work, limit, work.cancelling(), by_hand=by_hand)
            cut.arm(sweep)
            return cut
        self.first = cut.spare
        cut.watch = watch
        cut.work = work
        cut.limit = limit
        cut.asked = work.cancelling()
        cut.by_hand = by_hand
        if limit < cut.start:
            cut.arm(sweep)
        return cut

    def give(self, cut: Cut) -> None:
        """Take one back that never rang. It keeps nobody alive who was timed by it."""
        cut.work = cut.watch = NOBODY
        cut.spare = self.first
        self.first = cut
