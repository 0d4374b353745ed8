"""Hurry: turns away at once whom the dependency could not answer in time."""

from typing import Final

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.quantile import Latencies, LatencySettings
from switchgear.policy.settings import HurrySettings
from switchgear.policy.verdict import Health, Verdict

__all__ = ["Hurry", "HurrySettings"]


_DEFAULTS: Final = HurrySettings()
_GOOD: Final = Health.GOOD


class Hurry:
    """Refuse a call whose time left is less than what the dependency usually takes.

    Whoever has 20 ms left where the median answer takes 100 would most likely be called off
    half-way: the work would be done for nobody, and hold a place that another could use.

    It learns from good calls alone (a failure says nothing about how long an answer takes), and
    cannot lock itself out: with nobody let in nothing is observed, so the memory of a slow
    spell is gone after `span`, and then as many as `samples` go through to show how it is now.

    A frame asks for those calls alone that have less time left than `usual`, with `refuses`, and
    has it `observe` how long good ones took.
    """

    kind: Final = "hurry"

    def __init__(self, name: str, settings: HurrySettings = _DEFAULTS) -> None:
        self.name = name
        self._quantile = settings.quantile
        self._latencies = Latencies(LatencySettings(settings.span, settings.samples))
        self._admitted = self._settled = self._refused = 0
        self.usual = 0.0  # seconds, as of the last ask or observation; 0 while it is not known

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let a call through, or refuse it because its time will not do."""
        refused = self.refuses(ask.deadline - now, now)
        if refused is not None:
            return refused
        self._admitted += 1
        return Permit(now, 0, ask.weight)

    def refuses(self, left: float, now: float) -> Refused | None:
        """Say whether a call that has `left` seconds would be refused, and count it if so."""
        return self._refuse(left) if self.falls_short(left, now) else None

    def falls_short(self, left: float, now: float) -> bool:
        """Say whether `left` seconds are less than a call usually takes, as far as is known."""
        usual = self._latencies.quantile(self._quantile, now)
        self.usual = usual or 0.0
        return usual is not None and left < usual

    def observe(self, elapsed: float, now: float, calls: int = 1) -> None:
        """Take in how long one good call took, in seconds, as a sample of so many."""
        self._latencies.observe(elapsed, now, calls)
        self.usual = self._latencies.quantile(self._quantile, now) or 0.0

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit, and learn how long a good call took. Nobody ever waits here.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of hurry '{self.name}' was settled twice")
        permit.spent = True
        self._settled += 1
        if verdict.health is _GOOD:
            ended = now if permit.answered is None else permit.answered
            self.observe(ended - permit.at, now)
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: nobody waits who is in a hurry.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"hurry '{self.name}' gives out no waiting places")

    def statistics(self) -> dict[str, float | str]:
        """Return the usual time as last looked at (0: not known), and the counts."""
        return {
            "usual": self.usual,
            "admitted": self._admitted,
            "settled": self._settled,
            "out": self._admitted - self._settled,
            "refused": self._refused,
        }

    def _refuse(self, left: float) -> Refused:
        self._refused += 1
        usual = f"the dependency usually takes {self.usual:.3g} s"
        return Refused(Refusal.HURRIED, f"'{self.name}': {left:.3g} s are left, {usual}")
