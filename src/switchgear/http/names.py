"""Names of fields that nearly everybody sends.

They are known from the start: what is learnt of names is bounded, and a stranger who comes first
could fill it with names of his own.
"""

from typing import Final

__all__ = ["COMMON"]

COMMON: Final = (
    "accept", "accept-encoding", "accept-language", "accept-ranges", "access-control-allow-origin",
    "access-control-request-headers", "access-control-request-method", "age", "allow",
    "authorization", "cache-control", "connection", "content-encoding", "content-language",
    "content-length", "content-security-policy", "content-type", "cookie", "date", "dnt", "etag",
    "expect", "expires", "host", "if-match", "if-modified-since", "if-none-match", "keep-alive",
    "last-modified", "link", "location", "origin", "pragma", "priority", "range", "referer",
    "retry-after", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest",
    "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user", "sec-websocket-key",
    "sec-websocket-version", "server", "server-timing", "set-cookie", "strict-transport-security",
    "te", "traceparent", "tracestate", "transfer-encoding", "upgrade", "upgrade-insecure-requests",
    "user-agent", "vary", "via", "x-content-type-options", "x-request-id", "x-requested-with",
)  # fmt: skip
