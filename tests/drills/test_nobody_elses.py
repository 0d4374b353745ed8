"""A crowd of clients before upstreams that keep no rule: nobody gets a byte of anybody else.

    50 clients --> gateway --few kept connections--> two processes that misbehave

No answer that was cut is complete, no request is done twice that may not be, nobody waits for ever;
and when the crowd has gone, nothing of it is left: no permit, no connection, no descriptor.
"""

import asyncio
import secrets
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from switchgear.assembly.control import ask
from switchgear.drills.process import Census, Process, census
from tests.drills.crowd import Crowd
from tests.drills.front import ROUTES
from tests.drills.planes import HERE
from tests.drills.unruly import KINDS, WELL
from tests.support.authority import LOOPBACK, Authority

MOST_GROWTH = 96 << 20
# Over TLS a connection has a buffer of 256 KiB, and a dead one lies about till it is collected.
MOST_GROWTH_OVER_TLS = 384 << 20
SETTLED = 60.0  # seconds in which the last of a crowd has gone
NAMES = ("connections", "sessions", "in_use", "permits", "queued", "pipes")


class Stand(NamedTuple):
    """A gateway, and the processes behind it."""

    front: Process
    upstreams: list[Process]
    tls: ssl.SSLContext | None


@asynccontextmanager
async def standing(folder: Path, *, before: bool, behind: bool) -> AsyncIterator[Stand]:
    """Run a gateway before two upstreams, with TLS on either side of it."""
    authority = Authority(folder, "authority")
    certificate = str(authority.issue(LOOPBACK))
    async with AsyncExitStack() as held:

        async def start(script: str, *options: str) -> Process:
            process = await Process.start(str(HERE / script), *options)
            return await held.enter_async_context(process)

        tls = ("--tls", certificate)
        other = tls if behind else ("--unix", str(folder / "unruly"))
        upstreams = [
            await start("unruly.py", *(tls if behind else ())),
            await start("unruly.py", *other),
        ]
        options = [one for process in upstreams for one in ("--upstream", process.facts["address"])]
        options += [*tls] if before else []
        options += ["--ca", str(authority.file)] if behind else []
        context = ssl.create_default_context(cafile=authority.file) if before else None
        yield Stand(await start("front.py", *options), upstreams, context)


async def figures(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = await ask(Path(process.facts["control"]), "figures", timeout=20.0)
    return found


def held_by(process: Process) -> Census:
    found = census(process.pid)
    assert found is not None, "the gateway has ended"
    return found


async def settled(front: Process, descriptors: int, tasks: int) -> tuple[dict[str, Any], int]:
    """Wait till nothing of a crowd is left; return what the gateway says, and its descriptors.

    Those of connections that it keeps for the next crowd do not count.
    """
    async with asyncio.timeout(SETTLED):
        while True:
            now = await figures(front)
            more = held_by(front).descriptors - now["idle"]
            left = any(now[name] for name in NAMES) or more > descriptors or now["tasks"] > tasks
            if not left:
                return now, more
            await asyncio.sleep(0.05)


async def wrongs(crowd: Crowd, upstreams: list[Process]) -> list[str]:
    """Return what may not be, by what the crowd has got and by what the upstreams have."""
    seen = [await figures(one) for one in upstreams]
    wrong = crowd.wrong + [one for each in seen for one in each["foreign"]]
    for mark, well in crowd.posted.items():
        times = sum(one["taken"].get(mark, 0) for one in seen)
        if times > 1 or (well and not times):
            wrong.append(f"the POST {mark} was done {times} times")
    missing = [kind for kind in KINDS if not any(kind in one["kinds"] for one in seen)]
    assert not missing, f"INVALID: nothing was {missing}"
    return wrong


async def drill(stand: Stand, clients: int, wishes: int, most: int) -> None:
    seed, port, tls = secrets.randbits(32), stand.front.facts["port"], stand.tls
    print(f"\nseed {seed}")
    await Crowd(port, tls, ~seed, ROUTES).run(clients, clients)
    first, descriptors = await settled(stand.front, 1 << 20, 1 << 20)
    resident = held_by(stand.front).resident_bytes
    crowd = Crowd(port, tls, seed, ROUTES)
    await crowd.run(clients, wishes)
    print(f"{crowd.ends.total()} answers, {crowd.bytes >> 20} MiB")
    for (kind, end), count in sorted(crowd.ends.items()):
        print(f"  {kind:6} {end:6} {count}")
    wrong = await wrongs(crowd, stand.upstreams)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
    well = {end: count for (kind, end), count in crowd.ends.items() if kind == WELL}
    assert well["whole"] > 0.4 * sum(well.values()), f"INVALID: mostly refused, {well}"
    last, _ = await settled(stand.front, descriptors, first["tasks"])
    growth = held_by(stand.front).resident_bytes - resident
    print(f"{last['poisoned']} connections were poisoned, {last['spliced']} answers went past us,"
          f" {last['stale']} requests were sent again; it grew by {growth >> 20} MiB")  # fmt: skip
    assert last["poisoned"] > first["poisoned"], "INVALID: no rule was broken"
    assert (last["defects"], last["unhandled"]) == (0, [])
    assert growth <= most


@pytest.mark.timeout(120)
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_crowd_for_a_moment(tmp_path: Path, secured: bool) -> None:
    async with standing(tmp_path, before=secured, behind=secured) as stand:
        if secured:
            await drill(stand, 40, 300, MOST_GROWTH_OVER_TLS)
        else:
            await drill(stand, 40, 1600, MOST_GROWTH)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_gateway_that_drains_amid_a_crowd(tmp_path: Path, secured: bool) -> None:
    """Whoever was not told of the end has an answer; a session is told to connect again."""
    async with standing(tmp_path, before=secured, behind=secured) as stand:
        crowd = Crowd(stand.front.facts["port"], stand.tls, secrets.randbits(32), ROUTES)
        asking = asyncio.create_task(crowd.run(40, 1 << 30))
        while crowd.ends.total() < 200:
            await asyncio.sleep(0.01)
        stand.front.signal(signal.SIGTERM)
        code = await stand.front.ended()
        crowd.leave()
        await asking
        assert not crowd.wrong, f"{len(crowd.wrong)}:\n" + "\n".join(crowd.wrong[:40])
        assert code == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("before", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("behind", [False, True], ids=["to plain", "to tls"])
async def test_a_crowd(tmp_path: Path, before: bool, behind: bool) -> None:
    async with standing(tmp_path, before=before, behind=behind) as stand:
        if before or behind:
            await drill(stand, 50, 5000, MOST_GROWTH_OVER_TLS)
        else:
            await drill(stand, 50, 20_000, MOST_GROWTH)
