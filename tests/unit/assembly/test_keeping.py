"""An auxiliary that dies: how soon it is started again, and how often where that fails."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from switchgear.assembly import events
from switchgear.assembly.failures import StartError
from switchgear.assembly.keeping import Kept
from switchgear.assembly.settings import Supervision
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


class Server:
    """What dies, and starts or does not, as the test says."""

    name = "database"
    external = False

    def __init__(self) -> None:
        self.well = self.startable = True

    async def start(self) -> None:
        if not self.startable:
            raise StartError("it does not start")
        self.well = True

    async def stop(self) -> None:
        pass

    def alive(self) -> bool:
        return self.well

    def trouble(self) -> str:
        return ""

    def offers(self) -> Mapping[str, str]:
        return {}


class Keeper:
    """Hears what becomes of it."""

    timings = Supervision(restart_first=0.1, restart_most=10, stable=30)

    def __init__(self) -> None:
        self.delays: list[float] = []

    def now(self) -> float:
        return clock()

    def chance(self) -> float:
        return 0.5

    def observe(self, event: events.Event) -> None:
        if isinstance(event, events.AuxiliaryDown):
            self.delays.append(event.delay)

    def changed(self) -> None:
        pass


async def kept(server: Server, keeper: Keeper) -> Kept:
    made = Kept(server, cast(Any, keeper))
    await made.start()
    return made


async def test_what_cannot_be_started_is_tried_ever_more_seldom() -> None:
    """The time in which it is down is none in which it was well, which would forgive all."""
    server, keeper = Server(), Keeper()
    one = await kept(server, keeper)
    await asyncio.sleep(100)
    server.well = server.startable = False
    one.check()
    await asyncio.sleep(120)
    assert keeper.delays[:8] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10])
    assert keeper.delays[8:] == pytest.approx([10.0] * len(keeper.delays[8:]))
    assert len(keeper.delays) < 20
    await one.stop()


async def test_what_was_well_and_is_killed_again_and_again_is_soon_there() -> None:
    server, keeper = Server(), Keeper()
    one = await kept(server, keeper)
    for _ in range(10):
        await asyncio.sleep(15)
        server.well = False
        one.check()
        await asyncio.sleep(1)
        assert one.alive
    assert keeper.delays == pytest.approx([0.1] * 10)
    await one.stop()
