"""An external PostgreSQL that goes away for ten seconds: stopped, and hanging with open sockets."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from switchgear.drills.evidence import Evidence, Finding, Invariant, Verdict
from switchgear.drills.invariant import GLOBAL, failures_only, recovered_within
from switchgear.drills.load import Plan
from switchgear.drills.run import Drill, run
from switchgear.drills.summary import summarise
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.embedded import EmbeddedPostgres, EmbeddedSettings
from tests.drills.system import System, fetch, running
from tools.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

AWAY = 10.0
GRACE = 0.25
NOTICED = 5.0  # seconds until nobody waits for it any more: two looks, and a deadline
DEADLINES = (2.0, 3.0, 3.0)  # of what `Community` asks for, in turn: create, list, about


class Stopped:
    """A server that was shut down, and is started again where it was."""

    codes: ClassVar = {"503": "unavailable"}

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._went = 0

    async def strike(self) -> None:
        await self._server.stop("fast")
        self._went = int(not self._server.alive())

    async def heal(self) -> None:
        await self._server.start()

    async def injected(self) -> int:
        return self._went


class Hanging:
    """A server all of whose processes are stopped by SIGSTOP: it accepts and answers nothing.

    Until its silence is noticed, whoever waits for it is answered by the deadline, and so.
    """

    codes: ClassVar = {"503": "unavailable", "504": "deadline_exceeded"}

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._stopped: list[int] = []

    async def strike(self) -> None:
        pid = self._server.pid
        assert pid is not None
        # The postmaster first: from then on there are no new ones.
        for one in [pid, *children(pid)]:
            os.kill(one, signal.SIGSTOP)
            self._stopped.append(one)

    async def heal(self) -> None:
        for one in reversed(self._stopped):
            os.kill(one, signal.SIGCONT)

    async def injected(self) -> int:
        return len(self._stopped)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def external(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Dsn]]:
    """Run a PostgreSQL of its own, reached by TCP as a server of somebody else's would be."""
    port = free_port()
    options = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
    server = EmbeddedPostgres(folder, EmbeddedSettings(options=options))
    own = await server.start()
    try:
        yield server, Dsn("127.0.0.1", port, own.user, own.password)
    finally:
        await server.stop("immediate")


def about_goes_on(evidence: Evidence) -> Finding:
    """What needs no database answers every time."""
    asked = [one for one in evidence.of("fault") if one.sequence % 3 == 2]
    ways = Counter(one.error or str(one.status) for one in asked)
    fine = bool(asked) and all(one.good for one in asked)
    return Finding("/about goes on", _verdict(fine), f"{dict(ways)}")


def in_time(evidence: Evidence) -> Finding:
    """Every request has its outcome by its own route's deadline and a quarter of a second."""
    over = [one.latency - DEADLINES[one.sequence % 3] for one in evidence.records]
    worst = f"{max(over):+.3f} s at worst"
    return Finding("an outcome by each route's deadline", _verdict(max(over) <= GRACE), worst)


def at_once_after(seconds: float) -> Invariant:
    """Once its absence is known, nobody waits for it."""

    def judge(evidence: Evidence) -> Finding:
        late = [one for one in evidence.of("fault") if one.scheduled > evidence.struck + seconds]
        ranks = summarise(late).every
        statuses = Counter(one.status for one in late if not one.good)
        fine = bool(late) and ranks.p99 < GRACE and set(statuses) == {503}
        detail = f"p99 {ranks.p99:.3f} s, {dict(statuses)}"
        return Finding(f"503 at once after {seconds:g} s", _verdict(fine), detail)

    return judge


def _verdict(fine: bool) -> Verdict:
    return Verdict.PASS if fine else Verdict.FAIL


class Readiness:
    """Looks at readiness through the gateway, again and again."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.statuses: Counter[int] = Counter()

    async def degraded(self) -> bool:
        status, body = await fetch(self._system.address, "GET", "/health/ready")
        self.statuses[status] += 1
        return any("database" in one for one in json.loads(body)["degraded"])

    async def watch(self) -> None:
        while True:
            await self.degraded()
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("hazard", [Stopped, Hanging])
async def test_a_database_that_is_away_takes_only_its_own_routes(
    data_folder: Path,
    hazard: type[Stopped | Hanging],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data_folder.mkdir()
    async with external(data_folder / "external") as (server, dsn):
        env = {"DRILL_DATABASE": dsn.url()}
        flag = '--set=database.url={env = "DRILL_DATABASE"}'
        async with running(data_folder / "own", flag, env=env, database=dsn) as system:
            token = await system.token()
            readiness = Readiness(system)
            drill = Drill(
                name=f"the database is {hazard.__name__.lower()} for {AWAY:g} s",
                plan=Plan(system.address, rate=150, seconds=1, connections=600, timeout=6),
                factory="tests.drills.traffic:Degraded",
                arguments={"token": token, "prefix": "away", "codes": hazard.codes},
                hazard=hazard(server),
                canary=readiness.degraded,
                observe=system.welcomed,
                control=4.0,
                fault=AWAY,
                recovery=8.0,
                lag=1.0,
                invariants=(
                    *GLOBAL,
                    about_goes_on,
                    failures_only(*hazard.codes),
                    at_once_after(NOTICED),
                    in_time,
                    recovered_within(5.0, share=1.0),
                ),
            )
            watching = asyncio.create_task(readiness.watch())
            try:
                report = await run(drill)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            with capsys.disabled():
                print(f"\n{report.text()}\n  readiness: {dict(readiness.statuses)}")
            assert report.verdict is Verdict.PASS, f"{report.text()}\n{system.told()}"
            assert set(readiness.statuses) == {200}
            assert not await readiness.degraded()
