"""Run a drill: load a system steadily, strike it, heal it, and judge what its witnesses saw.

```
     control            fault            recovery
|---------------|-----------------|-----------------|  open-loop load, another process
          canary: clear    canary: sees it             the ledger, a third one
                ^ strike          ^ heal
```

The drill counts only if the control went well, if the fault really took place (its own count, and a
canary that saw it and had not seen it before), and if load and ledger lived through it: else it is
INVALID. `prove` adds the last condition: without the protection, the same drill must fail.
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

import msgspec

from switchgear.core.clock import FINE
from switchgear.drills.account import Account, reconcile
from switchgear.drills.address import Address
from switchgear.drills.evidence import (
    Evidence,
    Finding,
    Invariant,
    Report,
    Verdict,
    judged,
    summed,
)
from switchgear.drills.hazard import Hazard
from switchgear.drills.invariant import GLOBAL
from switchgear.drills.ledger import read
from switchgear.drills.load import Plan
from switchgear.drills.process import Census, Process, census
from switchgear.drills.scribe import Scribe
from switchgear.drills.summary import Record

__all__ = ["Drill", "Proof", "prove", "run"]

_CANARY: Final = 0.1
_OVERTIME: Final = 60.0  # the load is told when to end; strike and heal take their time
_QUIET: Final = 5.0  # how long descriptors may take to come back after the load


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One drill. Its phases are in seconds; they decide how long the load lasts, not the plan.

    `factory` and `arguments` name the load's requests (`module:callable`). `canary` tries the path
    that the fault hits, and says whether it sees the fault. `observe` tells the ledger the effects
    that can only be read afterwards. `watched` names the processes whose descriptors and memory
    count.
    """

    name: str
    plan: Plan
    factory: str
    hazard: Hazard
    canary: Callable[[], Awaitable[bool]]
    arguments: Mapping[str, object] = field(default_factory=dict)
    observe: Callable[[Scribe], Awaitable[None]] | None = None
    invariants: Sequence[Invariant] = GLOBAL
    control: float = 3.0
    fault: float = 5.0
    recovery: float = 5.0
    control_goodput: float = 0.99
    lag: float = 0.25  # a load that sends later than this has measured its own machine
    watched: Callable[[], Mapping[str, int]] = dict
    seeds: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Run:
    """What one run has met so far."""

    struck: float = 0.0
    healed: float = 0.0
    injected: int = 0
    lag: float = 0.0
    reasons: list[str] = field(default_factory=list)


async def run(drill: Drill) -> Report:
    """Run a drill in processes of its own and report. It heals whatever happens."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        home = Path(folder)
        lines, out = home / "ledger.jsonl", home / "records.jsonl"
        before = _count(drill)
        seen = _Run()
        arguments = ["--file", str(lines), "--listen", f"unix:{home / 'ledger'}"]
        async with await Process.start("switchgear.drills.ledger", *arguments) as ledger:
            listening = Address.parse(ledger.facts["listening"])
            load = await Process.start("switchgear.drills.load", *_wanted(drill, listening, out))
            try:
                await _strike_and_heal(drill, load, seen)
                await _end(drill, load, seen)
            finally:
                await load.kill()
            await _observe(drill, listening, seen)
            if not ledger.alive:
                seen.reasons.append("the ledger died")
        after = await _quiet(drill, before)
        account = reconcile(read(lines))
        if not account.sound:
            seen.reasons.append(f"the ledger is not sound: {account.malformed} malformed lines")
        records = _records(out)
    evidence = Evidence(records, seen.struck, seen.healed, account, before, after)
    return _report(drill, evidence, seen)


class Proof(msgspec.Struct, frozen=True):
    """A drill with the protection and the same without it."""

    verdict: Verdict
    protected: Report
    unprotected: Report

    def text(self) -> str:
        """Say it in a few lines."""
        parts = [f"{self.verdict.upper()} {self.protected.name}, proved by its opposite"]
        if self.unprotected.verdict is Verdict.PASS:
            parts.append("  invalid: it passes without the protection too")
        return "\n".join([*parts, self.protected.text(), self.unprotected.text()])


async def prove(protected: Drill, unprotected: Drill) -> Proof:
    """Run a drill with the protection on, then off: it counts only if it then fails."""
    on = await run(protected)
    off = await run(unprotected)
    verdict = on.verdict
    if off.verdict is not Verdict.FAIL and on.verdict is Verdict.PASS:
        verdict = Verdict.INVALID
    return Proof(verdict, on, off)


def _wanted(drill: Drill, ledger: Address, out: Path) -> list[str]:
    plan = drill.plan
    seconds = drill.control + drill.fault + drill.recovery + _OVERTIME
    return [
        *("--to", str(plan.target), "--rate", str(plan.rate), "--seconds", str(seconds)),
        *("--connections", str(plan.connections), "--timeout", str(plan.timeout)),
        *("--count", str(plan.count), "--factory", drill.factory),
        *("--arguments", json.dumps(dict(drill.arguments))),
        *("--ledger", str(ledger), "--out", str(out)),
    ]


async def _strike_and_heal(drill: Drill, load: Process, seen: _Run) -> None:
    start = float(load.facts["start"])
    if await drill.canary():
        seen.reasons.append("the canary sees the fault before the strike")
    await asyncio.sleep(max(0.0, start + drill.control - FINE()))
    seen.struck = FINE()
    try:
        await drill.hazard.strike()
        if not await _seen(drill, seen.struck + drill.fault):
            seen.reasons.append("the canary never saw the fault")
        await asyncio.sleep(max(0.0, seen.struck + drill.fault - FINE()))
        seen.injected = await drill.hazard.injected()
    finally:
        seen.healed = FINE()
        await drill.hazard.heal()
    if not seen.injected:
        seen.reasons.append("the fault did not take: nothing was injected")
    await asyncio.sleep(drill.recovery)


async def _seen(drill: Drill, until: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, until - FINE())):
            while True:
                if await drill.canary():
                    return True
                await asyncio.sleep(_CANARY)
    return False


async def _end(drill: Drill, load: Process, seen: _Run) -> None:
    """End the load and take its last line."""
    load.signal(SIGTERM)
    try:
        summary: dict[str, Any] = await asyncio.wait_for(load.line(), drill.plan.timeout + 5)
    except (TimeoutError, RuntimeError) as error:
        seen.reasons.append(f"the load died: {error}")
        return
    seen.lag = float(summary["lag"])
    if seen.lag > drill.lag:
        seen.reasons.append(f"the load itself was {seen.lag:.3f} s late")
    await load.ended()


async def _observe(drill: Drill, ledger: Address, seen: _Run) -> None:
    try:
        with Scribe(ledger, by="drill") as scribe:
            if drill.observe is not None:
                await drill.observe(scribe)
            await asyncio.to_thread(scribe.sync)
    except OSError as error:
        seen.reasons.append(f"the ledger took no more: {error}")


def _records(out: Path) -> list[Record]:
    if not out.exists():
        return []
    decoder = msgspec.json.Decoder(Record)
    lines = out.read_bytes().splitlines(keepends=True)
    return [decoder.decode(line) for line in lines if line.endswith(b"\n")]


def _count(drill: Drill) -> dict[str, Census]:
    counted = {name: census(pid) for name, pid in drill.watched().items()}
    return {name: found for name, found in counted.items() if found is not None}


async def _quiet(drill: Drill, before: Mapping[str, Census]) -> dict[str, Census]:
    """Count again, once the descriptors are back or have had their time."""
    until = FINE() + _QUIET
    while True:
        after = _count(drill)
        more = any(
            held.descriptors > before[name].descriptors
            for name, held in after.items()
            if name in before
        )
        if not more or FINE() > until:
            return after
        await asyncio.sleep(_CANARY)


def _report(drill: Drill, evidence: Evidence, seen: _Run) -> Report:
    phases = summed(evidence.records, evidence.struck, evidence.healed)
    control = phases["control"]
    if not control.requests or control.goodput < drill.control_goodput:
        seen.reasons.append(f"the control failed: {control.text()}")
    findings: tuple[Finding, ...] = tuple(judge(evidence) for judge in drill.invariants)
    account: Account = evidence.account
    return Report(
        name=drill.name,
        verdict=judged(findings, seen.reasons),
        reasons=tuple(seen.reasons),
        findings=findings,
        phases=phases,
        injected=seen.injected,
        seeds=dict(drill.seeds),
        account=account,
        lag=seen.lag,
    )
