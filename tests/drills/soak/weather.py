"""What a seed does to a cluster's network, and to what stands at its ends."""

import asyncio
import random
import signal
import time
from typing import Final

from switchgear.drills.injection import (
    Cut,
    Delay,
    Direction,
    Drip,
    Hang,
    Injection,
    Pause,
    Refuse,
    Reset,
    Slice,
)
from tests.drills.soak.cluster import Cluster
from tests.drills.soak.monkey import PAUSES, Strike, frozen, send

__all__ = ["Weather"]

LONGEST: Final = 12.0
AFTER: Final = (0, 100, 400, 2000)  # bytes: before the head, within it, behind it
DELAYS: Final = (0.05, 0.3, 1.5)
DIRECTIONS: Final[tuple[Direction, ...]] = ("up", "down", "both")


class Weather:
    """Strikes a cluster, one blow after the other."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.strikes: list[Strike] = []
        self._cluster = cluster
        self._chance = chance
        # A gateway asks the database only when it starts.
        self._ways = [
            one for one in cluster.proxies if not (one.startswith("g") and one.endswith("database"))
        ]

    async def rage(self, seconds: float) -> None:
        """Strike until the time is over; what was struck is healed then."""
        until = time.monotonic() + seconds
        blows = (self._network,) * 6 + (self._kill, self._stop, self._away)
        while time.monotonic() < until:
            strike = Strike("", time.monotonic())
            self.strikes.append(strike)
            await self._chance.choice(blows)(strike, 0.2 * (LONGEST / 0.2) ** self._chance.random())
            strike.healed = time.monotonic()
            await asyncio.sleep(self._chance.choice(PAUSES))

    async def _network(self, strike: Strike, span: float) -> None:
        """Strike one way, or all from somebody, or all to somebody."""
        way = self._chance.choice(self._ways)
        who, _, whom = way.partition(">")
        ways = self._chance.choice(
            [
                [way],
                [one for one in self._ways if one.startswith(f"{who}>")],
                [one for one in self._ways if one.endswith(f">{whom}")],
            ]
        )
        injection = self._injection()
        strike.name = f"{', '.join(ways)} for {span:.1f} s: {injection}"
        numbers = [await self._cluster.proxies[one].inject(injection) for one in ways]
        await asyncio.sleep(span)
        for one, number in zip(ways, numbers, strict=True):
            await self._cluster.proxies[one].heal(number)

    def _injection(self) -> Injection:
        chance = self._chance
        direction = chance.choice(DIRECTIONS)
        share, after = chance.choice((1.0, 1.0, 0.5)), chance.choice(AFTER)
        return chance.choice(
            (
                Delay(seconds=chance.choice(DELAYS), jitter=0.05, direction=direction, share=share),
                Drip(size=200, interval=0.02, direction=direction, share=share),
                Hang(after_bytes=after, direction=direction, share=share),
                Reset(after_bytes=after, direction=direction, share=share),
                Cut(after_bytes=after, direction=direction, share=share),
                Refuse(how="close"),
                Refuse(how="reset", share=share),
                Slice(size=7, direction=direction, share=share),
                Pause(after_bytes=50, seconds=0.2, direction=direction, share=share),
            )
        )

    async def _kill(self, strike: Strike, span: float) -> None:
        seat = self._chance.choice(list(self._cluster.seats.values()))
        strike.name = f"kill {seat.label}"
        send([seat.pid], signal.SIGKILL)

    async def _stop(self, strike: Strike, span: float) -> None:
        seat = self._chance.choice(list(self._cluster.seats.values()))
        strike.name = f"stop {seat.label} for {span:.1f} s"
        await frozen([seat.pid], span)

    async def _away(self, strike: Strike, span: float) -> None:
        strike.name = f"no database for {span:.1f} s"
        await self._cluster.server.stop("fast")
        await asyncio.sleep(span)
        await self._cluster.server.start()
