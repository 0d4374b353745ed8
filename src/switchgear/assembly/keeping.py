"""Keeping an auxiliary alive: started before the roles, looked at every beat, started again."""

import asyncio
from collections.abc import Mapping

from switchgear.assembly import events
from switchgear.assembly.failures import StartError
from switchgear.assembly.member import Keeper
from switchgear.assembly.restart import Restarts
from switchgear.assembly.roles import Auxiliary

__all__ = ["Kept"]


class Kept:
    """One auxiliary under care. `up` turns true once and says that the roles may start."""

    def __init__(self, auxiliary: Auxiliary, keeper: Keeper) -> None:
        self.name = auxiliary.name
        self.up = False
        self._auxiliary = auxiliary
        self._keeper = keeper
        self._restarts = Restarts(keeper.timings)
        self._since = keeper.now()
        self._again: asyncio.Task[None] | None = None
        self._stopping = False
        self._why = ""  # it is down

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self.up and self._auxiliary.alive()

    def trouble(self) -> str:
        """Return why it is down, or what is wrong with it though it runs."""
        return self._why or self._auxiliary.trouble()

    def offers(self) -> Mapping[str, str]:
        """Return what roles need to reach it."""
        return self._auxiliary.offers()

    async def start(self) -> None:
        """Start it for the first time; what it raises ends the start of the system."""
        began = self._keeper.now()
        await self._auxiliary.start()
        self.up = True
        self._why = ""
        self._since = self._keeper.now()
        self._keeper.observe(events.AuxiliaryUp(self.name, self._since - began))

    def check(self) -> None:
        """Start it again if it died."""
        if not self.up or self._stopping or self._again is not None:
            return
        if not self._auxiliary.alive():
            self._again = asyncio.get_running_loop().create_task(self._restart())

    async def stop(self) -> None:
        """Stop it, whatever it is doing, and do not take its end for a death."""
        self._stopping = True
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)
        await self._auxiliary.stop()

    async def _restart(self) -> None:
        why = "it died, or cannot be reached"
        well = self._keeper.now() - self._since
        try:
            while True:
                self._why = why
                delay = self._restarts.delay(well, self._keeper.chance())
                well = 0.0  # since then
                self._keeper.observe(events.AuxiliaryDown(self.name, why, delay))
                await asyncio.sleep(delay)
                try:
                    await self.start()
                except Exception as error:  # noqa: BLE001 - told by the event, and tried again
                    why = error.sentence if isinstance(error, StartError) else repr(error)
                else:
                    return
        finally:
            self._again = None
