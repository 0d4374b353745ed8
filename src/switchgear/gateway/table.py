"""The route table: what the gateway knows of every route, as plain values."""

from typing import Final

import msgspec

from switchgear.http.methods import REPEATABLE

__all__ = ["LONGEST", "RouteEntry"]

LONGEST: Final = 300.0  # seconds; no route may take longer, so no client holds us for longer


class RouteEntry(msgspec.Struct, frozen=True):
    """One route: which service answers it, who may call it, and how long it may take.

    `path` has `{name}` segments; a `prefix` route takes its path and everything below, by any
    method, and may speak WebSocket. `sign_in` routes take credentials and have the stricter limit.
    `deadline` is in seconds, like `attempt_timeout`: what one attempt at a repeatable call may
    take of it (0: as the gateway is configured). A `keyed` route does what a request with an
    idempotency key asks once, however often it is sent. `setting` names where the deadline was
    configured, if no declaration says it. Raises ValueError for what cannot be.
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
    attempt_timeout: float = 0.0
    keyed: bool = False
    setting: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.deadline <= LONGEST:
            by = f" ({self.setting})" if self.setting else ""
            raise ValueError(
                f"{self.name}: a deadline of {self.deadline:g} s{by}; up to {LONGEST:g} s would be"
                " right, and a job or a consumer for what takes longer"
            )

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics: the pattern, never a raw path."""
        return f"* {self.path.rstrip('/')}/*" if self.prefix else f"{self.method} {self.path}"

    @property
    def templates(self) -> tuple[tuple[str, str], ...]:
        """The pairs of method and path template that lead here."""
        if not self.prefix:
            return ((self.method, self.path),)
        stem = self.path.rstrip("/")
        below = ("*", f"{stem}/{{rest...}}")
        return (("*", stem), below) if stem else (below,)

    @property
    def repeatable(self) -> bool:
        """Whether another attempt may follow one whose effect is unknown."""
        return self.method in REPEATABLE
