"""Timeouts: how long one attempt may take, and the alarm that calls its work off."""

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final

import msgspec

from switchgear.core.drivers import working
from switchgear.core.kit import Kit
from switchgear.core.sweep import Alarm
from switchgear.policy.fault import Code, Effect, Fault, Refusal

__all__ = ["Cut", "Timeout", "bounded", "expired"]

FAIR: Final = 0.8  # a timeout counts against the dependency from this share of its full time


class Timeout(msgspec.Struct, frozen=True):
    """How long one attempt may take, in seconds.

    A repeatable call gets `share` of what remains, at most `limit`; another gets all that
    remains. `full` is the deadline that the route is configured with: an attempt cut short
    because the caller left far less says nothing about the dependency.
    """

    full: float
    limit: float = 1.0
    share: float = 0.5

    def allow(self, remaining: float, *, repeatable: bool) -> float:
        """Return the seconds one attempt gets out of `remaining`."""
        return min(remaining * self.share, self.limit) if repeatable else remaining

    def fair(self, *, repeatable: bool) -> float:
        """Return the seconds from which a timeout is the dependency's own fault."""
        return FAIR * self.allow(self.full, repeatable=repeatable)


class Cut:
    """The alarm of one attempt: calls its work off. Whoever drives that work makes it."""

    __slots__ = ("_asked", "_work", "allowed", "rang", "repeatable", "timeout")

    def __init__(self, timeout: Timeout, allowed: float, *, repeatable: bool) -> None:
        self.timeout = timeout
        self.allowed = allowed
        self.repeatable = repeatable
        self.rang = False
        self._work = working()
        self._asked = self._work.cancelling()

    def ring(self) -> None:
        """Call the work off."""
        self.rang = True
        self._work.cancel()

    def arm(self, kit: Kit, until: float) -> set[Alarm]:
        """Have it ring at `until`."""
        return kit.sweep(self._work.get_loop()).arm(until, self)

    def disarm(self, slot: set[Alarm]) -> None:
        """Ring no more, and take back what the ringing asked for."""
        slot.discard(self)
        if self.rang:
            self._work.uncancel()

    def alone(self) -> bool:
        """Say, once it is disarmed, whether nobody else has called the work off too."""
        return self._work.cancelling() <= self._asked

    def fault(self, name: str) -> Fault:
        """Make the fault of its ringing. That a caller was in a hurry is no one's failure."""
        fair = self.timeout.fair(repeatable=self.repeatable)
        short = self.allowed < fair
        note = f"; the caller left less than the usual {fair:.3f} s" if short else ""
        return Fault(
            Code.DEADLINE_EXCEEDED,
            f"{name}: no answer within {self.allowed:.3f} s{note}",
            refusal=Refusal.HURRIED if short else None,
            origin=name,
        )


@coroutine
def bounded(
    work: Coroutine[Any, Any, Any], waited: object, cut: Cut, kit: Kit, until: float
) -> Generator[Any, Any, Any]:
    """Go on with `work`, which was stepped by hand and now waits, and ring `cut` at `until`.

    Only here does a call cost an alarm: one that never waits needs none, and to ask who drives it
    costs more than any of its gates (Python 3.11 asks the kernel for the process's id).
    """
    slot = cut.arm(kit, until)
    try:
        while True:
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - it is the work's, whatever it is
                waited = work.throw(error)
            else:
                return (yield from work.__await__())
    except StopIteration as ended:  # the work caught what was thrown, and returned
        return ended.value
    finally:
        cut.disarm(slot)


def expired(name: str, remaining: float) -> Fault:
    """Make the fault of a call whose deadline has passed: it was not even tried."""
    return Fault(
        Code.DEADLINE_EXCEEDED,
        f"{name}: the deadline had passed {-remaining:.3f} s before the work began",
        effect=Effect.NONE,
        refusal=Refusal.HURRIED,
        origin=name,
    )
