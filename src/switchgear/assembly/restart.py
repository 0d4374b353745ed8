"""Restarts: how long to wait before a dead process is started again. Pure."""

from switchgear.assembly.settings import Supervision

__all__ = ["Restarts"]


class Restarts:
    """The first restart is fast, later ones back off, and a stable time forgives all.

    The backoff keeps starts apart, which cost far more than to run: the time in which a process was
    well counts as time waited. So one that dies as soon as it is there waits ever longer, and one
    that served for long and was killed is missed for no longer than the first time. The jitter
    keeps processes that died of one cause from coming back in one instant.
    """

    def __init__(self, settings: Supervision) -> None:
        self._settings = settings
        self.row = 0  # deaths in a row, without a stable time between them
        self.total = 0

    def delay(self, well: float, chance: float) -> float:
        """Return the seconds to wait after a death.

        It was `well` for so long before: ready, not starting. `chance` lies in [0, 1).
        """
        if well >= self._settings.stable:
            self.row = 0
        self.row += 1
        self.total += 1
        # The exponent is bounded: a float overflows long before a supervisor gives up.
        grown = self._settings.restart_first * 2.0 ** min(self.row - 1, 60)
        left = min(grown, self._settings.restart_most) - well
        return max(left, self._settings.restart_first) * (0.75 + 0.5 * chance)
