"""Tallies: how often calls went well or failed, counted where they end."""

from switchgear.policy.verdict import Health, Verdict

__all__ = ["Tally"]


class Tally:
    """Count the calls of one frame by how they ended; `zombies` are out now.

    Plain numbers, because adding to one is all that a call can be asked to pay for.
    """

    __slots__ = ("failed", "good", "neutral", "overran", "zombies")

    def __init__(self) -> None:
        self.good = 0
        self.failed = 0
        self.neutral = 0
        self.zombies = 0
        self.overran = 0

    def count(self, verdict: Verdict) -> None:
        """Take in the end of one call."""
        if verdict.health is Health.GOOD:
            self.good += 1
        elif verdict.health is Health.BAD:
            self.failed += 1
        else:
            self.neutral += 1

    def statistics(self) -> dict[str, float | str]:
        """Return the calls that ended well, failed, or said nothing of the dependency.

        `zombies` are the attempts whose work goes on past its time now, `overran` all that did.
        """
        return {
            "good": self.good,
            "failed": self.failed,
            "neutral": self.neutral,
            "zombies": self.zombies,
            "overran": self.overran,
        }
