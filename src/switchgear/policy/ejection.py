"""Ejection: leaving unwell endpoints out, but never so many that the rest would fall too."""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from switchgear.policy.settings import EjectionSettings

__all__ = ["Ejection", "EjectionSettings"]


class _Gated(Protocol):
    def available(self, now: float) -> bool: ...


E = TypeVar("E", bound=_Gated)

_DEFAULTS: Final = EjectionSettings()
_EXACT: Final = 1e-9  # of an endpoint: 0.29 x 100 is no less than 29


class Ejection:
    """Say which endpoints may be used: those whose gate is not shut, within bounds.

    ::

        well      100 % ........... 50 % ........... 0 %
        used      the well ones     |  all of them: panic

    Where most are unwell, the fault is likelier to be in common (the network, our own
    measurement) than in each, and the few that look well could not carry the traffic of all.

    Source: Envoy, outlier detection and panic threshold.
    """

    def __init__(self, settings: EjectionSettings = _DEFAULTS) -> None:
        self._settings = settings
        self._endpoints = self._well = self._used = self._panics = 0

    def roster(self, endpoints: Sequence[E], now: float) -> tuple[Sequence[E], bool]:
        """Return the endpoints that may be used, and whether this is a panic.

        In a panic some of them have a gate that is shut, and is to be passed by.
        """
        total = len(endpoints)
        well = [each for each in endpoints if each.available(now)]
        self._endpoints = self._used = total
        self._well = len(well)
        if len(well) == total:
            return endpoints, False
        settings = self._settings
        if len(well) < settings.panic_below * total - _EXACT:
            self._panics += 1
            return endpoints, True
        spare = total - len(well) - int(settings.most * total + _EXACT)
        if spare > 0:  # more are unwell than may be ejected: the first of them stay
            self._panics += 1
            well += [each for each in endpoints if not each.available(now)][:spare]
        self._used = len(well)
        return well, spare > 0

    def statistics(self) -> dict[str, float | str]:
        """Return how many endpoints there were the last time, were well, used and ejected.

        `panics` counts the rosters on which some stood whose gate was shut.
        """
        return {
            "endpoints": self._endpoints,
            "well": self._well,
            "used": self._used,
            "ejected": self._endpoints - self._used,
            "panics": self._panics,
        }
