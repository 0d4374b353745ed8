"""The line that the log has of each request."""

import msgspec

__all__ = ["RequestLine"]


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request in the log. Times are milliseconds; `own` is what was not spent upstream."""

    at: str
    level: str
    process: str
    event: str
    route: str
    method: str
    path: str
    status: int
    trace: str
    own_ms: float
    upstream_ms: float
    bytes: int
    peer: str
    attempts: int = 0
    endpoint: str = ""
    fault: str = ""
    detail: str = ""
    principal: str = ""
    request_id: str = ""
    left: bool = False
    cut: bool = False
