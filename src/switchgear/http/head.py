"""What the head of a request says, once `heads` has read it."""

import msgspec

from switchgear.http.headers import Headers

__all__ = ["Fields", "RequestHead"]


class Fields(msgspec.Struct, frozen=True):
    """What the field lines of a request say. `length` counts the body's bytes, or is CHUNKED."""

    headers: Headers
    host: str | None
    length: int
    keep_alive: bool
    expects: bool
    upgrade: str  # "websocket" or nothing: no other upgrade is known here


class RequestHead(msgspec.Struct, frozen=True):
    """A request's head."""

    method: str
    target: str
    path: str
    query: str
    minor: int
    fields: Fields
