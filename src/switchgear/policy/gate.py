"""Gates and schedules: the pure machines that every protection is made of.

A gate says who may go on: it admits an ask with a `Permit`, lets it wait, or refuses it, and
takes each permit back with the verdict when the work has really ended. A schedule says when
another attempt may start. Neither reads a clock, draws a random number nor performs I/O:
time and randomness are arguments.
"""

from typing import Any, Final, NamedTuple, Protocol

import msgspec

from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import Verdict

__all__ = ["ANYONE", "Ask", "Gate", "Permit", "Refused", "Schedule", "Waiting", "vacate"]


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a gate may know of a call: the `key` a limit counts by, its `weight` and `priority`.

    Priority 0 is the first to be shed, 9 the last. `deadline` is an instant on the same clock as
    the `now` of `admit`: a waiting queue refuses whom it cannot serve in time.
    (A struct because one is made per attempt: 80 ns instead of the 300 of a named tuple.)
    """

    key: str = ""
    weight: int = 1
    priority: int = 5
    deadline: float = float("inf")


ANYONE = Ask()


class Permit(msgspec.Struct, eq=False, gc=False):
    """One admission, to be given back exactly once through `Gate.settle`.

    `at` is the instant of admission, or of the end of the queue that followed further in: time
    spent in our own queue is not the dependency's slowness. `generation` is the state it was given
    in: a gate ignores the verdict of a permit from an older generation. `answered` is the instant
    at which the head of an answer that streams was there: slowness is measured to it, not to the
    stream's end. (A struct because one is made per call: 50 ns instead of the 170 of a class. It
    compares by identity.)
    """

    at: float
    generation: int = 0
    weight: int = 1
    spent: bool = False
    answered: float | None = None


_CODES: Final = {
    Refusal.LIMITED: Code.RESOURCE_EXHAUSTED,
    Refusal.HURRIED: Code.DEADLINE_EXCEEDED,
}


class Refused(NamedTuple):
    """A refusal as a value: what stood in the way, in words for a tired operator."""

    refusal: Refusal
    detail: str
    retry_after: float | None = None

    def fault(self) -> Fault:
        """Turn the refusal into the fault that the floors above raise: surely no effect."""
        return Fault(
            _CODES.get(self.refusal, Code.UNAVAILABLE),
            self.detail,
            effect=Effect.NONE,
            refusal=self.refusal,
            retry_after=self.retry_after,
        )


class Waiting:
    """A place in a gate's queue. The gate writes `answer`; the floor above sleeps and wakes.

    `settle` returns the places it has just answered. `wake` belongs to the sleeper
    alone; no gate reads it.
    """

    __slots__ = ("answer", "ask", "since", "until", "wake")

    def __init__(self, ask: Ask, since: float, until: float) -> None:
        self.ask = ask
        self.since = since
        self.until = until  # the instant at which the wait itself is refused
        self.answer: Permit | Refused | None = None
        self.wake: Any = None


class Gate(Protocol):
    """A breaker, bulkhead, rate limit, shedder or adaptive limit."""

    name: str

    def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        """Decide on one ask."""
        ...

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take a permit back and return the waiting places that this answered.

        Raises RuntimeError for a permit that has been settled before: a double settle is a
        defect of the caller, never a second free place.
        """
        ...

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Give up a place that has no answer yet (an answered one is settled instead)."""
        ...

    def statistics(self) -> dict[str, float | str]:
        """Return the present figures: what was admitted, settled, refused, and is out."""
        ...


def vacate(what: Any, now: float) -> None:
    """Have a gate forget what is under way, where it has a `vacate`: another process ends it.

    So a process that was forked off has all of its places, and does not wait for a probe that is
    out. What was learned stays.
    """
    forget = getattr(what, "vacate", None)
    if forget is not None:
        forget(now)


class Schedule(Protocol):
    """When another attempt may start."""

    def delay(self, attempt: int, verdict: Verdict, retry_after: float | None) -> float | None:
        """Return the seconds to wait after `attempt` (from 1) ended, or None to stop."""
        ...
