"""What a drill has seen, and the report that says what it means. Values only, no I/O."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Literal

import msgspec

from switchgear.drills.account import Account
from switchgear.drills.process import Census
from switchgear.drills.summary import Record, Summary, summarise

__all__ = [
    "PHASES",
    "Evidence",
    "Finding",
    "Invariant",
    "Phase",
    "Report",
    "Verdict",
    "judged",
    "phased",
    "summed",
]

Phase = Literal["control", "fault", "recovery"]
PHASES: tuple[Phase, ...] = ("control", "fault", "recovery")


class Verdict(StrEnum):
    """INVALID: the drill says nothing, because the fault or the witnesses failed."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INVALID = "invalid"


class Finding(msgspec.Struct, frozen=True):
    """What one invariant found: the figure it looked at, in words."""

    name: str
    verdict: Verdict
    detail: str


class Evidence(msgspec.Struct, frozen=True):
    """All that a drill has seen.

    `struck` and `healed` are instants, on the same clock as the records. `before` and `after`
    count what each watched process held: before the load, and when it had ended and all was quiet.
    """

    records: Sequence[Record]
    struck: float
    healed: float
    account: Account
    before: Mapping[str, Census] = {}
    after: Mapping[str, Census] = {}

    def of(self, phase: Phase) -> list[Record]:
        """Return the requests of a phase: see `phased`."""
        return phased(self.records, self.struck, self.healed)[phase]


Invariant = Callable[[Evidence], Finding]


def phased(records: Sequence[Record], struck: float, healed: float) -> dict[Phase, list[Record]]:
    """Share the records out by phase.

    Control is what had ended before the strike, recovery what was due after the heal: a
    request that was under way when the fault struck is the fault's.
    """
    phases: dict[Phase, list[Record]] = {phase: [] for phase in PHASES}
    for record in records:
        if record.ended < struck:
            phases["control"].append(record)
        elif record.scheduled >= healed:
            phases["recovery"].append(record)
        else:
            phases["fault"].append(record)
    return phases


class Report(msgspec.Struct, frozen=True):
    """The outcome of a drill. `reasons` say why it is invalid, `findings` what was judged."""

    name: str
    verdict: Verdict
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    phases: Mapping[str, Summary]
    injected: int
    seeds: Mapping[str, int]
    account: Account
    lag: float

    def text(self) -> str:
        """Say it in a few lines."""
        seeds = ", ".join(f"{name} {seed}" for name, seed in self.seeds.items())
        lines = [f"{self.verdict.upper()} {self.name} ({self.injected} injected; seeds: {seeds})"]
        lines += [f"  invalid: {reason}" for reason in self.reasons]
        lines += [f"  {name}: {summary.text()}" for name, summary in self.phases.items()]
        lines += [f"  {each.verdict.upper()} {each.name}: {each.detail}" for each in self.findings]
        return "\n".join(lines)


def judged(findings: Sequence[Finding], reasons: Sequence[str]) -> Verdict:
    """Return the verdict on a drill: one reason or invalid finding, and it says nothing."""
    verdicts = {finding.verdict for finding in findings}
    if reasons or Verdict.INVALID in verdicts:
        return Verdict.INVALID
    return Verdict.FAIL if Verdict.FAIL in verdicts else Verdict.PASS


def summed(records: Sequence[Record], struck: float, healed: float) -> dict[str, Summary]:
    """Sum each phase up."""
    phases = phased(records, struck, healed)
    return {phase: summarise(phases[phase]) for phase in PHASES}
