"""What one HTTP call brings to be bound."""

from collections.abc import Mapping

from switchgear.http.message import Request
from switchgear.policy.call import Call
from switchgear.policy.native import native

__all__ = ["HttpGiven"]


@native(free_list_len=1)
class HttpGiven:
    """One request as the plain values that binding reads, and what providers need beside them.

    `body` is read only for a handler that asks for it.
    """

    __slots__ = ("body", "call", "path", "query")

    def __init__(self, call: Call[Request], path: Mapping[str, str]) -> None:
        self.call = call
        self.path = path
        self.query = call.payload.query
        self.body = b""

    def header(self, name: str, /) -> str | None:
        """Return a header by its name in lower case."""
        return self.call.payload.headers.get(name)
