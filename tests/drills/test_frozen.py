"""A service process that hangs with its sockets open: left out, waited for, taken back."""

import time
from datetime import datetime
from pathlib import Path

import pytest

from switchgear.drills.evidence import Evidence, Finding, Invariant, Phase, Verdict
from switchgear.drills.hazard import Frozen
from switchgear.drills.invariant import (
    GLOBAL,
    answered_within,
    descriptors_back,
    failures_only,
    goodput_at_least,
    recovered_within,
)
from switchgear.drills.load import Plan
from switchgear.drills.run import Drill, run
from switchgear.drills.summary import summarise
from tests.drills.system import System, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VICTIM = "service-1"
FREEZE = 20.0
LEFT_OUT = 5.0  # seconds until nobody asks it: three without a beat, and a busy machine
BACK = 15.0  # seconds from the thaw until it serves again


def p99_below(seconds: float, phase: Phase) -> Invariant:
    """Of a hundred requests of a phase, whatever their end, one takes longer at most."""

    def judge(evidence: Evidence) -> Finding:
        ranks = summarise(evidence.of(phase)).every
        verdict = Verdict.PASS if ranks.p99 < seconds else Verdict.FAIL
        detail = f"{ranks.p99:.3f} s, the highest {ranks.highest:.3f} s"
        return Finding(f"p99 below {seconds:g} s in {phase}", verdict, detail)

    return judge


class Watched(Frozen):
    """A freeze that remembers when it struck and healed, by the clock of the system's log."""

    struck = healed = ejected = 0.0

    async def strike(self) -> None:
        await super().strike()
        self.struck = time.time()

    async def heal(self) -> None:
        await super().heal()
        self.healed = time.time()


def asked(system: System, label: str) -> list[tuple[float, int]]:
    """Return when requests that a process had last were answered, and how: the log tells."""
    return [
        (datetime.fromisoformat(line["at"]).timestamp(), line["status"])
        for line in system.lines
        if line.get("event") == "request" and line.get("endpoint") == label
    ]


async def test_a_frozen_process_is_left_out_and_serves_again(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(data_folder) as system:
        token = await system.token()
        rows = {row["label"]: row["pid"] for row in (await system.status())["rows"]}
        freeze = Watched(lambda: rows[VICTIM])

        async def unroutable() -> bool:
            told = (await system.status())["rows"]
            found = any(row["label"] == VICTIM and row["state"] == "unroutable" for row in told)
            if found and not freeze.ejected:
                freeze.ejected = time.time() - freeze.struck
            return found

        drill = Drill(
            name=f"SIGSTOP of a service process for {FREEZE:g} s",
            plan=Plan(system.address, rate=300, seconds=1, connections=64, timeout=5),
            factory="tests.drills.traffic:Community",
            arguments={"token": token, "prefix": "frozen"},
            hazard=freeze,
            canary=unroutable,
            observe=system.welcomed,
            control=5.0,
            fault=FREEZE,
            recovery=BACK + 1.0,
            lag=1.0,
            watched=lambda: {one: pid for one, pid in rows.items() if "gateway" in one},
            invariants=(
                *GLOBAL,
                p99_below(1.5, "fault"),
                goodput_at_least(0.99, "fault"),
                failures_only("503", "504"),
                answered_within(3.0),
                recovered_within(3.0),
                descriptors_back(),
            ),
        )
        report = await run(drill)
        lines = asked(system, VICTIM)
        # What was on its way when it was left out ends within a deadline of that.
        astray = [at for at, _ in lines if freeze.struck + LEFT_OUT + 3 < at < freeze.healed]
        again = [at - freeze.healed for at, status in lines if at > freeze.healed and status < 400]
        with capsys.disabled():
            print(f"\n{report.text()}")
            print(
                f"  unroutable {freeze.ejected:.1f} s after the strike; after the thaw it answered"
            )
            print(f"  {len(again)} requests, the first after {min(again, default=-1):.2f} s")
        told = (await system.status())["rows"]
        assert report.verdict is Verdict.PASS, f"{report.text()}\n{system.told()}"
        assert freeze.ejected < LEFT_OUT
        assert astray == [], "it was asked although it was known to hang"
        assert min(again, default=BACK) < BACK
        assert {row["label"]: row["pid"] for row in told} == rows, "a process was replaced"
