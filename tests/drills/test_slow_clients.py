"""Rule 26: slow heads, bodies and readers end by their deadlines, and harm nobody else."""

import asyncio
from typing import NamedTuple

import pytest

from switchgear.drills.process import Process
from switchgear.drills.summary import Summary
from tests.drills.planes import HERE, Plane, cpu_seconds, load, pinned, plane
from tests.drills.strangers import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EACH = 50
# What the closing may take beyond a deadline: the tick of the sweep, the linger of a second in
# which a refused client reads its answer, and a machine that has other things to do.
TOLERANCE = 2.5

SHORT = {"head_timeout": 2.0, "body_grace": 1.0, "write_timeout": 3.0}
DEFAULTS = {"head_timeout": 5.0, "body_grace": 2.0, "write_timeout": 30.0}


class Seen(NamedTuple):
    """What came of an attack: when each slow client was closed, and what the others had of it."""

    ended: dict[str, list[float]]
    attacked: Summary
    control: Summary
    cpu: tuple[float, float]  # seconds, of the attacked and of the control


async def attack(target: Plane, control: Plane, seconds: float) -> Seen:
    """Load two planes at the same time, while slow clients hold on to one of them.

    At the same time, so that whatever else the machine does hits both.
    """
    started = await Process.start(
        str(HERE / "strangers.py"), f"--port={target.port}", f"--each={EACH}",
        f"--within={seconds + 10}",
    )  # fmt: skip
    async with started as strangers:
        pinned(strangers, 1)
        before = [cpu_seconds(one.pid) for one in (target, control)]
        under, beside = await asyncio.gather(
            load(target.port, seconds), load(control.port, seconds)
        )
        used, spared = (
            cpu_seconds(one.pid) - was for one, was in zip((target, control), before, strict=True)
        )
        told = await strangers.line()
    assert told["left"] == 0, told
    return Seen(told["ended"], under, beside, (used, spared))


@pytest.mark.parametrize("kind", ["server", "gateway"])
@pytest.mark.parametrize("settings", [SHORT, DEFAULTS], ids=["short", "defaults"])
async def test_slow_clients_end_by_their_deadlines(
    kind: str, settings: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    given = {} if settings is DEFAULTS else settings
    # A route's own deadline would end a slow body, too, by a 504: it is not what is tested.
    options = ("--deadline", "60")
    async with plane(kind, given, *options) as target, plane(kind, given, *options) as control:
        await load(target.port, 1.0)
        await load(control.port, 1.0)
        assert (await target.figures())["refusals"] == {}
        seen = await attack(target, control, settings["write_timeout"] + 2.0)
        after = await target.figures()
        assert (await control.figures())["refusals"] == {}
    worst = {name: max(times, default=0.0) for name, times in seen.ended.items()}
    soonest = {name: min(times, default=0.0) for name, times in seen.ended.items()}
    with capsys.disabled():
        print(f"\n{kind}, {settings}: closed after {soonest} to {worst} s")
        print(f"  attacked ({seen.cpu[0]:.2f} s of CPU): {seen.attacked.text()}")
        print(f"  control  ({seen.cpu[1]:.2f} s of CPU): {seen.control.text()}")
    assert {name: len(times) for name, times in seen.ended.items()} == dict.fromkeys(KINDS, EACH)
    assert after["refusals"] == {f"{kind}-timeout": EACH for kind in ("head", "body", "write")}
    due = {
        "head": settings["head_timeout"],
        "body": settings["body_grace"],
        "reader": settings["write_timeout"],
    }
    for name, deadline in due.items():
        assert deadline * 0.95 <= soonest[name], f"{name}: before its deadline"
        assert worst[name] <= deadline + TOLERANCE, f"{name}: {worst[name]} s"
    assert seen.control.goodput >= 0.3, f"INVALID: {seen.control.text()}"
    assert seen.attacked.goodput >= 0.95 * seen.control.goodput
    assert after["open"] <= 20, "what is left is the load's own connections"
