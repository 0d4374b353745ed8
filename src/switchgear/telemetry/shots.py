"""Snapshots of metrics, as they cross from process to process."""

from typing import Literal

import msgspec

__all__ = ["FamilyShot", "Kind", "Series", "Snapshot"]

Kind = Literal["counter", "gauge", "histogram"]


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series at one instant. `buckets` holds a histogram's counts, the last one unbounded."""

    labels: tuple[str, ...] = ()
    value: float = 0
    buckets: tuple[int, ...] = ()


class FamilyShot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One family at one instant; it crosses the control socket as JSON."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    series: tuple[Series, ...] = ()


Snapshot = list[FamilyShot]
