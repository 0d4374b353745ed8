"""Injections: what the proxy can do to the bytes of a connection. Pure values, no I/O.

`direction` is "up" (client to server), "down" (server to client) or "both". `share` is the seeded
share of connections that are hit, of the `first` ones alone where that is above 0. `after_bytes`
counts per direction, from the start of the connection or from the instant of the injection,
whichever came later.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = [
    "Cut",
    "Delay",
    "Direction",
    "Drip",
    "Garble",
    "Hang",
    "Injection",
    "Insert",
    "Pause",
    "Refuse",
    "Reset",
    "Slice",
    "kind",
]

Direction = Literal["up", "down", "both"]


class _Injection(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag=str.lower,
    forbid_unknown_fields=True,
):
    direction: Direction = "both"
    share: float = 1.0
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share {self.share} is not above 0 and up to 1")
        if self.first < 0:
            raise ValueError(f"first {self.first} is below 0")
        for name, lowest in self.floors().items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} {getattr(self, name)} is below {lowest}")

    def floors(self) -> Mapping[str, float]:
        """Return the lowest value of each numeric field."""
        return {}


class Delay(_Injection, frozen=True, kw_only=True):
    """Deliver every byte `seconds` later, plus a seeded jitter of up to `jitter` seconds.

    Bytes keep their order, and up to 1 MiB is under way at once: it is a latency, not a bandwidth.
    """

    seconds: float
    jitter: float = 0.0

    def floors(self) -> Mapping[str, float]:
        return {"seconds": 0, "jitter": 0}


class Drip(_Injection, frozen=True, kw_only=True):
    """Pass `size` bytes on every `interval` seconds."""

    size: int = 1
    interval: float = 0.1

    def floors(self) -> Mapping[str, float]:
        return {"size": 1, "interval": 0}


class Slice(_Injection, frozen=True, kw_only=True):
    """Write in segments of `size` bytes, as fast as they go."""

    size: int = 1

    def floors(self) -> Mapping[str, float]:
        return {"size": 1}


class Hang(_Injection, frozen=True, kw_only=True):
    """Accept, and pass nothing on after `after_bytes`; when it is healed, all goes on."""

    after_bytes: int = 0

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 0}


class Reset(_Injection, frozen=True, kw_only=True):
    """Reset both sides (RST) after `after_bytes`; 0 hits live connections at once.

    A unix socket knows no reset: it is closed at once.
    """

    after_bytes: int = 0

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 0}


class Cut(_Injection, frozen=True, kw_only=True):
    """End both sides in good order (FIN) after `after_bytes`, though more was to come."""

    after_bytes: int = 0

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 0}


class Garble(_Injection, frozen=True, kw_only=True):
    """Change `count` bytes: the one at offset `after_bytes`, then at seeded gaps up to `gap`."""

    after_bytes: int = 0
    count: int = 1
    gap: int = 64

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 0, "count": 1, "gap": 1}


class Insert(_Injection, frozen=True, kw_only=True):
    """Add a seeded byte of nobody's after `after_bytes`, together with the bytes around it."""

    after_bytes: int = 0

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 0}


class Pause(_Injection, frozen=True, kw_only=True):
    """Wait `seconds` after the first `after_bytes`, once: what was one segment becomes two."""

    after_bytes: int = 1
    seconds: float = 0.01

    def floors(self) -> Mapping[str, float]:
        return {"after_bytes": 1, "seconds": 0}


class Refuse(_Injection, frozen=True, kw_only=True):
    """Turn new connections away: "close" closes the listener, "reset" accepts and resets.

    Live connections go on. A closed listener sees nobody, so "close" counts as one event:
    whether it bites is for the drill's canary to say. `share` applies to "reset" alone.
    """

    how: Literal["close", "reset"] = "close"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.how == "close" and (self.share != 1 or self.first):
            raise ValueError("a closed listener refuses everybody: share must be 1, and first 0")


Injection = Delay | Drip | Slice | Pause | Hang | Reset | Cut | Garble | Insert | Refuse


def kind(injection: Injection) -> str:
    """Return the name an injection is counted by."""
    return type(injection).__name__.lower()
