"""The drawing of a policy: every part in its place, every setting once, and where it came from."""

import re
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import fields

from switchgear import (
    AdaptiveSettings,
    BackoffSettings,
    BreakerSettings,
    BucketSettings,
    BudgetSettings,
    BulkheadSettings,
    GcraSettings,
    HedgeSettings,
    HurrySettings,
    Policy,
    Stale,
    static,
)
from switchgear.core.fallback import computed
from switchgear.testing import Chaos


def by_user(user: str) -> str:
    return user


RICH: dict[str, Any] = {
    "deadline": "2s",
    "timeout": 0.8,
    "repeatable": True,
    "attempts": 2,
    "budget": BudgetSettings(ratio=0.1),
    "breaker": BreakerSettings(calls=20),
    "rate": BucketSettings(50.0, 100.0),
    "key": by_user,
    "adaptive": AdaptiveSettings(),
    "hedge": HedgeSettings(quantile=0.99),
    "fallback": static([]),
    "coalesce": by_user,
    "mode": {"breaker": "observe", "retry": "observe"},
    "chaos": Chaos(7),
}

DRAWN = """\
mail
  fallback         a static value                         outside everything that can fail, \
and not an attempt itself
      answer = []  (given)
  coalesce         one run for all who ask the same       inside the fallback, which is each \
caller's own; the rest is done once for all
      key = by_user  (given)
  retry            backoff, observed only                 outside the breaker below, so that each \
attempt is recorded
      attempts = 2  (given)
      base = 0.025  (default)
      cap = 0.25  (default)
      longest_retry_after = 3  (default)
      budget.ratio = 0.1  (given)
      budget.floor = 3  (default)
      budget.window = WindowSettings(span=10, buckets=10)  (default)
  hedge            a second attempt beside a slow one     inside the retry, from the same budget: \
two that race are one try
      quantile = 0.99  (given)
      least = 0.005  (default)
      most_extra = 1  (default)
      samples = 20  (default)
      span = 30  (default)
  hurry            hurry 'mail'                           before the breaker: a caller without \
time must not take a probe's place
      quantile = 0.5  (default)
      samples = 20  (default)
      span = 10  (default)
  breaker          breaker 'mail', observed only          outside the timeout, so that slowness \
counts as failure
      failures = 0.5  (default)
      calls = 20  (given)
      consecutive = 5  (default)
      slow = 0.6  (default)
      slow_after = 0.64  (derived: 80 % of an attempt's time)
      window = WindowSettings(span=10, buckets=10)  (default)
      open_for = 5  (default)
      open_most = 15  (default)
      jitter = 0.2  (default)
      probes = 3  (default)
      probe_lease = 10  (default)
      ramp = 10  (default)
  rate             tokenbucket 'mail'                     before the queue: nobody waits there for \
what a limit then refuses
      rate = 50  (given)
      burst = 100  (given)
      keys = 65536  (default)
      key = by_user  (given)
  bulkhead         adaptivelimit 'mail'                   inside the breaker: nobody queues for \
what is known to be down
      initial = 20  (default)
      least = 4  (default)
      most = 200  (default)
      tolerance = 1.5  (default)
      smoothing = 0.2  (default)
      window = 0.25  (default)
      samples = 10  (default)
      memory = 300  (default)
  bulkhead         bulkhead 'mail'                        inside the breaker: nobody queues for \
what is known to be down
      permits = 64  (default)
      queue = 64  (default)
      patience = 0.1  (default)
      standing = 0.1  (default)
      hurried = 0.5  (default)
      permit_age = 300  (default)
  timeout          at most 0.8 s and 50% of what remains  the time of the work alone, not that of \
a queue before it
      deadline = 2  (given)
      timeout = 0.8  (given)
      repeatable = True  (given)
      fair = 0.64  (derived)
  drill            chaos                                  innermost: an injected fault meets every \
protection"""


def settings(policy: Policy) -> dict[str, list[tuple[str, str, str]]]:
    """Read a drawing back: by the place, the name, value and origin of each setting."""
    read: dict[str, list[tuple[str, str, str]]] = {}
    part = ""
    for line in policy.describe().splitlines()[1:]:
        if line.startswith("      "):
            found = re.fullmatch(r" {6}(\S+) = (.*)  \((default|given|derived.*)\)", line)
            assert found is not None, line
            read[part].append((found[1], found[2], found[3]))
        elif not line.startswith("  !"):
            part = " ".join(line.split()[:2])
            read[part] = []
    return read


def test_a_rich_policy() -> None:
    assert Policy("mail", **RICH).describe() == DRAWN


@pytest.mark.parametrize(
    "options", [{}, RICH, {"rate": GcraSettings(0.1)}], ids=["bare", "rich", "gcra"]
)
def test_every_setting_stands_once(options: dict[str, Any]) -> None:
    read = settings(Policy("mail", **options))
    for part, told in read.items():
        counted = Counter(name for name, _, _ in told)
        assert all(count == 1 for count in counted.values()), part
    kinds: list[tuple[str, Any, str]] = [
        ("retry backoff", BackoffSettings, ""),
        ("retry backoff", BudgetSettings, "budget."),
        ("hurry hurry", HurrySettings, ""),
        ("breaker breaker", BreakerSettings, ""),
        ("bulkhead bulkhead", BulkheadSettings, ""),
    ]
    for part, kind, prefix in kinds:
        told = read.get(part) or read[f"{part},"]
        names = {name for name, _, _ in told}
        assert {prefix + field.name for field in fields(kind)} <= names
    assert {name for name, _, _ in read["timeout at"]} == {
        "deadline",
        "timeout",
        "repeatable",
        "fair",
    }


def test_what_was_given_as_it_is_by_default_is_the_default() -> None:
    given = Policy("mail", deadline=3.0, timeout="1s", breaker=BreakerSettings(), attempts=3)
    assert given.describe() == Policy("mail").describe()


def test_without_bounds_nothing_is_derived_from_them() -> None:
    drawn = Policy("mail", deadline=None, timeout=None).describe()
    assert "      deadline = None  (given)" in drawn
    assert "fair" not in drawn
    assert "timeout  " not in Policy("mail", mode={"timeout": "off"}).describe()
    assert "      slow_after = None  (default)" in drawn
    slow = BreakerSettings(slow_after=0.3)
    assert "      slow_after = 0.3  (given)" in Policy("mail", breaker=slow).describe()


def test_a_hedge_without_a_retry_shows_the_budget_that_pays_for_it() -> None:
    policy = Policy("mail", repeatable=True, hedge=HedgeSettings(), retry=None)
    assert ("attempts", "1", "given") in settings(policy)["retry backoff"]


def test_fallbacks_in_words() -> None:
    def compute(error: Exception) -> None: ...

    choices: list[tuple[Any, str, str]] = [
        (static("later"), "a static value", "'later'"),
        (compute, "a computed value", "test_fallbacks_in_words.<locals>.compute"),
        (computed(lambda call, error: 1), "a computed value", "<lambda>"),
        (
            Stale(age=60.0, key=str),
            "the last good answer, at most 60 s old",
            "Stale(age=60, key=str",
        ),
    ]
    for fallback, words, answer in choices:
        lines = Policy("mail", fallback=fallback).describe().splitlines()
        assert words in lines[1]
        assert lines[2].startswith("      answer = ")
        assert answer in lines[2]
        assert lines[2].endswith("  (given)")


def test_what_contradicts_stands_at_the_end() -> None:
    policy = Policy("mail", breaker=BreakerSettings(probe_lease=1.0))
    assert policy.describe().splitlines()[-1] == f"  ! {policy.lint()[0]}"
    assert "  ! " not in Policy("mail").describe()


def test_a_policy_that_is_off_is_its_name() -> None:
    assert Policy("mail", mode="off").describe() == "mail"
