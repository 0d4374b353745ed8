"""Endpoints: what an app declares about one HTTP handler."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["Endpoint", "Mount"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Doing these twice does no more than doing them once. Source: RFC 9110 section 9.2.2
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_SEGMENT: Final = re.compile(r"\{[a-z_][a-z0-9_]*\}|[A-Za-z0-9._~!$&'()*+,=:@-]+", re.ASCII)


class Endpoint(msgspec.Struct, frozen=True):
    """One HTTP handler: where it stands, who may call it, and how long it may take.

    `path` has `{name}` segments; `scope` is what the caller's token must bear; `public` endpoints
    need none. `deadline` is in seconds. Raises ValueError for a path or pair that cannot be.
    """

    method: str
    path: str
    function: Callable[..., Any]
    scope: str = ""
    public: bool = False
    deadline: float = 3.0
    priority: int = 5
    status: int = 0  # 0: 201 for POST, 204 for None, else 200

    def __post_init__(self) -> None:
        where = f"{self.method} {self.path}"
        if self.method not in METHODS:
            raise ValueError(f"{where}: the method must be one of {', '.join(METHODS)}")
        if not self.path.startswith("/"):
            raise ValueError(f"{where}: a path begins with a slash")
        for segment in self.path.split("/")[1:]:
            if not _SEGMENT.fullmatch(segment) and self.path != "/":
                raise ValueError(
                    f"{where}: {segment!r} is no path segment: write plain text or {{name}}"
                )
        if self.public and self.scope:
            raise ValueError(f"{where}: public and scope={self.scope!r} contradict each other")

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics: the pattern, never a raw path."""
        return f"{self.method} {self.path}"

    @property
    def repeatable(self) -> bool:
        """Whether another attempt may follow one whose effect is unknown."""
        return self.method in _REPEATABLE


class Mount(msgspec.Struct, frozen=True):
    """An ASGI application under a path prefix: everything below it is the application's."""

    path: str
    application: Callable[..., Any]
    scope: str = ""
    public: bool = True
    deadline: float = 3.0
    priority: int = 5

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or (self.path != "/" and self.path.endswith("/")):
            raise ValueError(f"mount {self.path!r}: write a path like /legacy, or /")

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics."""
        return f"* {self.path.rstrip('/')}/*"
