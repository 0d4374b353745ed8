"""A handler that computes is asked for twice what it bears: it goes on, and its neighbours do."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.drills.system import System, fetch, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

APP = """
import asyncio
import time

from switchgear import App

app = App("overloaded")


def compute() -> None:
    until = time.thread_time() + 0.03
    while time.thread_time() < until:
        pass


@app.get("/at-once", public=True)
async def at_once() -> int:
    compute()
    return 1


@app.get("/after-a-wait", public=True)
async def after_a_wait() -> int:
    await asyncio.sleep(0.01)
    compute()
    return 1


@app.get("/cheap", public=True)
async def cheap() -> int:
    await asyncio.sleep(0.005)
    return 1


async def foreign(scope, receive, send):
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    compute()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"1"})


app.mount("/foreign", foreign)
"""
SECONDS = 15.0
CONTROL = 5.0


@pytest.mark.parametrize("path", ["/at-once", "/after-a-wait", "/foreign/a"])
async def test_twice_what_it_bears_is_answered_as_far_as_it_bears_it(
    data_folder: Path, path: str
) -> None:
    folder = data_folder / "app"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    async with running(data_folder / "data", app=str(folder)) as system:
        bears = await control(system, path)
        assert bears > 5, system.told()
        asked, neighbours = await asyncio.gather(
            offered(system, path, 2 * bears), offered(system, "/cheap", 10)
        )
        told = f"of {bears:.0f}/s: {dict(asked)}, {dict(neighbours)}\n{system.told()}"
        assert asked[200] >= 0.7 * bears * SECONDS, told
        assert neighbours[200] >= 0.9 * neighbours.total(), told
        assert any(line.get("event") == "route narrowed" for line in system.lines), told


async def control(system: System, path: str) -> float:
    """Return how many are answered in a second where four ask without end."""
    until = time.monotonic() + CONTROL
    answered = 0

    async def one() -> None:
        nonlocal answered
        while time.monotonic() < until:
            status, _ = await fetch(system.address, "GET", path)
            answered += status == 200

    await asyncio.gather(*(one() for _ in range(4)))
    return answered / CONTROL


async def offered(system: System, path: str, rate: float) -> Counter[int]:
    """Ask at a rate, whatever comes of it; return how often which status was the answer."""
    begun = time.monotonic()
    asked: list[asyncio.Task[tuple[int, bytes]]] = []
    while (passed := time.monotonic() - begun) < SECONDS:
        while len(asked) < passed * rate:
            asked.append(asyncio.create_task(fetch(system.address, "GET", path, within=20.0)))
        await asyncio.sleep(0.005)
    return Counter(status for status, _ in await asyncio.gather(*asked))
