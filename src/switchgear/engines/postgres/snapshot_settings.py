"""How many snapshots there may be, and for how long."""

from typing import Annotated

import msgspec

__all__ = ["SnapshotSettings"]


class SnapshotSettings(msgspec.Struct, frozen=True):
    """The snapshots of one process: what is read from while an answer streams.

    Each holds one of `connections`, for `total` seconds at the most, however slowly its answer is
    taken: for as long, the server must keep what has changed since.
    """

    connections: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    total: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 300.0
