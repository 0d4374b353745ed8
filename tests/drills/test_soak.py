"""Chaos on the whole system, drawn from a seed: whatever is struck, what was promised holds.

SOAK_SEED=... draws the same blows again (whom they meet depends on the machine, too), and
SOAK_SECONDS=... goes on for longer.
"""

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.drills.soak.actors import Actors, Deed
from tests.drills.soak.cluster import Cluster
from tests.drills.soak.monkey import Monkey, Strike
from tests.drills.soak.verdict import (
    Seen,
    availability,
    effects,
    held,
    lines,
    recovery,
    troubles,
)
from tests.drills.soak.weather import Weather
from tests.drills.system import System, running

SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "100"))
CALM: Final = 15.0  # seconds in which everything has to go well, when all is over
# Seconds for breakers that network faults have opened more than once: each wait is twice as long.
REOPENED: Final = 30.0
HELD: Final = 30  # descriptors more than at the start: connections to the database, of one process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 240)]


class Watch:
    """Looks at the status again and again, and at what each process holds."""

    def __init__(self, system: System) -> None:
        self.told: list[tuple[float, list[str]]] = []
        self.sizes: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._system = system

    async def run(self) -> None:
        while True:
            # It may be stopped, ended, or out of descriptors.
            with suppress(OSError, TimeoutError, IndexError, ValueError):
                status = await self._system.status()
                self.told.append((time.monotonic(), troubles(status)))
                for row in [*status["rows"], {"label": "supervisor", "pid": status["pid"]}]:
                    size = _size(row["pid"])
                    self.sizes[f"{row['label']} ({row['pid']})"].append(size)
            await asyncio.sleep(0.25)

    def untold(self, strikes: list[Strike]) -> Iterator[str]:
        """Find what the status never said although it was so."""
        for strike in strikes:
            said = {
                words
                for at, told in self.told
                if strike.struck <= at < strike.healed + 1.0
                for words in told
            }
            if strike.shown and not any(strike.shown in words for words in said):
                yield f"{strike.name}: the status says {sorted(said)}, not {strike.shown!r}"

    def grown(self) -> Iterator[str]:
        """Find who holds many more descriptors at the end than at first, and print the memory."""
        for label, sizes in sorted(self.sizes.items()):
            if len(sizes) < 80 or not Path(f"/proc/{label.split('(')[1][:-1]}").exists():
                continue
            (files, memory), (now, much) = sizes[20], sizes[-1]
            print(f"  {label}: {files} to {now} descriptors, {memory} to {much} MiB")
            if now > files + HELD:
                yield f"{label} has {now} descriptors, and had {files}"


def _size(pid: int) -> tuple[int, int]:
    """Return how many descriptors a process has, and MiB of memory."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), resident * os.sysconf("SC_PAGE_SIZE") >> 20


def orphans(data: Path) -> list[str]:
    """Return the processes that still work for a system."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(data) in words:
                    found.append(words)
    return found


def drawn() -> int:
    return int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 32)


def failed_late(deed: Deed, end: float) -> bool:
    """Whether something failed when all was over."""
    return deed.wrong != "" and deed.began > end - CALM


async def test_what_was_promised_holds_whatever_is_struck(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = drawn()
    flags = ("--set=processes.workers=2",)
    with capsys.disabled():
        print(f"\nSOAK_SEED={seed}")
        async with running(data_folder, *flags, app="tests/drills/soak") as system:
            wrong = await soaked(system, seed)
            assert await system.stop(signal.SIGTERM) == 0, system.told()
        wrong += [f"it is left: {words}" for words in orphans(data_folder)]
    assert wrong == [], "\n".join([f"SOAK_SEED={seed}", *wrong, system.told()])


async def soaked(system: System, seed: int) -> list[str]:
    """Load a system and strike it; return all that is wrong with it afterwards."""
    actors = Actors(system.address, random.Random(seed + 1))
    monkey, watch = Monkey(system, random.Random(seed)), Watch(system)
    watching = asyncio.create_task(watch.run())
    await actors.start()
    await monkey.rage(SECONDS)
    await system.all_ready(60)
    await asyncio.sleep(2 * CALM)
    end = time.monotonic()
    await actors.stop()
    found = await Seen.of(system)
    await asyncio.sleep(1.0)
    watching.cancel()
    strikes, deeds = monkey.strikes, actors.deeds
    return [
        *effects([actors], found),
        *recovery(strikes, deeds, end),
        *availability(strikes, deeds, end),
        *(f"it still fails: {deed}" for deed in deeds if failed_late(deed, end)),
        *watch.untold(strikes),
        *watch.grown(),
        *(f"the status still says: {words}" for words in troubles(await system.status())),
        *await held(system),
        *lines(system.lines, system.noise),
    ]


async def test_what_was_promised_holds_whatever_the_network_does(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = drawn()
    with capsys.disabled():
        print(f"\nSOAK_SEED={seed}")
        async with Cluster.running(data_folder) as cluster:
            fleet = [
                Actors(address, random.Random(seed + number), f"soak{number}")
                for number, address in enumerate(cluster.gateways, 1)
            ]
            for actors in fleet:
                await actors.start()
            weather = Weather(cluster, random.Random(seed))
            await weather.rage(SECONDS)
            await asyncio.sleep(REOPENED + CALM)
            end = time.monotonic()
            for actors in fleet:
                await actors.stop()
            deeds = [deed for actors in fleet for deed in actors.deeds]
            wrong = [
                *effects(fleet, await Seen.of(cluster)),
                *recovery(weather.strikes, deeds, end, REOPENED),
                *(f"it still fails: {deed}" for deed in deeds if failed_late(deed, end)),
                *lines(cluster.said()),
            ]
    assert wrong == [], "\n".join([f"SOAK_SEED={seed}", *wrong])
