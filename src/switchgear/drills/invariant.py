"""The invariants: small functions from a drill's evidence to a finding.

`GLOBAL` holds for every drill; the others are made with the figures of one. An invariant that had
nothing to look at says INVALID, never PASS.
"""

from collections.abc import Sequence
from typing import Final

from switchgear.drills.evidence import Evidence, Finding, Invariant, Phase, Verdict
from switchgear.drills.summary import Record, summarise

__all__ = [
    "GLOBAL",
    "answered_within",
    "descriptors_back",
    "failures_at_most",
    "failures_only",
    "goodput_at_least",
    "no_duplicates",
    "no_lost_writes",
    "no_strangers",
    "recovered_within",
    "refusals_true",
    "resident_below",
]

_GRACE: Final = 0.25  # what an answer may come after its deadline
_WINDOW: Final = 1.0  # the goodput of a recovery is looked at second by second
_SLACK: Final = 8  # descriptors that a process may have opened for good reasons


def _found(name: str, ok: bool, detail: str) -> Finding:
    return Finding(name, Verdict.PASS if ok else Verdict.FAIL, detail)


def _ids(ids: Sequence[str]) -> str:
    return f"{len(ids)}" + (f": {', '.join(ids[:5])}" if ids else "")


def no_lost_writes(evidence: Evidence) -> Finding:
    """Every acknowledged write is observed."""
    name, account = "no acknowledged write is lost", evidence.account
    if not account.acknowledged:
        return Finding(name, Verdict.INVALID, "nothing was acknowledged")
    found = f"{_ids(account.lost)} lost of {account.acknowledged} acknowledged"
    return _found(name, not account.lost, found)


def no_duplicates(evidence: Evidence) -> Finding:
    """No effect is observed twice."""
    name, account = "no effect is doubled", evidence.account
    if not account.observed:
        return Finding(name, Verdict.INVALID, "nothing was observed")
    found = f"{_ids(account.duplicated)} doubled of {account.observed} observed"
    return _found(name, not account.duplicated, found)


def no_strangers(evidence: Evidence) -> Finding:
    """No effect was never intended, no effect or reply bears the content of another."""
    account = evidence.account
    wrong = sum(record.error == "wrong" for record in evidence.records)
    strangers = (*account.unintended, *account.mismatched)
    found = f"{_ids(strangers)} strangers, {wrong} replies of another request"
    return _found("nothing of another", not strangers and not wrong, found)


def refusals_true(evidence: Evidence) -> Finding:
    """Find nothing done that was said not to be done."""
    lies = evidence.account.refused_but_observed
    return _found("refusals are true", not lies, f"{_ids(lies)} refused but done")


GLOBAL: Final[tuple[Invariant, ...]] = (no_lost_writes, no_duplicates, no_strangers, refusals_true)


def answered_within(deadline: float) -> Invariant:
    """Every request has an outcome by its deadline and a quarter of a second."""

    def judge(evidence: Evidence) -> Finding:
        limit = deadline + _GRACE
        late = [record.latency for record in evidence.records if record.latency > limit]
        slowest = max((record.latency for record in evidence.records), default=0.0)
        found = f"{len(late)} later than {limit:g} s, the slowest after {slowest:.3f} s"
        return _found(f"an outcome within {limit:g} s", not late, found)

    return judge


def goodput_at_least(share: float, phase: Phase) -> Invariant:
    """So much of a phase's requests goes well."""

    def judge(evidence: Evidence) -> Finding:
        summary = summarise(evidence.of(phase))
        name = f"goodput of {share:.0%} in {phase}"
        if not summary.requests:
            return Finding(name, Verdict.INVALID, "there was no request")
        return _found(name, summary.goodput >= share, f"{summary.goodput:.2%}")

    return judge


def failures_at_most(count: int, phase: Phase = "fault") -> Invariant:
    """No more than so many requests of a phase go wrong."""

    def judge(evidence: Evidence) -> Finding:
        failed = sum(not record.good for record in evidence.of(phase))
        return _found(f"at most {count} failures in {phase}", failed <= count, f"{failed}")

    return judge


def failures_only(*allowed: str) -> Invariant:
    """Let requests fail in these ways alone: error kinds ("reset") and statuses ("503")."""

    def judge(evidence: Evidence) -> Finding:
        others = sorted(
            {_way(record) for record in evidence.records if not record.good} - set(allowed)
        )
        found = f"also {', '.join(others)}" if others else "no other"
        return _found(f"failures are only {', '.join(allowed)}", not others, found)

    return judge


def _way(record: Record) -> str:
    return record.error or str(record.status)


def recovered_within(seconds: float, share: float = 0.95) -> Invariant:
    """Once healed, goodput is back within `seconds`, and stays."""

    def judge(evidence: Evidence) -> Finding:
        name = f"back to {share:.0%} goodput within {seconds:g} s"
        windows: dict[int, list[Record]] = {}
        for record in evidence.of("recovery"):
            window = int((record.scheduled - evidence.healed) / _WINDOW)
            windows.setdefault(window, []).append(record)
        if len(windows) < 2:
            return Finding(name, Verdict.INVALID, "the recovery was not watched")
        bad = [at for at, records in windows.items() if summarise(records).goodput < share]
        took = (max(bad) + 1) * _WINDOW if bad else 0.0
        lasting = not bad or max(bad) < max(windows)
        found = f"after {took:g} s" if lasting else "not while it was watched"
        return _found(name, lasting and took <= seconds, found)

    return judge


def resident_below(limit_bytes: int) -> Invariant:
    """No watched process holds more memory at the end."""

    def judge(evidence: Evidence) -> Finding:
        name = f"resident memory below {limit_bytes >> 20} MiB"
        if not evidence.after:
            return Finding(name, Verdict.INVALID, "no process was watched")
        most = max(evidence.after, key=lambda each: evidence.after[each].resident_bytes)
        held = evidence.after[most].resident_bytes
        return _found(name, held < limit_bytes, f"{most} holds {held >> 20} MiB")

    return judge


def descriptors_back(slack: int = _SLACK) -> Invariant:
    """Every process that was there before holds about as many descriptors as then."""

    def judge(evidence: Evidence) -> Finding:
        name = f"descriptors back to the baseline + {slack}"
        both = sorted(set(evidence.before) & set(evidence.after))
        if not both:
            return Finding(name, Verdict.INVALID, "no process was watched throughout")
        more = {
            each: evidence.after[each].descriptors - evidence.before[each].descriptors
            for each in both
        }
        leaking = [f"{each} +{count}" for each, count in more.items() if count > slack]
        return _found(name, not leaking, ", ".join(leaking) or f"at most +{max(more.values())}")

    return judge
