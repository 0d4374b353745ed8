"""Endpoints: what an app declares about one HTTP handler."""

import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec.structs import replace

from switchgear.http.methods import METHODS, REPEATABLE
from switchgear.identity.claims import SCOPE

__all__ = ["Endpoint", "Idempotency", "Mount", "timed"]

Declared = TypeVar("Declared", "Endpoint", "Mount")

Idempotency = Literal["optional", "required", "off"]
"""What an Idempotency-Key is to an endpoint."""

# None begins as a name or a wildcard does elsewhere, `/:id` or `/*`: it would be found by nobody.
_SEGMENT: Final = re.compile(r"\{[a-z_][a-z0-9_]*\}|(?!\.{1,2}\Z|[:*])[A-Za-z0-9._~!$&'()*+,=:@-]+")
_IDEMPOTENCY: Final = get_args(Idempotency)
_FIRST_SHED, _LAST_SHED = 0, 8  # 9 is for what is never shed, which no declaration can claim


class Endpoint(msgspec.Struct, frozen=True):
    """One HTTP handler: where it stands, who may call it, and how long it may take.

    `path` has `{name}` segments; `scope` is what the caller's token must bear; `public` endpoints
    need none. `deadline` is in seconds (0: as it is configured), like `attempt_timeout`: what one
    attempt may take of it where several may be made (0: as the gateway is configured).
    `idempotency` says what an Idempotency-Key is: "optional", "required" or "off"; by default
    optional where it can be heeded (a POST or PATCH that takes a Transaction and is not public),
    else off. Raises ValueError for a path or a pair that cannot be, TypeError for a value of
    another kind.
    """

    method: str
    path: str
    function: Callable[..., Any]
    scope: str = ""
    public: bool = False
    deadline: float = 3.0
    priority: int = 5
    status: int = 0  # 0: 201 for POST, 204 for None, else 200
    attempt_timeout: float = 0.0
    idempotency: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: the method must be one of {', '.join(METHODS)}")
        _check_path(self.name, self.path)
        _check_kind(self.name, "status", self.status, int)
        _check_kind(self.name, "idempotency", self.idempotency, str)
        _check_figures(self)
        if self.public and self.scope:
            raise ValueError(f"{self.name}: public and scope={self.scope!r} contradict each other")
        if self.attempt_timeout and not self.repeatable:
            raise ValueError(
                f"{self.name}: attempt_timeout={self.attempt_timeout:g} s is for what may be done"
                f" twice ({', '.join(one for one in METHODS if one in REPEATABLE)}). One attempt is"
                f" made at a {self.method}, and its time is the deadline: set that"
            )
        if self.status and not 200 <= self.status <= 399:
            raise ValueError(f"{self.name}: status={self.status} is no status of a success")
        if self.idempotency:
            self._check_idempotency()

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics: the pattern, never a raw path."""
        return f"{self.method} {self.path}"

    @property
    def shape(self) -> str:
        """The name without those of its path: two routes of one shape take the same requests."""
        return re.sub(r"\{[^}]*\}", "{}", self.name)

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def repeatable(self) -> bool:
        """Whether another attempt may follow one whose effect is unknown."""
        return self.method in REPEATABLE

    @property
    def keyable(self) -> bool:
        """Whether a repeated key could be told from another's, and would change anything."""
        return not self.repeatable and not self.public and self.idempotency != "off"

    def _check_idempotency(self) -> None:
        """Refuse what cannot be heeded, as far as it is seen without the function."""
        said = f"{self.name}: idempotency={self.idempotency!r}"
        if self.idempotency not in _IDEMPOTENCY:
            raise ValueError(f"{said} must be one of {', '.join(_IDEMPOTENCY)}")
        if self.idempotency == "off":
            return
        if self.repeatable:
            raise ValueError(f"{said}: {self.method} does no more when it is done twice")
        if self.public:
            raise ValueError(
                f"{said} and public contradict each other: nobody is asked who they are, and one"
                " client's key could bring another its answer"
            )


class Mount(msgspec.Struct, frozen=True):
    """An ASGI application under a path prefix: everything below it is the application's."""

    path: str
    application: Callable[..., Any]
    scope: str = ""
    public: bool = True
    deadline: float = 3.0
    priority: int = 5
    attempt_timeout: float = 0.0

    def __post_init__(self) -> None:
        if "{" in self.path or (self.path != "/" and self.path.endswith("/")):
            raise ValueError(f"mount {self.path!r}: write a path like /legacy, or /")
        _check_path(f"mount {self.path!r}", self.path)
        _check_figures(self)

    @property
    def name(self) -> str:
        """The route's identity in limits, logs and metrics."""
        return f"* {self.path.rstrip('/')}/*"

    @property
    def templates(self) -> tuple[str, ...]:
        """The path templates that lead here: its own path, and all below."""
        stem = self.path.rstrip("/")
        return (stem, f"{stem}/{{rest...}}") if stem else ("/{rest...}",)


def timed(one: Declared, deadline: float) -> Declared:
    """Return a declaration whose deadline is its own, else `deadline` seconds.

    Raises ValueError where it asks for attempts that take longer.
    """
    return one if one.deadline else replace(one, deadline=deadline)


def _check_path(where: str, path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"{where}: a path begins with a slash")
    for segment in path.split("/")[1:]:
        if not _SEGMENT.fullmatch(segment) and path != "/":
            if not segment:
                raise ValueError(f"{where}: a path has no empty segment: write /a, not /a/ or //a")
            raise ValueError(
                f"{where}: {segment!r} is no path segment: write plain text or {{name}}, of a-z,"
                " 0-9 and _ (its type is the parameter's annotation)"
            )


def _check_kind(where: str, option: str, value: object, right: type) -> None:
    """Refuse what no other process could read: options travel, and the reader has no line."""
    if not isinstance(value, right) or (right is int and isinstance(value, bool)):
        words = {str: "a text", int: "a whole number", bool: "True or False"}
        raise TypeError(f"{where}: {option}={value!r} must be {words[right]}")


def _check_figures(one: Endpoint | Mount) -> None:
    _check_kind(one.name, "scope", one.scope, str)
    if one.scope and not SCOPE.fullmatch(one.scope):
        raise ValueError(
            f"{one.name}: scope={one.scope!r} must be one name without blanks, quotes and"
            " backslashes: no token could bear another"
        )
    _check_kind(one.name, "public", one.public, bool)
    _check_kind(one.name, "priority", one.priority, int)
    if not _FIRST_SHED <= one.priority <= _LAST_SHED:
        raise ValueError(
            f"{one.name}: priority={one.priority} must be {_FIRST_SHED} (shed first) to"
            f" {_LAST_SHED} (shed last)"
        )
    within = one.deadline or one.attempt_timeout  # what is configured is not known here
    if one.deadline < 0 or not 0 <= one.attempt_timeout <= within:
        raise ValueError(
            f"{one.name}: attempt_timeout={one.attempt_timeout:g} s must lie within the"
            f" deadline of {one.deadline:g} s"
        )
