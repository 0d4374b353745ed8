"""Zombies: work that goes on in a thread when its caller has left, and the places it holds."""

from switchgear.core.kit import Kit
from switchgear.core.observe import Overran
from switchgear.core.permits import Held, settle, split
from switchgear.core.tally import Tally
from switchgear.core.threads import Lingering
from switchgear.policy.verdict import NEUTRAL, Verdict

__all__ = ["Zombie", "bring_home"]


class Zombie:
    """Work in a thread that its caller has left, and the places that it still holds."""

    __slots__ = ("_clock", "_held", "_left_at", "_tally")

    def __init__(self, kit: Kit, tally: Tally, held: Held, now: float) -> None:
        self._clock = kit.clock
        self._left_at = now
        self._tally = tally
        self._held = held
        tally.zombies += 1
        tally.overran += 1
        kit.tell(Overran(kit.name, 0.0))

    def end(self, verdict: Verdict) -> None:
        """Give the places back, whatever came of the work: its caller was told already."""
        self._tally.zombies -= 1
        try:
            now = self._clock()
        except Exception:  # noqa: BLE001 - virtual time, which is over where its loop is closed
            now = self._left_at
        settle(self._held, NEUTRAL, now)


def bring_home(
    kit: Kit, tally: Tally, held: Held, verdict: Verdict, now: float, rest: Held = None,
    left: Lingering | None = None,
) -> None:  # fmt: skip
    """Give permits back down to `rest`.

    Where the work goes on in a thread, those that bound how much goes on at once stay out until
    its end; the others learn now, else a dependency that hangs would never open its breaker.
    """
    if left is None or left.ended:
        settle(held, verdict, now, rest)
        return
    learn, bound = split(held, rest)
    left.on_end(Zombie(kit, tally, bound, now).end)
    settle(learn, verdict, now)
