"""Heartbeats: what the silence of a process means. Pure."""

from enum import Enum

from switchgear.assembly.settings import Supervision

__all__ = ["Health", "Pulse"]


class Health(Enum):
    """What to do about a process: nothing, send it nothing, end it."""

    WELL = "well"
    LATE = "late"
    HUNG = "hung"


class Pulse:
    """When a process was last heard, and what follows.

    Until it is ready it may be importing for long, so only `start` counts. `forgive` takes out a
    time in which the listener itself was away (stopped, starved): nobody can be heard then.
    """

    def __init__(self, settings: Supervision, now: float) -> None:
        self._settings = settings
        self._heard = now
        self.ready = False

    def beat(self, now: float) -> None:
        """Note a sign of life."""
        self._heard = now

    def forgive(self, absence: float) -> None:
        """Do not count the last `absence` seconds."""
        self._heard += absence

    def silence(self, now: float) -> float:
        """Return for how long nothing was heard."""
        return now - self._heard

    def judge(self, now: float) -> Health:
        """Say what the present silence means."""
        silence = self.silence(now)
        if not self.ready:
            return Health.HUNG if silence >= self._settings.start else Health.WELL
        if silence >= self._settings.hung:
            return Health.HUNG
        return Health.LATE if silence >= self._settings.unroutable else Health.WELL
