"""Ours: every way in which the benchmark protects a function with Switchgear, in one place."""

from switchgear.core.observe import Observer
from switchgear.core.policy import Policy

__all__ = ["breaking", "no_retry", "retrying", "whole"]


def whole(observe: Observer | None = None) -> Policy:
    """Protect as an empty configuration does: everything is on."""
    return Policy("bench", repeatable=True, observe=observe)


def no_retry() -> Policy:
    """Protect with all but the retry."""
    return Policy("bench", repeatable=True, retry=None)


def retrying() -> Policy:
    """Protect with a retry, and the budget that always comes with it."""
    return Policy(
        "bench",
        repeatable=True,
        deadline=None,
        timeout=None,
        hurry=None,
        breaker=None,
        bulkhead=None,
    )


def breaking() -> Policy:
    """Protect with a breaker."""
    return Policy("bench", deadline=None, timeout=None, retry=None, hurry=None, bulkhead=None)
