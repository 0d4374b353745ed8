"""Fallbacks, the pure part: which failures are answered in another way, and the last good values.

A fallback speaks for a dependency that gave no answer. Where it did answer, and be it with a no,
its word stands: a fallback that turns "there is no such user" into a value tells a lie.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

from switchgear.policy.fault import Fault
from switchgear.policy.verdict import Health, Verdict, judge

__all__ = ["Kept", "LastGood", "covers", "covers_answer"]


def covers(error: BaseException) -> bool:
    """Say whether a call that failed by `error` may be answered by a fallback.

    Yes for what `judge` calls BAD, for every declared refusal, and for a deadline. The measure is
    the breaker's own: what may open it is covered before it opens as it is covered after, so that
    callers do not see the state of a breaker. (Therefore a defect is covered too: the observer is
    told its name.) A failure that another hop passed on says nothing of the health of that hop,
    but there is no answer either: it is covered by its code. No for what the dependency answered
    (not found, invalid argument, a lost race), and for what ends the work from outside: nobody
    waits for a cancelled call.
    """
    if isinstance(error, Fault):
        return error.refusal is not None or judge(Fault(error.code)).health is Health.BAD
    if isinstance(error, ExceptionGroup):
        return any(covers(member) for member in error.exceptions)
    return isinstance(error, Exception) and covers_answer(judge(error))


def covers_answer(verdict: Verdict) -> bool:
    """Say whether a returned value of this verdict is a failure that a fallback may replace.

    BAD is one, and so is what says nothing of health but invites another attempt: a refusal.
    """
    return verdict.health is Health.BAD or (verdict.health is Health.NEUTRAL and verdict.again)


class Kept(NamedTuple):
    """A good value of an earlier call, and its `age` in seconds."""

    value: Any
    age: float


class LastGood:
    """Keep the last good value of each key, for at most `age` seconds and at most `most` keys.

    The least recently used key leaves first. A value that is too old leaves when it is asked for,
    or in its turn.
    """

    def __init__(self, age: float, most: int) -> None:
        self._age = age
        self._most = most
        self._values: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._found = self._missed = self._forgotten = 0

    def keep(self, key: Hashable, value: Any, now: float) -> None:
        """Remember a good value, as of now."""
        values = self._values
        values[key] = (value, now)
        values.move_to_end(key)
        if len(values) > self._most:
            values.popitem(last=False)
            self._forgotten += 1

    def find(self, key: Hashable, now: float) -> Kept | None:
        """Return the last good value of `key`, or None where there is none or it is too old."""
        entry = self._values.get(key)
        if entry is not None:
            value, at = entry
            if now - at <= self._age:
                self._values.move_to_end(key)
                self._found += 1
                return Kept(value, now - at)
            del self._values[key]
        self._missed += 1
        return None

    def statistics(self) -> dict[str, float | str]:
        """Return how many keys are kept, and how often one was found, missed and forgotten."""
        return {
            "keys": len(self._values),
            "found": self._found,
            "missed": self._missed,
            "forgotten": self._forgotten,
        }
