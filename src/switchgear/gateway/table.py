"""The route table: what the gateway knows of every route, as plain values."""

from typing import Final

import msgspec

__all__ = ["RouteEntry"]


# Doing these twice does no more than doing them once. Source: RFC 9110 section 9.2.2
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


class RouteEntry(msgspec.Struct, frozen=True):
    """One route: which service answers it, who may call it, and how long it may take.

    `path` has `{name}` segments; a `prefix` route takes everything below its path, by any method.
    `sign_in` routes take credentials and have the stricter limit. `deadline` is in seconds.
    """

    method: str
    path: str
    service: str
    scope: str = ""
    public: bool = False
    deadline: float = 3.0
    priority: int = 5
    prefix: bool = False
    sign_in: bool = False

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics: the pattern, never a raw path."""
        return f"* {self.path.rstrip('/')}/*" if self.prefix else f"{self.method} {self.path}"

    @property
    def repeatable(self) -> bool:
        """Whether another attempt may follow one whose effect is unknown."""
        return self.method in _REPEATABLE
