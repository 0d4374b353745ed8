"""One process of each role is killed at a steady load: what fails, and that nothing is lost."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from switchgear.drills.evidence import Evidence, Finding, Invariant, Verdict
from switchgear.drills.hazard import Killed
from switchgear.drills.invariant import GLOBAL, answered_within, recovered_within
from switchgear.drills.load import Plan
from switchgear.drills.run import Drill, run
from tests.drills.system import System, fetch, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RATE = 300
CONNECTIONS = 32


def about_fails_only_with_its_connection(role: str) -> Invariant:
    """GET /about survives every kill but that of the gateway that held its connection."""

    def judge(evidence: Evidence) -> Finding:
        name = "/about fails only with its connection"
        failed = [
            record for record in evidence.records if not record.good and record.sequence % 3 == 2
        ]
        ways = Counter(record.error or str(record.status) for record in failed)
        held = {"reset", "cut"} if role == "gateway" else set()
        fine = set(ways) <= held and len(failed) <= CONNECTIONS
        return Finding(name, Verdict.PASS if fine else Verdict.FAIL, f"{dict(ways)}")

    return judge


@pytest.mark.parametrize("role", ["gateway", "service", "worker", "accounts"])
async def test_a_killed_process_loses_nothing_acknowledged(
    data_folder: Path, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(data_folder) as system:
        token = await system.token()
        victim = await system.pid(f"{role}-1")

        async def gone() -> bool:
            return not Path(f"/proc/{victim}").exists() or await restarted(system, role, victim)

        drill = Drill(
            name=f"kill -9 of a {role}",
            plan=Plan(system.address, rate=RATE, seconds=1, connections=CONNECTIONS, timeout=5),
            factory="tests.drills.traffic:Community",
            arguments={"token": token, "prefix": role},
            hazard=Killed(lambda: victim),
            canary=gone,
            observe=system.welcomed,
            control=3.0,
            fault=3.0,
            recovery=4.0,
            control_goodput=0.99,
            lag=1.0,
            invariants=(
                *GLOBAL,
                answered_within(3.0),
                recovered_within(3.0),
                about_fails_only_with_its_connection(role),
            ),
        )
        report = await run(drill)
        with capsys.disabled():
            print(f"\n{report.text()}")
        await system.all_ready()
        assert report.verdict is Verdict.PASS, f"{report.text()}\n{system.told()}"


async def restarted(system: System, role: str, victim: int) -> bool:
    return await system.pid(f"{role}-1") != victim


async def test_a_killed_supervisor_leaves_no_orphan_and_its_successor_finds_all(
    data_folder: Path,
) -> None:
    system = System(data_folder)
    await system.start()
    token = await system.token()
    pids = [row["pid"] for row in (await system.status())["rows"]]
    created = await create(system, token, "before@example.org")
    assert system.process is not None
    os.kill(system.process.pid, signal.SIGKILL)
    await system.process.wait()
    async with asyncio.timeout(10):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.05)
    async with running(data_folder) as successor:
        status, body = await fetch(successor.address, "GET", f"/users/{created}")
        assert status == 200, body
        await create(successor, token, "after@example.org")
    left = [path for path in Path("/tmp").glob("switchgear-*") if owned(path, pids)]
    assert left == []


async def test_a_killed_postmaster_is_recovered_with_all_acknowledged_data(
    data_folder: Path,
) -> None:
    async with running(data_folder) as system:
        token = await system.token()
        created = await create(system, token, "before@example.org")
        pid = int(next((data_folder / "postgres").rglob("postmaster.pid")).read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while (await fetch(system.address, "GET", f"/users/{created}"))[0] != 200:
                await asyncio.sleep(0.1)
        await create(system, token, "after@example.org")


async def create(system: System, token: str, email: str) -> str:
    """Create a user and return its id."""
    import json

    headers = {"authorization": f"Bearer {token}"}
    body = {"name": "somebody", "email": email}
    status, answer = await fetch(system.address, "POST", "/users", body, headers=headers)
    assert status == 201, answer
    return str(json.loads(answer)["id"])


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def owned(folder: Path, pids: list[int]) -> bool:
    """Say whether a runtime folder is of one of those processes."""
    return any(str(pid) in path.name for pid in pids for path in folder.glob("*"))
