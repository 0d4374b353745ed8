"""Timeouts: how long one attempt may take, and what it is told whose time is over."""

from math import inf
from typing import Final

import msgspec

from switchgear.policy.fault import Code, Effect, Fault, Refusal

__all__ = ["Timeout", "expired", "overdue"]

FAIR: Final = 0.8  # a timeout counts against the dependency from this share of its full time


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


def overdue(
    name: str, timeout: Timeout, allowed: float, whole: float, *, repeatable: bool
) -> Fault:
    """Make the fault of an attempt whose time is over. A caller's hurry is no one's failure.

    `whole` is what the call had in all: where that was the usual time, nobody hurried it, and a
    late attempt had less only because those before it had taken theirs.
    """
    fair = timeout.fair(repeatable=repeatable)
    short = allowed < fair and whole < FAIR * timeout.full
    usual = f"less than the usual {fair:.3f} s" if fair < inf else "no more"
    note = f"; the caller left {usual}" if short else ""
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
