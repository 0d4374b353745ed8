"""Contradictions: each is found, says both numbers, and is silent where the numbers just agree."""

from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from switchgear import Policy
from switchgear.policy.adaptive import AdaptiveSettings
from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker_settings import BreakerSettings
from switchgear.policy.bucket import BucketSettings
from switchgear.policy.budget import BudgetSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.hedge import HedgeSettings
from switchgear.policy.lint import Finding, Plan, lint, lint_nested
from switchgear.policy.window import WindowSettings

QUIET = Plan(name="mail", deadline=3.0, timeout=1.0)


def found(**changes: Any) -> list[tuple[str, str]]:
    return [(one.setting, one.why) for one in lint(replace(QUIET, **changes))]


def only(setting: str, **changes: Any) -> str:
    """Return why the one finding says that a setting contradicts."""
    findings = found(**changes)
    assert [name for name, _ in findings] == [setting]
    return findings[0][1]


@pytest.mark.parametrize("repeatable", [False, True])
def test_the_defaults_contradict_nothing(repeatable: bool) -> None:
    policy = Policy("mail", repeatable=repeatable)
    assert policy.lint() == ()
    assert policy.lint(rate=10.0) == ()
    assert lint_nested([policy.plan()]) == ()
    assert lint_nested([]) == ()


def test_a_finding_is_a_sentence_after_its_setting() -> None:
    assert str(Finding("timeout", "it is too long")) == "timeout: it is too long"


def test_plans_and_findings_are_values() -> None:
    for value, field in ((QUIET, "deadline"), (Finding("timeout", "long"), "why")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, field, 1.0)
    positional: Any = Plan
    with pytest.raises(TypeError, match="positional"):
        positional("mail", 3.0, 1.0)


# -- what a plan knows


def test_a_plan_knows_what_an_attempt_gets_at_most() -> None:
    assert QUIET.attempt == 3.0
    assert replace(QUIET, repeatable=True).attempt == 1.0
    assert replace(QUIET, repeatable=True, timeout=2.0).attempt == 1.5
    assert replace(QUIET, repeatable=True, timeout=2.0, share=0.1).attempt == pytest.approx(0.3)


def test_a_plan_knows_how_often_and_how_many() -> None:
    assert QUIET.attempts == 1
    assert replace(QUIET, retry=BackoffSettings(attempts=4)).attempts == 4
    assert QUIET.traffic is None
    assert replace(QUIET, rate=5.0).traffic == 5.0
    assert replace(QUIET, limit=7.0).traffic == 7.0
    assert replace(QUIET, rate=5.0, limit=7.0).traffic == 5.0
    assert replace(QUIET, rate=9.0, limit=7.0).traffic == 7.0
    assert replace(QUIET, rate=0.0).traffic == 0.0


# -- time


def test_a_timeout_that_no_attempt_ever_reaches() -> None:
    assert only("timeout", repeatable=True, timeout=2.0) == (
        "2 s are never reached: an attempt gets 50% of what remains of 3 s, so at most 1.5 s"
    )
    assert not found(repeatable=True, timeout=1.5)
    assert only("timeout", repeatable=False, timeout=2.0) == (
        "2 s bound nothing: a call that is not repeatable has one attempt, which may take all of"
        " the deadline (3 s)"
    )
    assert not found(repeatable=False, timeout=1.0), "which is what is there unless one is given"
    assert not found(repeatable=False, timeout=inf)
    assert not found(repeatable=True, timeout=inf)


def test_a_timeout_that_nobody_has_asked_for_is_no_contradiction() -> None:
    assert not found(repeatable=True, deadline=1.5)
    assert Policy("mail", deadline="1.5s", repeatable=True, attempts=2).lint() == ()


@pytest.mark.parametrize("deadline", ["50ms", "500ms", "2s", None])
@pytest.mark.parametrize("timeout", [1.0, None])
def test_default_attempts_are_no_contradiction(deadline: Any, timeout: Any) -> None:
    """Only what hangs takes all its time: what fails at once is tried as often as ever."""
    policy = Policy("mail", deadline=deadline, timeout=timeout, repeatable=True)
    assert policy.lint() == ()
    if deadline == "2s":
        (finding,) = policy.anew(attempts=4).lint()
        assert finding.setting == "attempts"
        advice = int(finding.why.split("attempts=")[1].split(",")[0])
        assert policy.anew(attempts=advice).lint() == ()
        if timeout is not None:
            assert policy.anew(attempts=4, deadline="6s").lint() == ()


def test_what_may_take_for_ever_is_told_in_words() -> None:
    why = only("timeout", deadline=inf, timeout=2.0)
    assert why.endswith("has one attempt, which may take for ever")
    retry = BackoffSettings(attempts=2)
    why = only("attempts", repeatable=True, timeout=inf, share=1.0, retry=retry)
    assert why.endswith(
        "attempt 2 of 2 has 0 s left: 1 attempt fits into 3 s; attempts=1, or a timeout, would be"
        " right"
    )


def test_attempts_for_which_no_time_is_left() -> None:
    retry = BackoffSettings(attempts=10, base=0.0, cap=0.0)
    # Each gets half of what remains where that is less than 1 s: 1, 1, 0.5, 0.25, 0.125, ...
    assert only("attempts", repeatable=True, retry=retry) == (
        "where each takes all its time, attempt 5 of 10 has 0.125 s left of the 1 s of the first:"
        " 4 attempts fit into 3 s; attempts=4, or a longer deadline, would be right"
    )
    assert not found(repeatable=True, retry=replace(retry, attempts=4)), "a quarter is enough"
    assert not found(repeatable=False, retry=retry), "one that hangs takes it all anyway"
    assert not found(repeatable=True, retry=None)


def test_the_longest_waits_between_attempts_count() -> None:
    waits = BackoffSettings(attempts=3, base=0.4, cap=9.0)
    # 1 s, a wait of 0.4, 0.8 of the 1.6 that remain, a wait of 0.8, and nothing.
    why = only("attempts", repeatable=True, retry=waits)
    assert why.startswith("where each takes all its time, attempt 3 of 3 has 0 s left")
    assert ": 2 attempts fit into 3 s; attempts=2, or" in why
    assert "has 0.2 s left" in only("attempts", repeatable=True, retry=replace(waits, cap=0.4))
    assert not found(repeatable=True, retry=replace(waits, base=0.3, cap=0.3))
    assert not found(repeatable=True, retry=replace(waits, attempts=2))
    assert not found(repeatable=True, retry=replace(waits, base=0.2))


def test_a_wait_that_leaves_less_than_nothing_leaves_nothing() -> None:
    retry = BackoffSettings(attempts=2, base=2.5, cap=2.5)
    why = only("attempts", repeatable=True, retry=retry)
    assert "attempt 2 of 2 has 0 s left" in why
    assert " 1 attempt fits into 3 s; attempts=1, or" in why


def test_the_share_of_the_timeout_is_measured_by_what_the_first_attempt_gets() -> None:
    """Where the timeout is never reached, it is no measure."""
    retry = BackoffSettings(attempts=2, base=0.0, cap=0.0)
    assert only("timeout", repeatable=True, timeout=9.0, retry=retry)
    many = replace(retry, attempts=4)
    findings = found(repeatable=True, timeout=9.0, retry=many)  # 1.5, 0.75, 0.375, 0.1875
    assert [name for name, _ in findings] == ["timeout", "attempts"]
    assert "attempt 4 of 4 has 0.188 s left of the 1.5 s of the first" in findings[1][1]


def test_no_deadline_leaves_time_for_everything() -> None:
    retry = BackoffSettings(attempts=100)
    assert not found(deadline=inf, repeatable=True, retry=retry)
    assert not found(deadline=inf, timeout=inf, repeatable=True, retry=retry)


def test_what_no_setting_could_make_right_is_not_found() -> None:
    """Any lease, any age and any number of permits is too small for a call that may never end."""
    policy = Policy("mail", deadline=None)
    assert policy.plan().attempt == inf
    assert policy.lint() == ()
    assert policy.lint(rate=10.0) == ()
    assert Policy("mail", deadline=None, rate=BucketSettings(10.0, 10.0)).lint() == ()
    assert Policy("mail", mode={"timeout": "off"}).lint(rate=10.0) == ()
    settings = BreakerSettings(probe_lease=0.9)
    repeatable = Policy("mail", deadline=None, repeatable=True, breaker=settings)
    assert [one.setting for one in repeatable.lint()] == ["breaker.probe_lease"], "1 s at most"


# -- retries


def test_a_budget_of_nothing_pays_for_no_retry() -> None:
    nothing = BudgetSettings(ratio=0.0, floor=0.0)
    assert only("budget", retry=BackoffSettings(), budget=nothing) == (
        "a ratio of 0 and a floor of 0 pay for nothing: 3 attempts are always 1"
    )
    assert not found(retry=BackoffSettings(), budget=BudgetSettings(ratio=0.0, floor=0.1))
    assert not found(retry=BackoffSettings(), budget=BudgetSettings(ratio=0.1, floor=0.0))
    assert not found(retry=BackoffSettings(attempts=1), budget=nothing)
    assert not found(retry=None, budget=nothing)


def test_a_budget_that_never_comes_to_a_whole_attempt_is_one_of_nothing() -> None:
    little = BudgetSettings(ratio=0.0, floor=0.09)
    assert only("budget", retry=BackoffSettings(), budget=little) == (
        "a ratio of 0 and a floor of 0.09 pay for nothing within 10 s: 3 attempts are always 1"
    )
    long = replace(little, window=WindowSettings(span=20.0))
    assert not found(retry=BackoffSettings(), budget=long)


def test_a_budget_of_nothing_pays_for_no_hedge() -> None:
    hedged: dict[str, Any] = {"repeatable": True, "hedge": HedgeSettings()}
    nothing = BudgetSettings(ratio=0.0, floor=0.0)
    assert only("budget", budget=nothing, **hedged).endswith("nothing: nothing is ever hedged")
    assert only("budget", budget=nothing, retry=BackoffSettings(attempts=2), **hedged).endswith(
        ": 2 attempts are always 1 and nothing is ever hedged"
    )
    assert not found(**hedged)


def test_a_hedge_that_would_come_when_the_attempt_has_ended() -> None:
    late: dict[str, Any] = {"repeatable": True, "hedge": HedgeSettings(least=1.0)}
    assert only("hedge.least", **late) == (
        "nothing is ever hedged: a second attempt is sent after 1 s at the earliest, and the first"
        " ends after 1 s"
    )
    assert not found(repeatable=True, hedge=HedgeSettings(least=0.99))
    policy = Policy("mail", **late)
    assert [one.setting for one in policy.lint()] == ["hedge.least"]
    assert policy.anew(mode={"hedge": "off"}).lint() == ()


def test_a_wait_as_long_as_the_call() -> None:
    retry = BackoffSettings(base=3.0, cap=3.0)
    assert only("retry", retry=retry) == (
        "the first wait may take 3 s, as long as the whole call (3 s)"
    )
    assert not found(retry=BackoffSettings(base=2.99, cap=3.0))
    assert not found(retry=replace(retry, attempts=1))


# -- the breaker


def test_a_window_in_which_there_are_never_enough_calls() -> None:
    breaker = BreakerSettings(calls=10, consecutive=5, window=WindowSettings(10.0))
    assert only("breaker", breaker=breaker, rate=0.5) == (
        "at 0.5 calls a second its window of 10 s holds 5, and it judges from 10 on: only 5"
        " failures in a row open it, after 10 s"
    )
    assert not found(breaker=breaker, rate=1.0), "just enough"
    assert not found(breaker=breaker)
    assert not found(breaker=None, rate=0.5)
    assert "holds 9" in only("breaker", breaker=breaker, rate=5.0, limit=0.9)


def test_calls_that_can_never_be_slow() -> None:
    assert only("breaker.slow_after", breaker=BreakerSettings(slow_after=3.0)) == (
        "no call is ever slow: an attempt ends after 3 s, and is slow from 3 s on"
    )
    assert not found(breaker=BreakerSettings(slow_after=2.99))
    slow = BreakerSettings(slow_after=1.5)
    assert not found(breaker=slow)
    assert "ends after 1 s" in only("breaker.slow_after", breaker=slow, repeatable=True)


def test_a_lease_that_ends_before_the_probe_does() -> None:
    assert only("breaker.probe_lease", breaker=BreakerSettings(probe_lease=2.0)) == (
        "a probe may take 3 s, and gives up its place after 2 s: several would be out at a time"
    )
    assert not found(breaker=BreakerSettings(probe_lease=3.0))
    assert not found(breaker=BreakerSettings(probe_lease=2.0), repeatable=True)


# -- the bulkhead


def test_a_queue_that_nobody_has_the_patience_for() -> None:
    impatient = BulkheadSettings(queue=7, patience=0.0)
    assert only("bulkhead.queue", bulkhead=impatient) == (
        "7 may wait, with a patience of 0: nobody is ever served from it"
    )
    assert not found(bulkhead=replace(impatient, queue=0))
    assert not found(bulkhead=replace(impatient, patience=0.01))


def test_permits_that_are_overdue_before_their_call_is() -> None:
    assert only("bulkhead.permit_age", bulkhead=BulkheadSettings(permit_age=2.5)) == (
        "a call may take 3 s, and counts as overdue after 2.5 s"
    )
    assert not found(bulkhead=BulkheadSettings(permit_age=3.0))
    assert not found(bulkhead=BulkheadSettings(permit_age=2.5), repeatable=True)


def test_more_calls_at_once_than_there_is_room_for() -> None:
    room = BulkheadSettings(permits=20, queue=10)
    assert only("bulkhead", bulkhead=room, rate=11.0) == (
        "at 11 calls a second that take up to 3 s there would be 33 inside (Little's law);"
        " 20 permits and a queue of 10 refuse the rest"
    )
    assert not found(bulkhead=room, rate=10.0), "just room enough"
    assert not found(bulkhead=room, rate=30.0, repeatable=True)
    assert not found(bulkhead=room)
    assert not found(bulkhead=room, rate=99.0, limit=10.0), "the limit lets no more in"
    assert not found(bulkhead=None, rate=1000.0)


def test_an_adaptive_limit_that_never_comes_into_play() -> None:
    settings = AdaptiveSettings(least=31.0, initial=40.0)
    room = BulkheadSettings(permits=20, queue=10)
    assert only("adaptive.least", adaptive=settings, bulkhead=room) == (
        "nobody is ever refused by it: its limit stays at 31 at least, and the bulkhead has room"
        " for 30"
    )
    assert not found(adaptive=replace(settings, least=30.0), bulkhead=room)
    assert not found(adaptive=settings)
    policy = Policy("mail", adaptive=settings, bulkhead=room)
    assert [one.setting for one in policy.lint()] == ["adaptive.least"]
    assert policy.anew(mode={"adaptive": "off"}).lint() == ()


# -- keys


def test_a_key_without_a_rate_counts_for_nothing() -> None:
    assert only("key", keyed=True) == (
        "it says whose rate a call counts against, and there is no rate"
    )
    assert not found(keyed=True, limited=True)
    assert not found(limited=True)
    policy = Policy("mail", key=str)
    assert [finding.setting for finding in policy.lint()] == ["key"]
    assert Policy("mail", key=str, rate=BucketSettings(10.0, 5.0)).lint() == ()


def test_everything_is_found_in_one_go() -> None:
    findings = found(
        retry=BackoffSettings(base=5.0, cap=5.0),
        budget=BudgetSettings(ratio=0.0, floor=0.0),
        breaker=BreakerSettings(slow_after=4.0, probe_lease=1.0),
        bulkhead=BulkheadSettings(permits=1, queue=1, patience=0.0, permit_age=1.0),
        rate=0.9,
        keyed=True,
    )
    assert [name for name, _ in findings] == [
        "budget",
        "retry",
        "breaker",
        "breaker.slow_after",
        "breaker.probe_lease",
        "bulkhead.queue",
        "bulkhead.permit_age",
        "bulkhead",
        "key",
    ]


# -- policies around each other


def plan(name: str, attempts: int = 1, deadline: float = 3.0, **more: Any) -> Plan:
    retry = BackoffSettings(attempts=attempts)
    return Plan(name=name, deadline=deadline, timeout=1.0, retry=retry, **more)


def nested(*plans: Plan) -> list[tuple[str, str]]:
    return [(one.setting, one.why) for one in lint_nested(plans)]


def test_retries_around_retries_multiply() -> None:
    why = (
        "web (2) around shop (1) around bank (4): one call may become 8 of 'bank';"
        " let only the innermost retry"
    )
    assert nested(plan("web", 2), plan("shop", 1), plan("bank", 4)) == [("attempts", why)]
    assert nested(plan("web", 2), plan("bank", 3))[0][1].startswith(
        "web (2) around bank (3): one call may become 6 of 'bank'"
    )


def test_one_that_retries_alone_is_none() -> None:
    assert not nested(plan("web"), plan("shop"), plan("bank", 3))
    assert not nested(plan("web", 3), plan("shop"))
    assert not nested(plan("web", 3))
    assert not nested(Plan(name="web", deadline=3.0, timeout=1.0), plan("bank", 3))


def test_one_without_a_deadline_is_bounded_by_the_attempt_around_it() -> None:
    assert not nested(plan("web", deadline=2.0), plan("bank", deadline=inf))


def test_a_deadline_that_the_attempt_around_it_cuts_short() -> None:
    assert nested(plan("web", deadline=2.0), plan("bank")) == [
        (
            "deadline",
            "'bank' is given 3 s inside an attempt of 'web' that ends after 2 s",
        )
    ]
    assert not nested(plan("web"), plan("bank")), "just as long"
    patient = plan("web", repeatable=True)
    assert nested(patient, plan("bank"))[0][1].endswith("ends after 1 s")
    assert not nested(patient, plan("bank", deadline=1.0))


def test_every_pair_is_looked_at() -> None:
    plans = [plan("a"), plan("b", deadline=4.0), plan("c", deadline=5.0), plan("d", deadline=4.5)]
    assert [why.split(" is ")[0] for _, why in nested(*plans)] == ["'b'", "'c'"]


def test_a_policy_tells_what_contradicts_around_others() -> None:
    web, bank = Policy("web", deadline=2.0), Policy("bank")
    assert [one.setting for one in web.lint_around(bank)] == ["attempts", "deadline"]
    assert "web (3) around bank (3)" in web.lint_around(bank)[0].why
    assert web.lint_around() == ()
    without = Policy("web", mode={"retry": "off"})
    assert without.lint_around(bank) == ()
