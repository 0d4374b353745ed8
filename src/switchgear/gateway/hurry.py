"""Deadlines that clients ask for: they can shorten ours, never lengthen it (rule 11)."""

from switchgear.http.headers import Headers
from switchgear.policy.remaining import FLOOR, read_remaining

__all__ = ["FLOOR", "asked_for"]


def asked_for(headers: Headers) -> float | None:
    """Return the seconds within which a client, a stranger, wants its answer; None: no matter."""
    return read_remaining(headers.get)
