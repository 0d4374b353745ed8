"""Timeouts: how long one attempt may take, and the alarm that calls its work off."""

from typing import Final, Protocol

import msgspec

from switchgear.core.drivers import Work
from switchgear.core.sweep import Alarm
from switchgear.policy.fault import Code, Effect, Fault, Refusal

__all__ = ["Cut", "Timeout", "Watch", "expired", "overdue"]

FAIR: Final = 0.8  # a timeout counts against the dependency from this share of its full time
GRACE: Final = 0.1  # seconds that called-off work has to end before it counts as a zombie


class Timeout(msgspec.Struct, frozen=True):
    """How long one attempt may take, in seconds.

    A repeatable call gets `share` of what remains, at most `limit`; another gets all that
    remains. `full` is the deadline that the route is configured with: an attempt cut short
    because the caller left far less says nothing about the dependency. Where it is not to
    `enforce`, an attempt that takes longer is told of, and goes on.
    """

    full: float
    limit: float = 1.0
    share: float = 0.5
    enforce: bool = True

    def allow(self, remaining: float, *, repeatable: bool) -> float:
        """Return the seconds one attempt gets out of `remaining`."""
        return min(remaining * self.share, self.limit) if repeatable else remaining

    def fair(self, *, repeatable: bool) -> float:
        """Return the seconds from which a timeout is the dependency's own fault."""
        return FAIR * self.allow(self.full, repeatable=repeatable)


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


class Cut(msgspec.Struct, eq=False):
    """The alarm of one attempt: calls its work off, and notes if that goes on all the same.

    (A struct, because every attempt makes one. The garbage collector sees it: it holds the task
    that holds the frame that holds it, and a task may be thrown away unfinished.)
    """

    watch: Watch
    work: Work
    limit: float  # the instant at which it rings
    asked: int  # how often others had called the work off when it was armed
    by_hand: bool  # whether the work holds a place of the bulkhead without a permit
    rings: int = 0
    slot: set[Alarm] | None = None  # where it waits to ring again

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
        return self.work.cancelling() <= self.asked


def overdue(
    name: str, timeout: Timeout, allowed: float, whole: float, *, repeatable: bool
) -> Fault:
    """Make the fault of an attempt whose time is over. A caller's hurry is no one's failure.

    `whole` is what the call had in all: where that was the usual time, nobody hurried it, and a
    late attempt had less only because those before it had taken theirs.
    """
    fair = timeout.fair(repeatable=repeatable)
    short = allowed < fair and whole < FAIR * timeout.full
    note = f"; the caller left less than the usual {fair:.3f} s" if short else ""
    return Fault(
        Code.DEADLINE_EXCEEDED,
        f"{name}: no answer within {allowed:.3f} s{note}",
        refusal=Refusal.HURRIED if short else None,
        origin=name,
    )


def expired(name: str, remaining: float) -> Fault:
    """Make the fault of a call whose deadline has passed: it was not even tried."""
    return Fault(
        Code.DEADLINE_EXCEEDED,
        f"{name}: the deadline had passed {-remaining:.3f} s before the work began",
        effect=Effect.NONE,
        refusal=Refusal.HURRIED,
        origin=name,
    )
