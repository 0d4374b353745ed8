"""The line of those who wait for a connection.

Were it without patience of its own, then under more load than the server bears each would be let
in when its time is nearly over, and what it asks called off half-way: it would work for nobody.
"""

import asyncio
from math import inf
from typing import Final

from switchgear.core.ambient import ambient
from switchgear.core.clock import Clock
from switchgear.core.permits import wake
from switchgear.engines.postgres.faults import ORIGIN
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Ask, Permit, Waiting
from switchgear.policy.reserve import Reserve
from switchgear.policy.verdict import NEUTRAL

__all__ = ["Line"]

_AGAIN: Final = 1.0  # seconds after which who found no connection may come back


class Line:
    """A bulkhead with as many places as there may be connections; `settings` say who waits.

    The last `kept` places are for routes that have not had their part: one whose statements all
    wait for the same lock would else hold every connection, and all other routes with it.
    """

    def __init__(self, name: str, settings: BulkheadSettings, kept: int, clock: Clock) -> None:
        reserve = Reserve(kept, lambda route: route) if kept else None
        self._gate = Bulkhead(f"{name} connections", settings, reserve=reserve)
        self._permits = settings.permits
        self._clock = clock

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._gate.queued

    async def enter(self, deadline: float) -> Permit:
        """Wait for a place. Raises a Fault (unavailable, refused as full) of effect NONE."""
        call = ambient.get()
        route = "" if call is None else call.trail.route
        got = self._gate.admit(Ask(route, deadline=deadline), self._clock())
        if isinstance(got, Waiting):
            await self._wait(got)
            if isinstance(got.answer, Permit):
                return got.answer
            raise self._full(f"for {self._clock() - got.since:.3g} s")
        if isinstance(got, Permit):
            return got
        raise self._full(f"({got.detail})")

    def leave(self, permit: Permit) -> None:
        """Give a place back, to whoever is next."""
        wake(self._gate.settle(permit, NEUTRAL, self._clock()))

    async def _wait(self, waiting: Waiting) -> None:
        """Sleep until the place in the line is answered, or its time is over."""
        waiting.wake = asyncio.get_running_loop().create_future()
        left = None if waiting.until == inf else max(0.0, waiting.until - self._clock())
        try:
            async with asyncio.timeout(left):
                await waiting.wake
        except TimeoutError:
            if waiting.answer is None:
                self._gate.abandon(waiting, self._clock())
        except BaseException:
            if isinstance(waiting.answer, Permit):  # let in and called off in the same turn
                self.leave(waiting.answer)
            elif waiting.answer is None:
                self._gate.abandon(waiting, self._clock())
            raise

    def _full(self, how: str) -> Fault:
        # Not resource_exhausted: that would tell the client (429) that it asked for too much.
        return Fault(
            Code.UNAVAILABLE,
            f"postgres: all {self._permits} connections were in use {how}",
            effect=Effect.NONE,
            refusal=Refusal.FULL,
            retry_after=_AGAIN,
            origin=ORIGIN,
        )
