"""Ejection: leaving unwell endpoints out, but never so many that the rest would fall too."""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from switchgear.policy import ranges

__all__ = ["Ejection", "EjectionSettings"]


class EjectionSettings(msgspec.Struct, frozen=True):
    """How many may be left out, as shares of all the endpoints.

    At most `most` of them are ejected. With fewer than `panic_below` of them well, none is.
    """

    most: float = 0.5
    panic_below: float = 0.5

    def __post_init__(self) -> None:
        ranges.between(self, "most", 0, 1)
        ranges.between(self, "panic_below", 0, 1)


class _Gated(Protocol):
    def available(self, now: float) -> bool: ...


E = TypeVar("E", bound=_Gated)

_DEFAULTS: Final = EjectionSettings()


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

    def roster(self, endpoints: Sequence[E], now: float) -> tuple[Sequence[E], bool]:
        """Return the endpoints that may be used, and whether this is a panic."""
        well = [each for each in endpoints if each.available(now)]
        total = len(endpoints)
        if len(well) == total:
            return endpoints, False
        if len(well) < self._settings.panic_below * total:
            return endpoints, True
        spare = total - len(well) - int(self._settings.most * total)
        if spare > 0:  # more are unwell than may be ejected: the first of them stay
            unwell = [each for each in endpoints if each not in well]
            return [*well, *unwell[:spare]], True
        return well, False
