"""The topology: which processes serve, where, and in what state. Published to every role."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

__all__ = ["Endpoint", "State", "Topology", "TopologyFeed"]


class State(StrEnum):
    """The state of one process, as everybody else should treat it."""

    STARTING = "starting"
    READY = "ready"
    UNROUTABLE = "unroutable"  # it misses its heartbeats: send nothing new
    DRAINING = "draining"  # it finishes what it has: send nothing new
    DOWN = "down"  # it is dead, and started again after a pause


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One process that can be called: "unix:/path" or "tcp:host:port".

    `generation` grows with each start: what was learnt about an earlier one does not hold.
    """

    role: str
    index: int
    address: str
    state: State
    generation: int = 1
    degraded: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name of the process: "service-1"."""
        return f"{self.role}-{self.index}"


class Topology(msgspec.Struct, frozen=True):
    """All endpoints at one instant. A higher `version` is newer."""

    version: int = 0
    endpoints: tuple[Endpoint, ...] = ()

    def of(self, role: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of one role."""
        return tuple(one for one in self.endpoints if one.role == role)


class TopologyFeed:
    """The present topology, and everybody who wants to know when it changes."""

    def __init__(self, current: Topology | None = None) -> None:
        self.current = current or Topology()
        self._followers: dict[object, Callable[[Topology], None]] = {}

    def subscribe(self, follow: Callable[[Topology], None]) -> Callable[[], None]:
        """Call `follow` now and at every change; return the function that ends this."""
        key = object()
        self._followers[key] = follow
        follow(self.current)

        def unsubscribe() -> None:
            self._followers.pop(key, None)

        return unsubscribe

    def put(self, topology: Topology) -> None:
        """Take a newer topology; an older one that arrives late is dropped."""
        if topology.version <= self.current.version:
            return
        self.current = topology
        for follow in list(self._followers.values()):
            follow(topology)
