"""What the head of a message says, once `heads` has read it."""

from switchgear.http.headers import Headers
from switchgear.policy.native import native

__all__ = ["Fields", "Memo", "RequestHead", "ResponseHead"]


class Fields:
    """What the field lines of a request say. `length` counts the body's bytes, or is CHUNKED.

    `upgrade` is "websocket" or nothing: no other one is known here.
    """

    __slots__ = ("expects", "headers", "host", "keep_alive", "length", "upgrade")

    def __init__(
        self,
        headers: Headers,
        host: str | None,
        length: int,
        *,
        keep_alive: bool,
        expects: bool,
        upgrade: str,
    ) -> None:
        self.headers = headers
        self.host = host
        self.length = length
        self.keep_alive = keep_alive
        self.expects = expects
        self.upgrade = upgrade

    def told(self) -> tuple[object, ...]:
        """Return all that they say."""
        upgrade, expects = self.upgrade, self.expects
        return (list(self.headers), self.host, self.length, self.keep_alive, expects, upgrade)


@native(free_list_len=1)
class RequestHead:
    """A request's head."""

    __slots__ = ("fields", "method", "minor", "path", "query", "target")

    def __init__(
        self, method: str, target: str, path: str, query: str, minor: int, fields: Fields
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minor = minor
        self.fields = fields

    def told(self) -> tuple[object, ...]:
        """Return all that it says."""
        first = (self.method, self.target, self.path, self.query, self.minor)
        return (*first, *self.fields.told())


class ResponseHead:
    """A response's head. `length` counts the body's bytes, or is CHUNKED or UNTIL_CLOSE."""

    __slots__ = ("headers", "keep_alive", "length", "minor", "status")

    def __init__(
        self, status: int, minor: int, headers: Headers, length: int, *, keep_alive: bool
    ) -> None:
        self.status = status
        self.minor = minor
        self.headers = headers
        self.length = length
        self.keep_alive = keep_alive

    def told(self) -> tuple[object, ...]:
        """Return all that it says."""
        return (self.status, self.minor, list(self.headers), self.length, self.keep_alive)


class Memo:
    """The field lines that a connection's last request had, and what they said.

    Most clients repeat them byte for byte.
    """

    __slots__ = ("block", "fields")

    def __init__(self) -> None:
        self.block = b""
        self.fields: Fields | None = None
