"""Observing: a gate that lets everybody through, and counts what it would have done."""

from collections.abc import Callable

from switchgear.policy.gate import Ask, Gate, Permit, Refused, Waiting, vacate
from switchgear.policy.verdict import Verdict

__all__ = ["Observing"]


class Observing:
    """Try a gate on live traffic before it may refuse any of it.

    ::

        the gate says   Permit             Refused          Waiting
        the call gets   that permit        one of ours      one of ours
        counted as      admitted           would_refuse     would_wait, and abandoned at once
        its verdict     goes to the gate   teaches nothing  teaches nothing

    The gate learns from the calls that it would have admitted alone. So it moves as it would if
    it were enforced: a breaker that stands open probes with single calls, though all go on. (Were
    it told of the others, too, it would see what it could never see in earnest.) A call that it
    takes for a defect, of a weight out of range, raises as it would in earnest.

    `tell` is called with each refusal that was not enforced, and must not raise.
    """

    def __init__(self, gate: Gate, tell: Callable[[Refused], None] | None = None) -> None:
        self.name = gate.name
        self.gate = gate
        self.bounds: bool = getattr(gate, "bounds", False)
        self._tell = tell
        self._ours: set[Permit] = set()  # of calls that the gate did not admit
        self._theirs: set[Permit] = set()  # and those of them that were left to another process
        self._refused = self._waited = 0

    def admit(self, ask: Ask, now: float) -> Permit:
        """Let a call through, whatever the gate says of it."""
        got = self.gate.admit(ask, now)
        if isinstance(got, Permit):
            return got
        if isinstance(got, Refused):
            self._refused += 1
            if self._tell is not None:
                self._tell(got)
        else:
            self._waited += 1
            self.gate.abandon(got, now)
        permit = Permit(now, 0, ask.weight)
        self._ours.add(permit)
        return permit

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit, and pass it on if it is the gate's. Nobody ever waits here.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of '{self.name}', observed, was settled twice")
        whose = self._ours if permit in self._ours else self._theirs
        if permit not in whose:
            return self.gate.settle(permit, verdict, now)
        whose.remove(permit)
        permit.spent = True
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: a gate that is only observed gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"'{self.name}', observed, gives out no waiting places")

    def vacate(self, now: float) -> None:
        """Forget, as the gate does, what is under way in another process."""
        vacate(self.gate, now)
        self._theirs |= self._ours  # should the end of one be met with here all the same
        self._ours.clear()

    def available(self, now: float) -> bool:
        """Say that it lets calls through (balancers look ahead)."""
        return True

    def statistics(self) -> dict[str, float | str]:
        """Return the gate's own figures, and which of the calls it would not have let through.

        `unheld` are those of them that are under way.
        """
        return {
            **self.gate.statistics(),
            "would_refuse": self._refused,
            "would_wait": self._waited,
            "unheld": len(self._ours),
        }
