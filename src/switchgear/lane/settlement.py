"""What becomes of a delivery, decided from its outcome by a pure function.

| the handler | the message |
| --- | --- |
| returned | is finished |
| was called off (drain, lost lease) | is handed back, uncounted |
| was refused by a breaker, a limit, a full bulkhead | comes again later, uncounted |
| failed and another attempt may help, or by a defect | comes again after a backoff, counted |
| failed so that no attempt helps, or for the last time | is dead, with its cause |
"""

from typing import Any, Final

import msgspec

from switchgear.core.outcome import Failed, Outcome
from switchgear.policy.crossing import as_fault, declared, worded
from switchgear.policy.verdict import transient

__all__ = ["Bury", "Finish", "Release", "Retry", "Rules", "Settlement", "decide", "told"]

CAUSE_CHARACTERS: Final = 500
PATIENCE: Final = 3600.0  # seconds: the longest wait that a dependency may ask for


class Rules(msgspec.Struct, frozen=True):
    """How often a message is tried, and how long it waits in between (seconds).

    The wait after attempt n is between half and all of `base` x 2^(n - 1), at most `cap`.
    """

    attempts: int = 10
    base: float = 0.5
    cap: float = 60.0

    def longest(self) -> float:
        """Return the longest time that all the waits together can take."""
        return sum(self._most(attempt) for attempt in range(1, self.attempts))

    def wait(self, attempt: int, chance: float) -> float:
        """Return the wait after `attempt` (from 1). `chance` is drawn from [0, 1)."""
        return self._most(attempt) * (0.5 + chance / 2)

    def _most(self, attempt: int) -> float:
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))


class Finish(msgspec.Struct, frozen=True):
    """It is done."""


class Release(msgspec.Struct, frozen=True):
    """It goes back as it came."""


class Retry(msgspec.Struct, frozen=True):
    """It comes again `after` seconds; `counted` says whether this was an attempt."""

    after: float
    counted: bool
    cause: str


class Bury(msgspec.Struct, frozen=True):
    """It will not be tried again: `outcome` is `dead` or `expired`."""

    outcome: str
    cause: str


Settlement = Finish | Release | Retry | Bury


def decide(outcome: Outcome[Any], attempts: int, rules: Rules, chance: float) -> Settlement:
    """Decide on a delivery that had ended `attempts` times before this `outcome`."""
    if not isinstance(outcome, Failed):
        return Finish()
    error = outcome.error
    fault = declared(error)
    if fault is None and not isinstance(error, Exception):
        return Release()
    cause = told(error)
    again = fault is None or transient(fault)
    asked = min(fault.retry_after or 0.0, PATIENCE) if fault is not None else 0.0
    if fault is not None and fault.refusal is not None and again:
        return Retry(asked + rules.wait(attempts + 1, chance), counted=False, cause=cause)
    if not again:
        return Bury("dead", cause)
    if attempts + 1 >= rules.attempts:
        return Bury("dead", f"{cause} (attempt {attempts + 1} of {rules.attempts})")
    return Retry(asked + rules.wait(attempts + 1, chance), counted=True, cause=cause)


def told(error: BaseException) -> str:
    """Say in one line what went wrong, in characters that every store can hold.

    What cannot be written would be tried again for ever, and every other settlement with it.
    """
    fault = as_fault(error) if isinstance(error, BaseExceptionGroup) else declared(error)
    words = worded(error) if fault is None else f"{fault.code.value}: {fault.detail}"
    line = " ".join(words.split()).replace("\0", "\\0")
    return line.encode("utf-8", "backslashreplace").decode()[:CAUSE_CHARACTERS]
