"""Health: the words in which an attempt is judged, and what each code of a fault says in them."""

from enum import Enum
from typing import Final, NamedTuple

from switchgear.policy.fault import Code

__all__ = [
    "BAD",
    "BAD_AGAIN",
    "BY_CODE",
    "GOOD",
    "NEUTRAL",
    "NEUTRAL_AGAIN",
    "Health",
    "Verdict",
    "worse",
]


class Health(Enum):
    """Is the dependency well? NEUTRAL: this ending says nothing about it."""

    GOOD = "good"
    NEUTRAL = "neutral"
    BAD = "bad"


class Verdict(NamedTuple):
    """The dependency's `health`, whether another attempt may help, and `after` how many seconds."""

    health: Health
    again: bool = False
    after: float | None = None


GOOD: Final = Verdict(Health.GOOD)
NEUTRAL: Final = Verdict(Health.NEUTRAL)
NEUTRAL_AGAIN: Final = Verdict(Health.NEUTRAL, again=True)
BAD: Final = Verdict(Health.BAD)
BAD_AGAIN: Final = Verdict(Health.BAD, again=True)

# A code that is missing here means that the dependency answered: it is well.
BY_CODE: Final = {
    Code.UNAVAILABLE: BAD_AGAIN,
    Code.DEADLINE_EXCEEDED: BAD_AGAIN,
    Code.RESOURCE_EXHAUSTED: BAD_AGAIN,
    Code.ABORTED: Verdict(Health.GOOD, again=True),
    Code.INTERNAL: BAD,
    Code.UNKNOWN: BAD,
    Code.DATA_LOSS: BAD,
    Code.CANCELLED: NEUTRAL,
}


def worse(first: Verdict, second: Verdict) -> Verdict:
    """Join two verdicts on one attempt (its head's and its end's): BAD wins, then NEUTRAL."""
    if first.health is Health.BAD:
        return first
    if second.health is Health.BAD:
        return second
    return first if first.health is Health.NEUTRAL else second
