"""Refusals of the edge: a `Fault` that knows its HTTP status and names its reason."""

from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.status import status_of

__all__ = ["reason_of", "refuse", "status_of"]


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


def reason_of(fault: Fault) -> str:
    """Return the reason token of a refusal, or nothing."""
    reason = fault.extra.get("reason")
    return reason if isinstance(reason, str) else ""
