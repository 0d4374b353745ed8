"""How late an event loop runs, and who is told."""

import asyncio
from typing import Any

import pytest

from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.process import LagProbe
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


async def test_each_is_told_by_how_much_even_one_who_came_later() -> None:
    told: list[float] = []
    listeners = [told.append]
    probe = LagProbe(Registry(), clock=clock, told=listeners)
    loop: Any = asyncio.get_running_loop()
    probe.start(loop)
    await asyncio.sleep(0.15)
    also: list[float] = []
    listeners.append(also.append)
    loop._now += 0.25
    await asyncio.sleep(0.2)
    probe.stop()
    assert told[:2] == pytest.approx([0.0, 0.2])
    assert also == told[1:]
    assert probe.take_worst() == pytest.approx(0.2)
    assert probe.take_worst() == 0.0


async def test_one_who_fails_ends_no_measuring() -> None:
    def fail(_: float) -> None:
        raise LookupError("of its own")

    told: list[float] = []
    defects: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: defects.append(context["exception"]))
    probe = LagProbe(Registry(), clock=clock, told=[told.append, fail])
    probe.start(loop)
    await asyncio.sleep(1.05)
    probe.stop()
    assert len(told) == len(defects) == 10
