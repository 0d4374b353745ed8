"""Small drills against a toy server: the machinery passes, fails, and says when it cannot know."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from switchgear.drills.address import Address, dial
from switchgear.drills.control import Remote
from switchgear.drills.evidence import Verdict
from switchgear.drills.hazard import Frozen, Injected, Killed
from switchgear.drills.injection import Cut, Hang, Injection, Reset
from switchgear.drills.invariant import (
    GLOBAL,
    answered_within,
    descriptors_back,
    failures_only,
    goodput_at_least,
    recovered_within,
)
from switchgear.drills.load import Plan
from switchgear.drills.process import Process
from switchgear.drills.run import Drill, prove, run
from switchgear.drills.scribe import Scribe

TOY = str(Path(__file__).parent / "toy.py")
BUSY = 10.0  # these drills judge the machinery: a slow machine is no reason for it to be invalid
WRITES = "tests.integration.drills.writes:Writes"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="platform: reads /proc"
)


class Toy:
    """The toy server as its drills see it: a port that stays, a process that may not."""

    def __init__(self, folder: Path, *ways: str) -> None:
        self.store = folder / "store"
        self.ways = ways
        self.port = 0
        self.process: Process | None = None

    async def start(self) -> None:
        if self.process is not None:
            await self.process.kill()
        self.process = await Process.start(
            TOY, "--file", str(self.store), "--port", str(self.port), *self.ways
        )
        self.port = int(self.process.facts["port"])

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def observe(self, scribe: Scribe) -> None:
        for name in self.store.read_text().split():
            scribe.observed(name)


@asynccontextmanager
async def serving(folder: Path, *ways: str) -> AsyncIterator[Toy]:
    folder.mkdir(exist_ok=True)
    toy = Toy(folder, *ways)
    await toy.start()
    try:
        yield toy
    finally:
        assert toy.process is not None
        await toy.process.kill()


async def refused(port: int) -> bool:
    try:
        _, writer = await dial(Address("127.0.0.1", port))
    except ConnectionError:
        return True
    writer.close()
    return False


def unanswered(address: Address) -> Callable[[], Awaitable[bool]]:
    """A canary that asks for a page of its own, and sees the fault when none comes soon."""

    async def canary() -> bool:
        reader, writer = await dial(address)
        try:
            async with asyncio.timeout(0.5):
                writer.write(b"GET /canary HTTP/1.1\r\n\r\n")
                await reader.readuntil(b"/canary")
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return True
        finally:
            writer.transport.abort()
        return False

    return canary


def killing(toy: Toy, name: str, **rest: Any) -> Drill:
    return Drill(
        name=name,
        plan=Plan(Address("127.0.0.1", toy.port), rate=300, seconds=1, timeout=5),
        factory=WRITES,
        hazard=Killed(toy.pid, toy.start),
        canary=lambda: refused(toy.port),
        observe=toy.observe,
        control=0.4,
        fault=0.3,
        recovery=0.8,
        lag=BUSY,
        **rest,
    )


async def test_a_kill_loses_nothing_that_was_kept_before_it_was_acknowledged(
    tmp_path: Path,
) -> None:
    """And the same kill loses writes where they are acknowledged first: so the drill counts."""
    async with (
        serving(tmp_path / "careful") as careful,
        serving(tmp_path / "careless", "--careless") as careless,
    ):
        proof = await prove(killing(careful, "kill"), killing(careless, "kill, careless"))
    print(proof.text())
    assert proof.verdict is Verdict.PASS, proof.text()
    assert proof.protected.account.lost == ()
    assert len(proof.unprotected.account.lost) > 0
    assert proof.unprotected.verdict is Verdict.FAIL
    errors = proof.protected.phases["fault"].errors
    assert errors["refused"] > 0


@pytest.mark.slow
async def test_a_protection_that_changes_nothing_proves_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        proof = await prove(killing(one, "kill"), killing(two, "kill, not protected either"))
    assert proof.protected.verdict is Verdict.PASS, proof.text()
    assert proof.verdict is Verdict.INVALID
    assert "it passes without the protection too" in proof.text()


@pytest.mark.slow
async def test_doubled_effects_are_a_failure(tmp_path: Path) -> None:
    async with serving(tmp_path, "--fickle") as toy:
        report = await run(killing(toy, "fickle"))
    assert report.verdict is Verdict.FAIL, report.text()
    assert len(report.account.duplicated) > 10


@asynccontextmanager
async def proxied(folder: Path, *injections: Injection) -> AsyncIterator[Drill]:
    """A drill whose load goes through a fault proxy."""
    async with serving(folder) as toy:
        arguments = ["--to", f"127.0.0.1:{toy.port}", "--seed", "5"]
        async with await Process.start("switchgear.drills.proxy", *arguments) as proxy:
            front = Address.parse(proxy.facts["listening"])
            async with Remote(Address.parse(proxy.facts["control"])) as remote:
                yield Drill(
                    name="network",
                    plan=Plan(front, rate=300, seconds=1, timeout=5, connections=8),
                    factory=WRITES,
                    arguments={"reads": 2},
                    hazard=Injected(remote, *injections),
                    canary=unanswered(front),
                    observe=toy.observe,
                    control=0.4,
                    fault=1.2,
                    recovery=0.4,
                    lag=BUSY,
                    watched=lambda: {"toy": toy.pid(), "proxy": proxy.pid},
                    seeds={"proxy": proxy.facts["seed"]},
                )


@pytest.mark.slow
async def test_resets_on_the_wire_fail_requests_and_lose_nothing(tmp_path: Path) -> None:
    async with proxied(tmp_path, Reset(after_bytes=900)) as drill:
        report = await run(
            replace(
                drill,
                canary=unanswered_soon(drill),
                invariants=(*GLOBAL, failures_only("reset"), descriptors_back()),
            )
        )
    assert report.verdict is Verdict.PASS, report.text()
    assert report.injected > 5
    assert report.phases["fault"].errors["reset"] > 5
    assert report.phases["recovery"].goodput == 1.0
    assert "seeds: proxy 5" in report.text()


def unanswered_soon(drill: Drill) -> Callable[[], Awaitable[bool]]:
    """A canary for faults that come after some bytes: a connection that asks for many pages."""

    async def canary() -> bool:
        reader, writer = await dial(drill.plan.target)
        try:
            for _ in range(40):
                writer.write(b"GET /canary HTTP/1.1\r\n\r\n")
                await reader.readuntil(b"/canary")
        except (OSError, asyncio.IncompleteReadError):
            return True
        finally:
            writer.transport.abort()
        return False

    return canary


@pytest.mark.slow
async def test_a_hang_is_answered_late_and_told_by_the_deadline(tmp_path: Path) -> None:
    async with proxied(tmp_path, Hang()) as drill:
        late = await run(replace(drill, invariants=(answered_within(0.2),)))
        assert late.verdict is Verdict.FAIL, late.text()


async def test_a_fault_that_does_not_take_is_invalid(tmp_path: Path) -> None:
    async with proxied(tmp_path, Cut(share=1e-9)) as drill:
        report = await run(drill)
    assert report.verdict is Verdict.INVALID
    assert report.reasons == (
        "the canary never saw the fault",
        "the fault did not take: nothing was injected",
    )
    assert all(finding.verdict is Verdict.PASS for finding in report.findings)


@pytest.mark.slow
async def test_a_fault_that_was_there_before_the_strike_is_invalid(tmp_path: Path) -> None:
    async def gloomy() -> bool:
        return True

    async with proxied(tmp_path, Cut()) as drill:
        report = await run(replace(drill, canary=gloomy))
    assert report.verdict is Verdict.INVALID
    assert report.reasons == ("the canary sees the fault before the strike",)


@pytest.mark.slow
async def test_a_control_that_fails_is_invalid(tmp_path: Path) -> None:
    async with serving(tmp_path) as toy:
        nobody = Plan(Address(path=str(tmp_path / "nobody")), rate=300, seconds=1)
        report = await run(replace(killing(toy, "nobody there"), plan=nobody))
    assert report.verdict is Verdict.INVALID
    assert any(reason.startswith("the control failed") for reason in report.reasons)


class Witness:
    """A hazard that kills one of the drill's own witnesses."""

    def __init__(self, module: str) -> None:
        self.module = module.encode()

    def find(self) -> int:
        for home in Path("/proc").iterdir():
            if not home.name.isdigit():
                continue
            try:
                ours = f"PPid:\t{os.getpid()}\n" in (home / "status").read_text()
                if ours and self.module in (home / "cmdline").read_bytes().split(b"\0"):
                    return int(home.name)
            except OSError:
                continue
        raise AssertionError(f"{self.module!r} is not running")


@pytest.mark.parametrize(
    ("module", "reasons"),
    [
        ("switchgear.drills.ledger", ("the load died", "the ledger")),
        ("switchgear.drills.load", ("the load died",)),
    ],
)
async def test_a_drill_whose_witness_dies_is_invalid(
    tmp_path: Path, module: str, reasons: tuple[str, ...]
) -> None:
    async def seen() -> bool:
        seen_before.append(1)
        return len(seen_before) > 1

    seen_before: list[int] = []
    async with serving(tmp_path) as toy:
        drill = replace(killing(toy, "witness"), hazard=Killed(Witness(module).find), canary=seen)
        report = await run(drill)
    assert report.verdict is Verdict.INVALID
    for reason in reasons:
        assert any(each.startswith(reason) for each in report.reasons), report.text()


@pytest.mark.slow
async def test_a_frozen_server_answers_nobody_and_serves_again_when_it_goes_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as toy:
        drill = replace(
            killing(toy, "freeze"),
            hazard=Frozen(toy.pid),
            canary=unanswered(Address("127.0.0.1", toy.port)),
            recovery=2.4,
            fault=1.2,
            invariants=(*GLOBAL, recovered_within(2), goodput_at_least(0.95, "recovery")),
        )
        report = await run(drill)
    assert report.verdict is Verdict.PASS, report.text()
    assert report.phases["fault"].answered.highest > 0.3
