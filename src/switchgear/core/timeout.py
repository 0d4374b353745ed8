"""Timeouts: how long one attempt may take, and the alarm that calls its work off."""

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final

import msgspec

from switchgear.core.drivers import Work
from switchgear.core.sweep import Alarm
from switchgear.policy.fault import Code, Effect, Fault, Refusal

__all__ = ["Cut", "Timeout", "bounded", "expired", "overdue"]

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


class Cut(msgspec.Struct, eq=False):
    """The alarm of one attempt: calls its work off. A struct, because every attempt makes one."""

    work: Work
    asked: int  # how often others had called the work off when it was armed
    rang: bool = False

    def ring(self) -> None:
        """Call the work off."""
        self.rang = True
        self.work.cancel()

    def alone(self) -> bool:
        """Say, once its own call is taken back, whether nobody else has called the work off."""
        return self.work.cancelling() <= self.asked


@coroutine
def bounded(
    work: Coroutine[Any, Any, Any], waited: object, cut: Cut, slot: set[Alarm]
) -> Generator[Any, Any, Any]:
    """Go on with `work`, which was stepped by hand and now waits, until it ends or is cut."""
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
        slot.discard(cut)
        if cut.rang:
            cut.work.uncancel()


def overdue(name: str, timeout: Timeout, allowed: float, *, repeatable: bool) -> Fault:
    """Make the fault of an attempt whose time is over. A caller's hurry is no one's failure."""
    fair = timeout.fair(repeatable=repeatable)
    short = allowed < fair
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
