"""Gates, schedules and answers for tests of the core: they do as told, and write it down."""

from collections.abc import Callable, Sequence
from typing import Any

from switchgear.core.frames import Retry
from switchgear.policy.call import Call
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import NEUTRAL, Verdict

__all__ = ["Door", "Plain", "Stream", "call", "retry"]


def call(deadline: float, *, repeatable: bool = False, **fields: Any) -> Call[Any]:
    return Call(None, deadline, repeatable=repeatable, **fields)


class Door:
    """A gate that gives the answers it is told to, then permits; it writes down every verdict."""

    def __init__(
        self, name: str = "door", answers: Sequence[Refused] = (), log: Any = None
    ) -> None:
        self.name = name
        self.answers = list(answers)
        self.permits: list[Permit] = []
        self.verdicts: list[Verdict] = []
        self.asks: list[Ask] = []
        self.log: list[Any] = [] if log is None else log

    def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        self.asks.append(ask)
        if self.answers:
            refused = self.answers.pop(0)
            self.log.append((self.name, "refuse"))
            return refused
        permit = Permit(now)
        self.permits.append(permit)
        self.log.append((self.name, "admit"))
        return permit

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        assert permit in self.permits, f"{self.name}: not its permit"
        assert not permit.spent, f"{self.name}: settled twice"
        permit.spent = True
        self.verdicts.append(verdict)
        self.log.append((self.name, verdict))
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        raise AssertionError("nobody waits here")

    def statistics(self) -> dict[str, float | str]:
        return {"out": sum(not permit.spent for permit in self.permits)}


class Plain:
    """A schedule of fixed waits, and a budget of so many further attempts."""

    def __init__(self, waits: Sequence[float], budget: int = 100) -> None:
        self.waits = list(waits)
        self.budget = budget
        self.deposits = 0
        self.withdrawals = 0
        self.asked: list[tuple[int, Verdict, float | None]] = []

    def delay(self, attempt: int, verdict: Verdict, retry_after: float | None) -> float | None:
        self.asked.append((attempt, verdict, retry_after))
        return self.waits[attempt - 1] if attempt <= len(self.waits) else None

    def deposit(self, now: float) -> None:
        self.deposits += 1

    def withdraw(self, now: float) -> bool:
        if not self.budget:
            return False
        self.budget -= 1
        self.withdrawals += 1
        return True


def retry(plain: Plain) -> Retry:
    return Retry(plain, plain)


class Stream:
    """An answer that streams until it is told to end. It keeps the contract of `Ending`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.ended: Verdict | None = None
        self._told: list[Callable[[Verdict], None]] = []

    def on_end(self, done: Callable[[Verdict], None], /) -> None:
        if self.ended is not None:
            done(self.ended)
        else:
            self._told.append(done)

    def end(self, verdict: Verdict) -> None:
        if self.ended is None:
            self.ended = verdict
            told, self._told = self._told, []
            for done in told:
                done(verdict)

    def abandon(self) -> None:
        self.end(NEUTRAL)
