"""Phases, invariants and verdicts over made-up evidence."""

from typing import Any

import msgspec
import pytest

from switchgear.drills.account import Account
from switchgear.drills.evidence import Evidence, Finding, Report, Verdict, judged, phased, summed
from switchgear.drills.invariant import (
    GLOBAL,
    answered_within,
    descriptors_back,
    failures_at_most,
    failures_only,
    goodput_at_least,
    no_duplicates,
    no_lost_writes,
    no_strangers,
    recovered_within,
    refusals_true,
    resident_below,
)
from switchgear.drills.process import Census
from switchgear.drills.summary import Record

PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID
WELL: dict[str, Any] = {"intended": 9, "acknowledged": 9, "observed": 9, "opened": 1}


def record(at: float, took: float = 0.01, status: int = 200, error: str = "") -> Record:
    return Record(int(at * 100), at, at, at + took, status, error)


def evidence(*records: Record, account: Account | None = None, **rest: Any) -> Evidence:
    """Evidence of a drill struck at 10 and healed at 20."""
    return Evidence(records, 10.0, 20.0, account or Account(**WELL), **rest)


def test_a_request_under_way_at_the_strike_belongs_to_the_fault() -> None:
    before, under_way, during, after = record(9), record(9.99, 0.5), record(15), record(20)
    phases = phased([before, under_way, during, after], 10.0, 20.0)
    assert phases == {"control": [before], "fault": [under_way, during], "recovery": [after]}


@pytest.mark.parametrize(
    ("invariant", "account", "verdict"),
    [
        (no_lost_writes, WELL, PASS),
        (no_lost_writes, WELL | {"lost": ("7",)}, FAIL),
        (no_lost_writes, WELL | {"acknowledged": 0}, INVALID),
        (no_duplicates, WELL, PASS),
        (no_duplicates, WELL | {"duplicated": ("7",)}, FAIL),
        (no_duplicates, WELL | {"observed": 0}, INVALID),
        (no_strangers, WELL, PASS),
        (no_strangers, WELL | {"unintended": ("7",)}, FAIL),
        (no_strangers, WELL | {"mismatched": ("7",)}, FAIL),
        (refusals_true, WELL, PASS),
        (refusals_true, WELL | {"refused_but_observed": ("7",)}, FAIL),
    ],
)
def test_the_global_invariants_over_the_ledger(
    invariant: Any, account: dict[str, Any], verdict: Verdict
) -> None:
    assert invariant in GLOBAL
    finding = invariant(evidence(account=Account(**account)))
    assert finding.verdict is verdict
    assert ("7" in finding.detail) is (verdict is FAIL)


def test_a_reply_of_another_request_is_a_stranger() -> None:
    assert no_strangers(evidence(record(1, error="wrong"))).verdict is FAIL


def test_an_answer_may_come_a_quarter_second_after_its_deadline_and_no_later() -> None:
    assert answered_within(1.0)(evidence(record(1, took=1.2))).verdict is PASS
    assert answered_within(1.0)(evidence(record(1, took=1.3))).verdict is FAIL


def test_goodput_is_of_its_phase_and_nothing_to_look_at_is_invalid() -> None:
    half = evidence(record(15), record(16, status=503), record(21))
    assert goodput_at_least(0.5, "fault")(half).verdict is PASS
    assert goodput_at_least(0.6, "fault")(half).verdict is FAIL
    assert goodput_at_least(1.0, "recovery")(half).verdict is PASS
    assert goodput_at_least(0.5, "control")(half).verdict is INVALID


def test_failures_are_counted_and_told_apart() -> None:
    seen = evidence(record(15, error="reset", status=0), record(16, status=503), record(17))
    assert failures_at_most(2)(seen).verdict is PASS
    assert failures_at_most(1)(seen).verdict is FAIL
    assert failures_only("reset", "503")(seen).verdict is PASS
    finding = failures_only("reset")(seen)
    assert finding.verdict is FAIL
    assert finding.detail == "also 503"


def test_a_recovery_is_the_end_of_the_last_bad_second() -> None:
    def recovering(*bad: float, within: float = 3) -> Finding:
        every = [
            record(20 + second + part / 10, status=503 if second in bad else 200)
            for second in range(6)
            for part in range(10)
        ]
        return recovered_within(within)(evidence(*every))

    assert recovering().verdict is PASS
    assert recovering(0, 1).detail == "after 2 s"
    assert recovering(0, 1, 2).verdict is PASS
    assert recovering(0, 3).verdict is FAIL, "it was well and fell again"
    assert recovering(5).detail == "not while it was watched"
    assert recovering(5, within=30).verdict is FAIL
    assert recovered_within(3)(evidence(record(21))).verdict is INVALID


def test_what_a_process_holds_comes_back_to_the_baseline() -> None:
    few, many = Census(10, 1, 50 << 20), Census(30, 1, 90 << 20)
    kept = evidence(before={"web": few}, after={"web": few})
    grown = evidence(before={"web": few}, after={"web": many})
    assert descriptors_back()(kept).verdict is PASS
    assert descriptors_back()(grown).verdict is FAIL
    assert descriptors_back(slack=20)(grown).verdict is PASS
    assert resident_below(64 << 20)(kept).verdict is PASS
    assert resident_below(64 << 20)(grown).verdict is FAIL
    assert descriptors_back()(evidence(after={"web": few})).verdict is INVALID
    assert resident_below(1)(evidence()).verdict is INVALID


def test_one_reason_or_invalid_finding_makes_the_drill_invalid_and_one_failure_a_failure() -> None:
    well, ill, void = (Finding("x", verdict, "") for verdict in (PASS, FAIL, INVALID))
    assert judged([well], []) is PASS
    assert judged([well, ill], []) is FAIL
    assert judged([well, ill, void], []) is INVALID
    assert judged([well], ["the ledger died"]) is INVALID


def test_a_report_says_it_in_a_few_lines_and_as_json() -> None:
    records = [record(1), record(15, status=503), record(21)]
    report = Report(
        name="kill",
        verdict=INVALID,
        reasons=("the ledger died",),
        findings=(Finding("no loss", FAIL, "1: w7"),),
        phases=summed(records, 10, 20),
        injected=3,
        seeds={"proxy": 42},
        account=Account(),
        lag=0.0,
    )
    text = report.text()
    assert text.startswith("INVALID kill (3 injected; seeds: proxy 42)\n  invalid: the ledger died")
    assert "  fault: 1 requests, 0 good (0.0%), 1 x 503" in text
    assert "  FAIL no loss: 1: w7" in text
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
