"""Patience: how long attempts may take, and what a breaker thinks of that."""

from math import inf
from typing import Final

from switchgear.core.frames import Timeout
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker import BreakerSettings
from switchgear.policy.lint import Plan

__all__ = ["attempts_of", "breaker_of", "given_up", "plan_of"]

USUAL: Final = GatewaySettings().attempt_timeout
SLOW: Final = 0.8  # a call counts as slow from this share of what an attempt may take


def attempts_of(deadline: float, attempt_timeout: float, settings: GatewaySettings) -> Timeout:
    """Say how long one attempt may take of a route's `deadline`, in seconds.

    Where the route does not say it (0), a repeatable call leaves time for all its attempts: a
    route with a long deadline means what it says, and is not cut after the default's second. Where
    one attempt is all that is made, it has all the time; so it has where the configuration says
    that it may take as long: no more can be said of an application without routes of ours.
    """
    if settings.attempts == 1 or USUAL < settings.attempt_timeout >= deadline:
        return Timeout(full=deadline, limit=deadline, share=1.0)
    if attempt_timeout:
        return Timeout(full=deadline, limit=attempt_timeout, share=1.0)
    return Timeout(full=deadline, limit=max(settings.attempt_timeout, deadline / settings.attempts))


def given_up(deadline: float, settings: GatewaySettings) -> str:
    """Doubt a long `deadline` of which one attempt at a GET gets a part; nothing where it does not.

    Whoever sets one mostly has an application that takes as long, and cannot say so of its routes.
    """
    allowed = attempts_of(deadline, 0.0, settings).allow(deadline, repeatable=True)
    if not USUAL < allowed < deadline:
        return ""
    return (
        f"http.deadline = {deadline:g} s is for {settings.attempts} attempts: a GET, PUT or DELETE"
        f" that takes longer than {allowed:g} s is given up each time. Where slowness is no"
        f" failure, set gateway.attempt_timeout = {deadline:g}, too"
    )


def plan_of(route: RouteEntry, settings: GatewaySettings) -> Plan:
    """Tell what is known of a route's lane before its first request, for the linter."""
    timeout = attempts_of(route.deadline, route.attempt_timeout, settings)
    allowed = timeout.allow(route.deadline, repeatable=route.repeatable)
    # Where the route does not say it, it is made to fit; one that has all the time is meant to
    # be the only one.
    several = 0.0 < route.attempt_timeout < route.deadline
    return Plan(
        name=route.name,
        deadline=route.deadline,
        timeout=allowed if route.repeatable else inf,
        share=timeout.share,
        repeatable=route.repeatable,
        retry=BackoffSettings(attempts=settings.attempts) if several else None,
        breaker=breaker_of(allowed),
    )


def breaker_of(allowed: float) -> BreakerSettings:
    """Return the settings of a breaker whose attempts may take `allowed` seconds.

    A probe holds its place for as long as it may take: else several would be out at a time.
    """
    lease = max(BreakerSettings().probe_lease, allowed)
    return BreakerSettings(slow_after=SLOW * allowed, probe_lease=lease)
