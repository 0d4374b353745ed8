"""Following which sessions have ended, so that their access tokens end within seconds (rule 33).

A gateway asks again and again, for what has ended since it last asked: to be told would be
quicker, and lost with the connection. While accounts do not answer, known tokens go on.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from switchgear.accounts.surface import Ended
from switchgear.assembly.bodies.asking import Ask
from switchgear.identity.revocations import Revocations
from switchgear.policy.fault import Fault
from switchgear.telemetry.logs import Log, trace_of

__all__ = ["EndedSessions"]

# Seconds that are asked for once more: what was written earlier may have been committed later.
_OVERLAP: Final = 60.0
_SURE: Final = 3  # failed looks in a row until it is told: accounts are slower to start than we are


class EndedSessions:
    """Keep `revocations` up to date. `leeway` is for how long a token is accepted after its end."""

    def __init__(
        self,
        ask: Ask,
        revocations: Revocations,
        log: Log,
        leeway: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ask = ask
        self._revocations = revocations
        self._log = log
        self._leeway = leeway
        self._wall = wall
        self._since = 0.0
        self._failed = 0

    async def follow(self, every: float) -> None:
        """Look every so many seconds, for good."""
        while True:
            await self.look()
            await asyncio.sleep(every)

    async def look(self) -> None:
        """Ask what has ended since the last look; say once that there are no answers."""
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 - whatever failed, the next look must come
            self._failed += 1
            if self._failed == _SURE:
                told = error.detail if isinstance(error, Fault) else trace_of(error)
                self._log.warning("ended sessions are not heard of", detail=told)
        else:
            self._failed = 0

    async def _read(self) -> None:
        since, after = max(0.0, self._since - _OVERLAP), ""
        while True:
            answer = await self._ask(f"since={since!r}&after={after}")
            page = msgspec.json.decode(answer, type=Ended)
            now = self._wall()
            for session, until in page.sessions:
                self._revocations.revoke(session, until + self._leeway, now)
            since, after = page.since, page.after
            self._since = max(self._since, since)
            if not page.full:
                return
