"""Options: what is wrong is refused where it is given, in words that say what would be right."""

import re
from datetime import timedelta
from typing import Any

import pytest

from switchgear import (
    AdaptiveSettings,
    BackoffSettings,
    BreakerSettings,
    BucketSettings,
    BulkheadSettings,
    GcraSettings,
    HedgeSettings,
    Policy,
    Stale,
    static,
)
from switchgear.core.fallback import computed
from switchgear.core.options import PARTS, Options
from switchgear.policy.lint import Plan
from switchgear.testing import Chaos, EventRecorder

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    # durations
    ({"timeout": "2 seconds"}, ValueError,
     "timeout: '2 seconds' is no duration: write 250ms, 2s, 5min or 1h"),
    ({"deadline": 0}, ValueError, "deadline: 0 is no duration: it must be more than nothing"),
    ({"deadline": -1.0}, ValueError, "deadline: -1.0 is no duration"),
    ({"deadline": float("nan")}, ValueError, "deadline: nan is no duration"),
    ({"deadline": float("inf")}, ValueError, "deadline: inf is no duration"),
    ({"deadline": timedelta(seconds=90)}, TypeError,
     "deadline=datetime.timedelta(seconds=90): seconds as a number (90 here), a string like "),
    ({"timeout": True}, TypeError,
     "timeout=True: seconds as a number, a string like '250ms' or '2s', or None would be right"),
    ({"timeout": [1]}, TypeError, "timeout=[1]: seconds as a number, a string"),
    # attempts
    ({"attempts": "3"}, TypeError, "attempts='3': a whole number of at least 1 would be right"),
    ({"attempts": 2.5}, TypeError, "attempts=2.5: a whole number of at least 1 would be right"),
    ({"attempts": True}, TypeError, "attempts=True: a whole number of at least 1 would be right"),
    ({"attempts": 0}, ValueError, "BackoffSettings.attempts is 0, where a whole number from 1 to"),
    ({"attempts": 3, "retry": None}, ValueError,
     "attempts=3 contradicts retry=None: give one of them"),
    ({"attempts": 3, "retry": 5}, TypeError,
     "retry=5: BackoffSettings(...) or None would be right"),
    # parts
    ({"retry": 3}, TypeError, "retry=3: BackoffSettings(...) or None would be right"),
    ({"budget": None}, TypeError, "budget=None: BudgetSettings(...) would be right"),
    ({"budget": 0.2}, TypeError, "budget=0.2: BudgetSettings(...) would be right"),
    ({"hurry": True}, TypeError, "hurry=True: HurrySettings(...) or None would be right"),
    ({"breaker": 5}, TypeError, "breaker=5: BreakerSettings(...) or None would be right"),
    ({"breaker": False}, TypeError, "breaker=False: BreakerSettings(...) or None would be right"),
    ({"breaker": {"calls": 5}}, TypeError,
     "breaker={'calls': 5}: BreakerSettings(...) or None would be right"),
    ({"breaker": BreakerSettings}, TypeError, f"breaker={BreakerSettings!r}: BreakerSettings("),
    ({"bulkhead": 64}, TypeError, "bulkhead=64: BulkheadSettings(...) or None would be right"),
    ({"bulkhead": BreakerSettings()}, TypeError, "bulkhead=BreakerSettings("),
    ({"rate": "10/s"}, TypeError,
     "rate='10/s': BucketSettings(...) or GcraSettings(...) or None would be right"),
    ({"adaptive": True}, TypeError, "adaptive=True: AdaptiveSettings(...) or None would be right"),
    ({"hedge": True, "repeatable": True}, TypeError,
     "hedge=True: HedgeSettings(...) or None would be right"),
    ({"hedge": HedgeSettings()}, ValueError,
     "hedge: only a repeatable call may be sent twice at a time"),
    ({"repeatable": "yes"}, TypeError, "repeatable='yes': True or False would be right"),
    ({"repeatable": None}, TypeError, "repeatable=None: True or False would be right"),
    # functions
    ({"fallback": "sorry"}, TypeError,
     "fallback='sorry': static(a value), a Stale(...), or a function of the error and the"),
    ({"fallback": Stale(age=1.0, key="user")}, TypeError,  # type: ignore[arg-type]  # the point
     "fallback.key='user': a function would be right"),
    ({"coalesce": True}, TypeError, "coalesce=True: a function would be right"),
    ({"key": "user"}, TypeError, "key='user': a function would be right"),
    ({"chaos": 0.1}, TypeError, "chaos=0.1: a function would be right"),
    ({"judge": 1}, TypeError, "judge=1: a function would be right"),
    ({"translate": {}}, TypeError, "translate={}: a function would be right"),
    ({"observe": []}, TypeError, "observe=[]: a function would be right"),
    ({"observe": EventRecorder}, TypeError,
     f"observe={EventRecorder!r}: one that is made of it would be right"),
    ({"fallback": Stale}, TypeError, f"fallback={Stale!r}: one that is made of it would be right"),
    ({"fallback": static}, TypeError, "fallback=static: static(a value) would be right"),
    ({"fallback": computed}, TypeError, "fallback=computed: computed(a function) would be right"),
    ({"clock": 1.0}, TypeError, "clock=1.0: a function would be right"),
    ({"random": None}, TypeError, "random=None: a function would be right"),
    # modes
    ({"mode": "on"}, ValueError, "mode='on': 'enforce', 'observe' or 'off' would be right"),
    ({"mode": None}, ValueError, "mode=None: 'enforce', 'observe' or 'off' would be right"),
    ({"mode": ["observe"]}, ValueError, "mode=['observe']: 'enforce', 'observe' or 'off' would be"),
    ({"mode": {"breaker": "on"}}, ValueError, "mode='on': 'enforce', 'observe' or 'off' would be"),
    ({"mode": {"breakers": "off", 1: "off"}}, ValueError,
     f"mode names 1, breakers; the parts are {', '.join(PARTS)}"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "says"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_at_once(
    options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=re.escape(f"policy 'mail': {says}")) as caught:
        Policy("mail", **options)
    assert type(caught.value) is kind
    assert caught.value.__suppress_context__, "the inner error says no more"


async def looked_up(*arguments: Any) -> Any:
    """Be asked of a database, as nobody waits for it here."""


AWAITED: Any = looked_up


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"coalesce": looked_up}, "coalesce"),
        ({"key": looked_up}, "key"),
        ({"fallback": Stale(age=1.0, key=AWAITED)}, "fallback.key"),
        ({"fallback": Stale(age=1.0, key=len, mark=AWAITED)}, "fallback.mark"),
        ({"judge": looked_up}, "judge"),
        ({"translate": looked_up}, "translate"),
        ({"chaos": looked_up}, "chaos"),
    ],
)
def test_what_nobody_would_await_is_said_at_once(option: dict[str, Any], name: str) -> None:
    """A key that is a coroutine is another one each time: what it is for would silently be off."""
    says = (
        f"policy 'mail': {name}={looked_up!r}: a plain function would be right, for nobody awaits"
    )
    with pytest.raises(TypeError, match=re.escape(says)):
        Policy("mail", **option)
    Policy("mail", fallback=looked_up)  # which is awaited


def test_a_policy_has_a_name() -> None:
    nobody: Any = Policy
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        nobody()
    with pytest.raises(TypeError, match=r"has a name first, as in Policy\('mail'\), not 5$"):
        nobody(5)
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=r"a policy has a name first, .* which is not empty"):
            nobody(empty)
    with pytest.raises(TypeError, match=r"decorate with @Policy\('mail'\)$"):
        nobody(test_a_policy_has_a_name)


@pytest.mark.parametrize(
    "options",
    [
        {"deadline": None, "timeout": None},
        {"deadline": 5, "timeout": " 250 ms "},
        {"attempts": 1},
        {"retry": None, "hurry": None, "breaker": None, "bulkhead": None},
        {"rate": GcraSettings(0.1), "adaptive": AdaptiveSettings()},
        {"fallback": static(None)},
        {"fallback": computed(lambda call, error: 1)},
        {"fallback": lambda error: 1},
        {"fallback": Stale(age=1.0, key=lambda call: 1)},
        {"chaos": Chaos(1)},
        {"mode": dict.fromkeys(PARTS, "off")},
        {"mode": {}},
    ],
    ids=str,
)
def test_what_is_right_is_taken(options: dict[str, Any]) -> None:
    assert Policy("mail", **options).describe()


def test_attempts_and_what_else_is_said_of_the_retry_are_joined() -> None:
    drawn = Policy("mail", attempts=5, retry=BackoffSettings(base=0.5, cap=2.0)).describe()
    for line in (
        "attempts = 5  (given)",
        "base = 0.5  (given)",
        "cap = 2  (given)",
        "longest_retry_after = 3  (default)",
    ):
        assert drawn.count(line) == 1
    kept = BackoffSettings(attempts=7, longest_retry_after=9.0)
    assert Policy("mail", retry=kept).plan().retry == kept


def test_the_linter_is_told_what_holds() -> None:
    assert Policy("mail").plan() == Plan(
        name="mail",
        deadline=3.0,
        timeout=1.0,
        retry=BackoffSettings(),
        breaker=BreakerSettings(slow_after=0.8 * 3.0),
        bulkhead=BulkheadSettings(),
    )
    unbounded = Policy("mail", deadline=None, timeout=None, repeatable=True).plan(7.0)
    assert (unbounded.deadline, unbounded.timeout, unbounded.rate) == (
        float("inf"),
        float("inf"),
        7.0,
    )
    assert unbounded.repeatable
    assert Policy("mail", rate=BucketSettings(10.0, 5.0)).plan().limit == 10.0
    assert Policy("mail", rate=GcraSettings(0.05)).plan().limit == 20.0
    assert Policy("mail", rate=GcraSettings(0.05)).plan().limited
    assert Policy("mail", key=str).plan().keyed


def test_the_linter_hears_nothing_of_what_is_off_and_of_what_is_not_known() -> None:
    by_key = Policy("mail", rate=BucketSettings(10.0, 5.0), key=str)
    assert by_key.plan().limit is None, "ten a second of each, of nobody knows how many"
    off = dict.fromkeys(("retry", "breaker", "bulkhead", "rate", "timeout"), "off")
    plan = Policy("mail", rate=BucketSettings(10.0, 5.0), mode=off).plan()  # type: ignore[arg-type]  # they are modes
    assert (plan.retry, plan.breaker, plan.bulkhead, plan.limit) == (None, None, None, None)
    assert (plan.deadline, plan.timeout) == (float("inf"), float("inf"))
    assert plan.limited, "but for what it would be were it on"
    observed = Policy("mail", rate=BucketSettings(10.0, 5.0), mode="observe").plan()
    assert observed.limit == 10.0
    assert observed.breaker == BreakerSettings(slow_after=0.8 * 3.0)


def test_a_part_has_its_own_mode_or_that_of_all() -> None:
    options = Options(mode={"breaker": "observe"})
    assert [options.mode_of(part) for part in ("breaker", "bulkhead")] == ["observe", "enforce"]
    assert {Options(mode="off").mode_of(part) for part in PARTS} == {"off"}


def test_a_probe_has_its_place_for_as_long_as_it_may_take() -> None:
    """Else several would be out at a time, of calls that may take longer than the usual lease."""
    long = Policy("mail", deadline="1min")
    assert long.lint() == ()
    plan = long.plan()
    assert plan.breaker is not None
    assert (plan.breaker.probe_lease, plan.breaker.slow_after) == (60.0, 48.0)
    assert "      probe_lease = 60  (derived: all of an attempt's time)" in long.describe()
    (finding,) = Policy("mail", deadline="1min", breaker=BreakerSettings(probe_lease=20.0)).lint()
    assert finding.setting == "breaker.probe_lease"


@pytest.mark.parametrize("rate", [0, -1.0, float("inf")])
def test_a_rate_to_lint_at_is_more_than_none(rate: float) -> None:
    with pytest.raises(ValueError, match="calls per second, more than none, would be right"):
        Policy("mail").lint(rate)


@pytest.mark.parametrize("rate", ["1000", True])
def test_a_rate_to_lint_at_is_a_number(rate: float) -> None:
    with pytest.raises(TypeError, match=f"rate={rate!r}: calls per second, more than none"):
        Policy("mail").lint(rate)


UNHASHABLE = Stale(age=1.0, key=lambda: [7])  # type: ignore[arg-type, return-value]  # on purpose


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": lambda: 7}, "policy 'mail': key returned 7: a text would be right"),
        ({"coalesce": lambda: [7]}, "the key of what 'mail' is asked is [7]: what can be hashed"),
        ({"fallback": UNHASHABLE}, "the key of what 'mail' is asked is [7]: what"),
    ],
)
async def test_what_a_function_of_the_arguments_returns_is_looked_at(
    options: dict[str, Any], says: str
) -> None:
    async def ask() -> str:
        return "answer"

    policy = Policy("mail", **options)
    with pytest.raises(TypeError, match=re.escape(says)):
        await policy.call(ask)
    assert policy.statistics()["bulkhead"]["out"] == 0
