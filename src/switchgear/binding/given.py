"""What a call brings to be bound, and the marks by which a function asks for it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

__all__ = [
    "BODILESS",
    "EVENT",
    "HTTP",
    "Body",
    "Cookie",
    "Given",
    "Header",
    "Offer",
    "Parts",
    "Provider",
    "Query",
]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2

Provider = Callable[[Any], object]
"""Makes one injected value from the call's `Given`; it may raise a `Fault`."""


def _must_be_token(name: str, what: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{what} {name!r}: no {what} can have this name")


class Header(msgspec.Struct, frozen=True):
    """Bind a parameter to a header: `trace: Annotated[str, Header("x-trace")]`.

    Raises ValueError for a name that no header can have.
    """

    name: str

    def __post_init__(self) -> None:
        _must_be_token(self.name, "header")


class Cookie(msgspec.Struct, frozen=True):
    """Bind a parameter to a cookie: `session: Annotated[str, Cookie("session")]`.

    Raises ValueError for a name that no cookie can have.
    """

    name: str

    def __post_init__(self) -> None:
        _must_be_token(self.name, "cookie")


class Query(msgspec.Struct, frozen=True):
    """Bind a parameter to a query parameter of another name: `Annotated[int, Query("per")]`."""

    name: str


class Body(msgspec.Struct, frozen=True):
    """Bind a parameter to the body where its type alone would not: `Annotated[list[int], Body()]`.

    `lenient` lets unknown and repeated names pass: for documents whose sender adds to them.
    """

    lenient: bool = False


class Given(Protocol):
    """One call as plain values. Providers are handed this very object.

    `path` holds the decoded values of the route's `{names}`, `query` the raw text after the
    question mark, and `header` answers by lower-case name (several lines joined by the caller).
    """

    @property
    def path(self) -> Mapping[str, str]: ...

    @property
    def query(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    def header(self, name: str, /) -> str | None: ...


class Parts(msgspec.Struct):
    """The plain implementation of `Given`, for messages, jobs and tests."""

    body: bytes = b""
    path: Mapping[str, str] = msgspec.field(default_factory=dict)
    query: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    scope: Any = None

    def header(self, name: str, /) -> str | None:
        """Return the header's value, or None where it is absent."""
        return self.headers.get(name)


class Offer(msgspec.Struct, frozen=True):
    """What an entrance can bind from, besides path names and injected values.

    `lenient` bodies may hold unknown names. A stranger's request may not (a typo must not pass in
    silence), a message must: its producer may be a newer release than its consumer.
    """

    query: bool = True
    headers: bool = True
    body: bool = True
    lenient: bool = False


HTTP: Final = Offer()
BODILESS: Final = Offer(body=False)  # GET and HEAD
EVENT: Final = Offer(query=False, headers=False, lenient=True)  # a message, a record, an event
