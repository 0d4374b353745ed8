"""Rule 26: slow heads, bodies and readers end by their deadlines, and harm nobody else."""

import pytest

from switchgear.drills.process import Process
from switchgear.drills.summary import Summary
from tests.drills.planes import HERE, Plane, load, pinned, plane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EACH = 50
# What the closing may take beyond a deadline: the tick of the sweep, the linger of a second in
# which a refused client reads its answer, and a machine that has other things to do.
TOLERANCE = 2.5

SHORT = {"head_timeout": 2.0, "body_grace": 1.0, "write_timeout": 3.0}
DEFAULTS = {"head_timeout": 5.0, "body_grace": 2.0, "write_timeout": 30.0}


async def attacked(plane: Plane, seconds: float) -> tuple[dict[str, list[float]], Summary]:
    """Load a plane while slow clients hold on to it; return when each of these was closed."""
    started = await Process.start(
        str(HERE / "strangers.py"), f"--port={plane.port}", f"--each={EACH}",
        f"--within={seconds + 10}",
    )  # fmt: skip
    async with started as strangers:
        pinned(strangers, 1)
        under = await load(plane.port, seconds)
        told = await strangers.line()
    assert told["left"] == 0, told
    ended: dict[str, list[float]] = told["ended"]
    return ended, under


@pytest.mark.parametrize("kind", ["server", "gateway"])
@pytest.mark.parametrize("settings", [SHORT, DEFAULTS], ids=["short", "defaults"])
async def test_slow_clients_end_by_their_deadlines(
    kind: str, settings: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    given = {} if settings is DEFAULTS else settings
    seconds = settings["write_timeout"] + 2.0
    # A route's own deadline would end a slow body, too, by a 504: it is not what is tested.
    async with plane(kind, given, "--deadline", "60") as target:
        control = await load(target.port, min(seconds, 8.0))
        before = await target.figures()
        ended, under = await attacked(target, seconds)
        after = await target.figures()
    assert before["refusals"] == {}
    assert control.goodput >= 0.98, f"INVALID: {control.text()}"
    worst = {name: max(times) for name, times in ended.items()}
    soonest = {name: min(times) for name, times in ended.items()}
    with capsys.disabled():
        print(f"\n{kind}, {settings}: closed after {soonest} to {worst} s")
        print(f"  control: {control.text()}\n  attacked: {under.text()}")
    assert {name: len(times) for name, times in ended.items()} == {
        "head": EACH, "body": EACH, "reader": EACH,
    }  # fmt: skip
    assert after["refusals"] == {
        "head-timeout": EACH, "body-timeout": EACH, "write-timeout": EACH,
    }  # fmt: skip
    due = {
        "head": settings["head_timeout"],
        "body": settings["body_grace"],
        "reader": settings["write_timeout"],
    }
    for name, deadline in due.items():
        assert deadline * 0.95 <= soonest[name], f"{name}: before its deadline"
        assert worst[name] <= deadline + TOLERANCE, f"{name}: {worst[name]} s"
    assert under.goodput >= 0.95 * control.goodput
    assert after["open"] <= 20, "what is left is the load's own connections"
