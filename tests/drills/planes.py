"""Data planes for the drills: started, pinned apart from their clients, loaded, and asked."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from switchgear.assembly.bodies.web import _within_reach
from switchgear.assembly.control import ask
from switchgear.drills.process import Process
from switchgear.drills.summary import Summary
from switchgear.http.settings import ServerSettings

__all__ = ["HERE", "Plane", "cpu_seconds", "load", "memory", "pinned", "plane"]

HERE = Path(__file__).parent
RATE = 150.0  # ordinary requests a second, below what either does even on a busy machine
PATIENCE = 2.0  # seconds for an ordinary answer: what comes later is no goodput


class Plane(NamedTuple):
    """What is under attack."""

    port: int
    control: Path
    pid: int
    behind: "Plane | None" = None

    async def hold(self, held: bool) -> None:
        """Have the handler stop reading an upload, or go on."""
        await ask(self.control, "hold", held)

    async def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = await ask(self.control, "figures", timeout=10.0)
        return found


def pinned(process: Process, core: int) -> Process:
    """Keep a process to a core, so that clients do not take from servers, where there are two.

    Elsewhere than on Linux nobody can, and a drill measures what it gets.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, {cores[core % len(cores)]})
    return process


@asynccontextmanager
async def plane(
    kind: str, http: Mapping[str, Any], *options: str, **more: Any
) -> AsyncIterator[Plane]:
    """Run a server, or a gateway before another server; both take the same of a client.

    `more` are settings of the gateway, `options` those of its process.
    """
    path = str(HERE / "plane.py")
    settings, behind = json.dumps(http), None
    async with AsyncExitStack() as held:

        async def started(*given: str, core: int, behind: Plane | None = None) -> Plane:
            made = await held.enter_async_context(await Process.start(path, *given))
            pinned(made, core)
            return Plane(made.facts["port"], Path(made.facts["control"]), made.pid, behind)

        if kind == "gateway":
            patient = _within_reach(msgspec.convert(dict(http), ServerSettings))
            inner = msgspec.json.encode(patient).decode()
            behind = await started("server", "--settings", inner, core=1)
            options += ("--upstream", str(behind.port))
            settings = json.dumps({"http": http, **more})
        yield await started(kind, "--settings", settings, *options, core=0, behind=behind)


async def load(port: int, seconds: float) -> Summary:
    """Ask as everybody does, from 127.0.0.1."""
    started = await Process.start(
        "switchgear.drills.load", f"--to=127.0.0.1:{port}", f"--rate={RATE}",
        f"--seconds={seconds}", f"--timeout={PATIENCE}", "--get=/ordinary",
    )  # fmt: skip
    async with started as process:
        pinned(process, 1)
        return msgspec.convert(await process.line(), Summary)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> dict[str, int]:
    """Return a process's resident and proportional memory in bytes."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    return {name: int(fields[name].split()[0]) << 10 for name in ("Rss", "Pss")}
