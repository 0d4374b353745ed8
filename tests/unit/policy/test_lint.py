"""Contradictions between settings, each by the sentence that tells of it, and where it ends."""

from typing import Any

import pytest

from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker_settings import BreakerSettings
from switchgear.policy.budget import BudgetSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.lint import Finding, Plan, lint, lint_nested
from switchgear.policy.window import WindowSettings
from tests.unit.policy.settings import stays


def plan(name: str = "mail", deadline: float = 4.0, timeout: float = 1.0, **more: Any) -> Plan:
    return Plan(name=name, deadline=deadline, timeout=timeout, **more)


def told(**settings: Any) -> list[str]:
    return [str(finding) for finding in lint(plan(**settings))]


def test_what_is_not_said_contradicts_nothing() -> None:
    assert lint(plan()) == ()
    assert lint(plan(repeatable=True, retry=BackoffSettings())) == ()
    full = plan(
        repeatable=True,
        retry=BackoffSettings(),
        breaker=BreakerSettings(slow_after=0.8),
        bulkhead=BulkheadSettings(),
        rate=10.0,
        limit=20.0,
    )
    assert lint(full) == ()
    assert lint_nested([]) == ()
    assert lint_nested([full]) == ()


def test_what_is_known_of_a_plan() -> None:
    assert plan().share == 0.5
    assert plan().budget == BudgetSettings()
    assert plan().attempts == 1
    assert plan(retry=BackoffSettings(attempts=4)).attempts == 4
    assert plan().attempt == 4.0
    assert plan(repeatable=True).attempt == 1.0
    assert plan(repeatable=True, timeout=3.0).attempt == 2.0
    assert plan(repeatable=True, timeout=3.0, share=0.25).attempt == 1.0
    stays(plan())


@pytest.mark.parametrize(
    ("limit", "rate", "traffic"),
    [(None, None, None), (3.0, None, 3.0), (None, 2.0, 2.0), (3.0, 2.0, 2.0), (1.0, 2.0, 1.0)],
)
def test_what_can_come_is_the_least_of_what_is_let_in_and_what_is_expected(
    limit: float | None, rate: float | None, traffic: float | None
) -> None:
    assert plan(limit=limit, rate=rate).traffic == traffic


def test_a_finding_is_a_setting_and_a_sentence() -> None:
    finding = Finding("timeout", "it never ends")
    assert str(finding) == "timeout: it never ends"
    stays(finding)


# -- times


def test_a_timeout_beyond_the_share_of_the_deadline_is_never_reached() -> None:
    assert told(repeatable=True, timeout=2.5) == [
        (
            "timeout: 2.5 s are never reached: an attempt gets 50% of what remains of 4 s,"
            " so at most 2 s"
        )
    ]
    assert told(repeatable=True, timeout=2.0) == []
    assert told(timeout=2.5) == [], "an attempt that is not repeatable gets all that remains"


def test_an_attempt_that_has_next_to_nothing_left_is_none() -> None:
    retry = BackoffSettings(attempts=4, base=0.1, cap=1.0)
    assert told(repeatable=True, deadline=0.9, timeout=0.25, retry=retry) == [
        (
            "attempts: where each takes all its time, attempt 3 of 4 has 0.05 s left of a timeout of"
            " 0.25 s: 2 attempts fit into 0.9 s"
        )
    ]
    assert told(deadline=0.9, timeout=0.25, retry=retry) == []
    assert told(repeatable=True, deadline=0.9, timeout=0.25) == []


def test_a_quarter_of_its_time_is_just_an_attempt() -> None:
    third = BackoffSettings(attempts=3, base=0.0, cap=0.0)
    assert told(repeatable=True, deadline=1.0, timeout=0.5, retry=third) == []
    fourth = BackoffSettings(attempts=4, base=0.0, cap=0.0)
    assert told(repeatable=True, deadline=1.0, timeout=0.5, retry=fourth) == [
        (
            "attempts: where each takes all its time, attempt 4 of 4 has 0.0625 s left of a timeout of"
            " 0.5 s: 3 attempts fit into 1 s"
        )
    ]


def test_a_quarter_of_what_an_attempt_can_get_not_of_a_timeout_that_is_never_reached() -> None:
    third = BackoffSettings(attempts=3, base=0.0, cap=0.0)
    (finding,) = told(repeatable=True, deadline=1.0, timeout=0.6, retry=third)
    assert finding.startswith("timeout: 0.6 s are never reached")


def test_what_is_left_is_never_less_than_nothing_and_waits_end_at_their_cap() -> None:
    capped = BackoffSettings(attempts=5, base=0.5, cap=0.75)
    assert told(repeatable=True, deadline=4.0, timeout=1.0, share=1.0, retry=capped) == [
        (
            "attempts: where each takes all its time, attempt 4 of 5 has 0 s left of a timeout of"
            " 1 s: 3 attempts fit into 4 s"
        )
    ]
    longer = BackoffSettings(attempts=3, base=0.5, cap=0.75)
    assert told(repeatable=True, deadline=3.5, timeout=1.0, share=1.0, retry=longer) == []
    assert told(repeatable=True, deadline=3.45, timeout=1.0, share=1.0, retry=longer) == [
        (
            "attempts: where each takes all its time, attempt 3 of 3 has 0.2 s left of a timeout of"
            " 1 s: 2 attempts fit into 3.45 s"
        )
    ]


# -- retries


def test_a_budget_of_nothing_pays_for_no_retry() -> None:
    nothing = BudgetSettings(ratio=0.0, floor=0.0)
    assert told(retry=BackoffSettings(), budget=nothing) == [
        "budget: a ratio of 0 and a floor of 0 pay for nothing: 3 attempts are always 1"
    ]
    assert told(retry=BackoffSettings(attempts=1), budget=nothing) == []
    assert told(budget=nothing) == []
    assert told(retry=BackoffSettings(), budget=BudgetSettings(ratio=0.0)) == []
    assert told(retry=BackoffSettings(), budget=BudgetSettings(floor=0.0)) == []


def test_a_first_wait_as_long_as_the_call_is_no_wait_for_it() -> None:
    assert told(retry=BackoffSettings(base=4.0, cap=4.0)) == [
        "retry: the first wait may take 4 s, as long as the whole call (4 s)"
    ]
    assert told(retry=BackoffSettings(base=3.9, cap=4.0)) == []
    assert told(retry=BackoffSettings(attempts=1, base=4.0, cap=4.0)) == []


# -- the breaker


def test_a_window_that_never_holds_as_many_calls_as_it_judges_from() -> None:
    breaker = BreakerSettings(calls=10, window=WindowSettings(span=4.0))
    assert told(breaker=breaker, rate=2.0) == [
        (
            "breaker: at 2 calls a second its window of 4 s holds 8, and it judges from 10 on:"
            " only 5 failures in a row open it, after 2.5 s"
        )
    ]
    assert told(breaker=breaker, rate=2.5) == []
    assert told(breaker=breaker) == []


def test_a_call_that_ends_before_it_is_slow() -> None:
    assert told(breaker=BreakerSettings(slow_after=4.0)) == [
        (
            "breaker.slow_after: no call is ever slow: an attempt ends after 4 s,"
            " and is slow from 4 s on"
        )
    ]
    assert told(breaker=BreakerSettings(slow_after=3.9)) == []


def test_a_probe_that_outlasts_its_lease() -> None:
    assert told(breaker=BreakerSettings(probe_lease=3.5)) == [
        (
            "breaker.probe_lease: a probe may take 4 s, and gives up its place after 3.5 s:"
            " several would be out at a time"
        )
    ]
    assert told(breaker=BreakerSettings(probe_lease=4.0)) == []


# -- the bulkhead


def test_a_queue_without_patience_serves_nobody() -> None:
    assert told(bulkhead=BulkheadSettings(patience=0.0)) == [
        "bulkhead.queue: 64 may wait, with a patience of 0: nobody is ever served from it"
    ]
    assert told(bulkhead=BulkheadSettings(patience=0.0, queue=0)) == []


def test_a_call_that_is_overdue_in_the_middle_of_its_time() -> None:
    assert told(bulkhead=BulkheadSettings(permit_age=3.5)) == [
        "bulkhead.permit_age: a call may take 4 s, and counts as overdue after 3.5 s"
    ]
    assert told(bulkhead=BulkheadSettings(permit_age=4.0)) == []


def test_more_at_a_time_than_fit() -> None:
    small = BulkheadSettings(permits=5, queue=3)
    assert told(bulkhead=small, rate=2.5) == [
        (
            "bulkhead: at 2.5 calls a second that take up to 4 s there would be 10 inside"
            " (Little's law); 5 permits and a queue of 3 refuse the rest"
        )
    ]
    assert told(bulkhead=small, rate=2.0) == []
    assert told(bulkhead=small) == []


# -- policies around each other


def nested(*plans: Plan) -> list[str]:
    return [str(finding) for finding in lint_nested(plans)]


def test_retries_multiply_through_layers() -> None:
    three, two = BackoffSettings(attempts=3), BackoffSettings(attempts=2)
    outer, inner = plan("shop", retry=three), plan("mail", retry=two)
    assert nested(outer, inner) == [
        (
            "attempts: shop (3) around mail (2): one call may become 6 of 'mail';"
            " let only the innermost retry"
        )
    ]
    assert nested(outer, plan("stock"), inner) == [
        (
            "attempts: shop (3) around stock (1) around mail (2): one call may become 6 of 'mail';"
            " let only the innermost retry"
        )
    ]
    assert nested(outer, plan("mail")) == []
    assert nested(plan("shop"), inner) == []
    assert nested(outer) == []


def test_an_inner_policy_that_is_given_more_time_than_its_outer_one_has() -> None:
    outer = plan("shop", deadline=4.0, timeout=1.0, repeatable=True)
    assert nested(outer, plan("mail", deadline=1.5)) == [
        "deadline: 'mail' is given 1.5 s inside an attempt of 'shop' that ends after 1 s"
    ]
    assert nested(outer, plan("mail", deadline=1.0)) == []
    assert nested(plan("shop", deadline=4.0), plan("mail", deadline=4.0)) == []


def test_every_contradiction_of_a_plan_is_told() -> None:
    bad = told(
        repeatable=True,
        timeout=2.5,
        retry=BackoffSettings(attempts=9, base=5.0, cap=5.0),
        budget=BudgetSettings(ratio=0.0, floor=0.0),
        breaker=BreakerSettings(probe_lease=0.1),
        bulkhead=BulkheadSettings(patience=0.0),
    )
    assert [line.partition(":")[0] for line in bad] == [
        "timeout",
        "attempts",
        "budget",
        "retry",
        "breaker.probe_lease",
        "bulkhead.queue",
    ]
