"""What the traps are shown with: policies in virtual time, and functions that go wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from switchgear import BreakerSettings, Code, Effect, Fault, Policy
from switchgear.policy.breaker import State
from switchgear.testing import advance, clock

__all__ = ["SEED", "answer", "away", "ended", "hang", "make", "opened", "slow", "state"]

SEED = 19


def make(name: str = "mail", **options: Any) -> Policy:
    """Make a policy in virtual time, with the same random numbers each time."""
    return Policy(name, **{"clock": clock, "random": Random(SEED).random, **options})


async def answer() -> str:
    return "well"


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "well"


async def away() -> None:
    """Fail as a dependency does that is down, and surely does nothing."""
    raise Fault(Code.UNAVAILABLE, "it is away", effect=Effect.NONE)


async def ended(policy: Policy, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Call once, and return what was returned, or the fault."""
    try:
        return await policy.call(function, *args)
    except Fault as fault:
        return fault


async def opened(**options: Any) -> Policy:
    """Make a policy whose breaker has just opened, for 5 seconds without jitter."""
    options = {"attempts": 1, "breaker": BreakerSettings(jitter=0.0), **options}
    mail = make(**options)
    for _ in range(5):
        await ended(mail, away)
    assert mail.breaker is not None
    assert mail.breaker.state is State.OPEN
    await advance()
    return mail


def state(policy: Policy) -> State:
    """Say where a policy's breaker stands."""
    assert policy.breaker is not None
    return policy.breaker.state
