"""Refusals of the edge: a `Fault` that knows its HTTP status and names its reason.

Every reason is known beforehand: what is counted by it cannot be made to grow by strangers.
"""

from typing import Final

from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.status import status_of

__all__ = ["CONFIGURED", "OTHER", "REASONS", "full", "reason_of", "refuse", "status_of"]

REASONS: Final = frozenset(
    {
        # connections
        "address-full",
        "descriptors",
        "draining",
        "head-timeout",
        "server-full",
        "still-sending",
        "tls-handshake",
        "write-timeout",
        # heads; fields that stand twice have their own names
        "authorization",
        "connect",
        "content-type",
        "control-byte",
        "expect",
        "expectation",
        "folding",
        "head-too-large",
        "header-name",
        "host",
        "line-break",
        "list-too-long",
        "loop",
        "malformed",
        "request-line",
        "sec-websocket-key",
        "sec-websocket-version",
        "space-before-colon",
        "target-too-large",
        "too-many-headers",
        "upgrade",
        "version",
        # targets
        "backslash",
        "dot-segment",
        "escape",
        "path-parameter",
        "target",
        # bodies
        "body-timeout",
        "body-too-large",
        "chunk",
        "chunk-extension",
        "chunk-too-small",
        "content-length",
        "trailers-too-large",
        "transfer-encoding",
        # upgrades
        "upgrade-refused",
        # pages of other sites; what is observed alone was let through
        "cross-site",
        "cross-site-observed",
        "origin",
    }
)
"""What a server counts its refusals by."""

OTHER: Final = "other"
"""What it counts a reason by that is none of these."""

CONFIGURED: Final = {
    "address-full": "connections_per_address",
    "body-timeout": "body_rate",
    "body-too-large": "body_bytes",
    "head-timeout": "head_timeout",
    "head-too-large": "head_bytes",
    "server-full": "connections",
    "still-sending": "linger_bytes",
    "target-too-large": "target_bytes",
    "tls-handshake": "head_timeout",
    "too-many-headers": "head_lines",
    "write-timeout": "write_timeout",
}
"""Of each reason that hangs on a figure, the setting that holds it."""


def refuse(reason: str, detail: str, *, status: int = 400) -> Fault:
    """Make the fault that refuses a message: nothing was done, and asking again is no use.

    `reason` is a short token that names the broken rule. It is public, like `status`.
    """
    return Fault(
        Code.INVALID_ARGUMENT,
        detail,
        effect=Effect.NONE,
        extra={"status": status, "reason": reason},
    )


def full(reason: str, detail: str) -> Fault:
    """Make the fault that turns somebody away because there are too many: later there is room."""
    return Fault(
        Code.UNAVAILABLE,
        detail,
        effect=Effect.NONE,
        refusal=Refusal.FULL,
        retry_after=1.0,
        extra={"reason": reason},
    )


def reason_of(fault: Fault) -> str:
    """Return the reason token of a refusal, or nothing."""
    reason = fault.extra.get("reason")
    return reason if isinstance(reason, str) else ""
