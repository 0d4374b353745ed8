"""Each option by itself and beside others: what the caller gets, what is counted, what is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from switchgear import (
    AdaptiveSettings,
    BackoffSettings,
    BreakerSettings,
    BucketSettings,
    BudgetSettings,
    BulkheadSettings,
    Code,
    Fault,
    GcraSettings,
    HedgeSettings,
    HurrySettings,
    Policy,
    Stale,
    current,
    deadline,
    static,
    within,
)
from switchgear.core.ambient import ambient
from switchgear.core.observe import (
    AttemptEnded,
    CallEnded,
    Coalesced,
    FellBack,
    Hedging,
    Retrying,
)
from switchgear.core.sweep import sweep_of
from switchgear.policy.breaker import Transition
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL_AGAIN, Health
from switchgear.testing import Chaos, EventRecorder, Failure, Latency
from switchgear.testing.virtual import START, clock

pytestmark = pytest.mark.virtual


class Tried:
    """A policy, what it told, and a dependency that answers and fails as it is told to."""

    def __init__(self, *script: Any, takes: float = 0.0, **options: Any) -> None:
        self.seen = EventRecorder()
        self.policy = Policy("mail", clock=clock, random=lambda: 0.5, observe=self.seen, **options)
        self.script = list(script)
        self.takes = takes
        self.asked: list[Any] = []

    async def depend(self, *given: Any) -> Any:
        self.asked.append(given)
        if self.takes:
            await asyncio.sleep(self.takes)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def call(self, *given: Any) -> Any:
        return await self.policy.call(self.depend, *given)

    async def fails(self, *given: Any) -> Any:
        with pytest.raises((Fault, OSError, KeyError)) as caught:
            await self.call(*given)
        return caught.value

    def told(self) -> list[str]:
        """Return the kinds of what was told, in its order, and forget it."""
        names = [type(event).__name__ for event in self.seen.events]
        self.seen.events.clear()
        return names

    def calls(self) -> tuple[Any, ...]:
        figures = self.policy.statistics()["calls"]
        return tuple(figures[one] for one in ("good", "failed", "neutral"))

    def home(self) -> None:
        for figures in self.policy.statistics().values():
            assert figures.get("out", 0) == figures.get("zombies", 0) == 0
            assert figures.get("flights", 0) == figures.get("waiting", 0) == 0
        assert sweep_of(asyncio.get_running_loop(), clock).armed == 0


DOWN = ConnectionRefusedError("down")  # surely had no effect
RESET = ConnectionResetError("reset")
PLENTY = BucketSettings(rate=1e6, burst=1e6)
NOTHING: dict[str, Any] = {"retry": None, "hurry": None, "breaker": None, "bulkhead": None}


# -- attempts, retry, budget


async def test_attempts_are_told_one_by_one_and_the_call_once() -> None:
    tried = Tried(DOWN, DOWN, "ok", attempts=3)
    about: Any = pytest.approx
    assert await tried.call() == "ok"
    assert tried.seen.events == [
        AttemptEnded("mail", 1, BAD_AGAIN, 0.0),
        Retrying("mail", 1, 0.0125, BAD_AGAIN),
        AttemptEnded("mail", 2, BAD_AGAIN, 0.0),
        Retrying("mail", 2, 0.025, BAD_AGAIN),
        AttemptEnded("mail", 3, GOOD, 0.0),
        CallEnded("mail", 3, GOOD, about(0.0375)),
    ]
    assert tried.calls() == (1, 0, 0)
    assert tried.policy.statistics()["budget"] == {"granted": 2, "denied": 0}
    tried.home()


async def test_what_only_tries_again_tells_of_its_attempts() -> None:
    options = {**NOTHING, "retry": BackoffSettings(), "mode": {"timeout": "off"}}
    tried = Tried(DOWN, "ok", "ok", **options)
    assert await tried.call() == await tried.call() == "ok"
    assert tried.told() == [
        "AttemptEnded", "Retrying", "AttemptEnded", "CallEnded", "AttemptEnded", "CallEnded",
    ]  # fmt: skip


async def test_an_answer_that_counts_as_a_failure_is_told_as_one() -> None:
    tried = Tried("bad", "fine", judge=lambda value: BAD if value == "bad" else GOOD)
    assert await tried.call() == "bad"
    assert await tried.call() == "fine"
    assert [call.code for call in tried.seen.of(CallEnded)] == ["unknown", ""]

    async def clings() -> str:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            return "late"
        raise AssertionError

    tried.seen.clear()
    assert await tried.policy.call(clings) == "late"
    assert tried.seen.one(CallEnded).code == "deadline_exceeded"
    with within(1.0, clock=clock):
        assert await tried.policy.call(clings) == "late"
    assert tried.seen.of(CallEnded)[1].code == "", "its caller was in a hurry: nobody's failure"
    assert tried.calls() == (1, 2, 1)


async def test_iterators_that_end_open_no_breaker() -> None:
    async def pages() -> AsyncIterator[int]:
        yield 1

    tried = Tried(breaker=BreakerSettings(consecutive=1))
    for _ in range(3):
        found = pages()
        assert await tried.policy.call(anext, found) == 1
        with pytest.raises(StopAsyncIteration):
            await tried.policy.call(anext, found)
    assert tried.calls() == (6, 0, 0)


async def test_the_last_failure_is_the_calls() -> None:
    tried = Tried(DOWN, DOWN, RESET, attempts=3)
    assert await tried.fails() is RESET
    assert tried.seen.one(CallEnded).code == "ConnectionResetError"
    assert tried.calls() == (0, 1, 0)


async def test_one_attempt_or_no_retry_is_tried_once() -> None:
    choices: list[dict[str, Any]] = [
        {"attempts": 1},
        {"retry": None},
        {"retry": None, "attempts": 1},
        {"retry": BackoffSettings(attempts=1)},
    ]
    for options in choices:
        tried = Tried(DOWN, repeatable=True, **options)
        assert await tried.fails() is DOWN
        assert tried.told() == ["AttemptEnded", "CallEnded"]
        assert "budget" not in tried.policy.statistics()


@pytest.mark.parametrize(
    "options", [{"attempts": 1}, {"retry": None}, {"mode": {"retry": "off"}}], ids=str
)
async def test_no_time_is_kept_for_an_attempt_that_never_follows(options: dict[str, Any]) -> None:
    tried = Tried("ok", takes=0.9, repeatable=True, deadline=1.0, timeout=1.0, **options)
    assert await tried.policy.call(tried.depend) == "ok"
    assert "100% of what remains" in tried.policy.describe()


async def test_no_attempt_is_made_that_would_begin_after_the_deadline() -> None:
    tried = Tried(
        RESET, takes=0.4, repeatable=True, deadline=1.0, timeout=5.0,
        retry=BackoffSettings(base=0.4, cap=0.4), hurry=None,
    )  # fmt: skip
    fault = await tried.fails()
    assert fault.code is Code.DEADLINE_EXCEEDED, "the second one had half of what was left"
    assert len(tried.asked) == 2, "the third would begin at the deadline"
    assert clock() - START == pytest.approx(0.4 + 0.2 + 0.2, abs=0.02)


async def test_a_budget_that_is_spent_ends_the_retries_of_all() -> None:
    tried = Tried(DOWN, breaker=None, budget=BudgetSettings(ratio=0.0, floor=0.3))
    for _ in range(3):
        await tried.fails()
    assert len(tried.asked) == 3 + 3, "0.3 a second over 10 s pay for three"
    assert tried.policy.statistics()["budget"] == {"granted": 3, "denied": 2}


# -- gates


async def test_a_rate_refuses_before_the_work_and_says_when_to_come_again() -> None:
    rates: list[Any] = [BucketSettings(1.0, 1.0), GcraSettings(1.0)]
    for rate in rates:
        tried = Tried("ok", rate=rate, attempts=1)
        await tried.call()
        tried.told()
        fault = await tried.fails()
        assert (fault.code, fault.refusal) == (Code.RESOURCE_EXHAUSTED, Refusal.LIMITED)
        assert fault.effect is Effect.NONE
        assert fault.retry_after == pytest.approx(1.0, abs=0.01)
        assert len(tried.asked) == 1
        assert tried.told() == ["Refusing", "AttemptEnded", "CallEnded"]
        assert tried.calls() == (1, 0, 1)
        await asyncio.sleep(1.0)
        assert await tried.call() == "ok"
        tried.home()


async def test_a_rate_counts_by_key_where_there_is_one_and_all_together_where_not() -> None:
    by_user = Tried("ok", rate=BucketSettings(1.0, 1.0), key=lambda user: user, attempts=1)
    await by_user.call("ada")
    await by_user.call("bob")
    assert (await by_user.fails("ada")).refusal is Refusal.LIMITED
    together = Tried("ok", rate=BucketSettings(1.0, 1.0), attempts=1)
    ambient.set(Call(None, START + 9.0, key="ada"))
    await together.call("ada")
    ambient.set(Call(None, START + 9.0, key="bob"))  # of what calls us: nobody's business here
    assert (await together.fails("bob")).refusal is Refusal.LIMITED


async def test_a_retry_waits_for_as_long_as_the_limit_asks() -> None:
    tried = Tried("ok", rate=GcraSettings(0.5))
    await tried.call()
    assert await tried.call() == "ok"
    assert 0.5 <= clock() - START <= 0.6
    assert tried.told()[2:] == ["Refusing", "AttemptEnded", "Retrying", "AttemptEnded", "CallEnded"]


async def test_an_adaptive_limit_stands_beside_the_bulkhead() -> None:
    tried = Tried("ok", takes=0.1, adaptive=AdaptiveSettings(initial=1, least=1), attempts=1)
    first = asyncio.create_task(tried.call())
    await asyncio.sleep(0)
    fault = await tried.fails()
    assert (fault.refusal, fault.effect) == (Refusal.FULL, Effect.NONE)
    assert await first == "ok"
    figures = tried.policy.statistics()
    assert figures["adaptive"]["settled"] == figures["bulkhead"]["settled"] == 1
    tried.home()


async def test_a_bulkhead_lets_wait_and_refuses_the_rest() -> None:
    tried = Tried(
        "ok", takes=0.1, bulkhead=BulkheadSettings(permits=1, queue=1, patience=1.0), attempts=1
    )
    got = await asyncio.gather(*(tried.call() for _ in range(3)), return_exceptions=True)
    assert got[:2] == ["ok", "ok"]
    assert isinstance(got[2], Fault)
    assert got[2].refusal is Refusal.FULL
    first, second = tried.seen.of(AttemptEnded, verdict=GOOD)
    assert [first.elapsed, second.elapsed] == pytest.approx([0.1, 0.1]), "without the queue"
    assert tried.seen.of(CallEnded, verdict=GOOD)[1].elapsed == pytest.approx(0.2)
    tried.home()


async def test_who_has_no_time_for_the_usual_is_refused_at_once() -> None:
    tried = Tried("ok", takes=0.2, hurry=HurrySettings(samples=3), attempts=1)
    for _ in range(3):
        await tried.call()
    tried.told()
    with within(0.1, clock=clock):
        before = clock()
        fault = await tried.fails()
    assert clock() == before
    assert (fault.code, fault.refusal, fault.effect) == (
        Code.DEADLINE_EXCEEDED,
        Refusal.HURRIED,
        Effect.NONE,
    )
    assert len(tried.asked) == 3
    assert tried.told() == ["Refusing", "AttemptEnded", "CallEnded"]
    with within(0.3, clock=clock):
        assert await tried.call() == "ok"
    ambient.set(Call(None, clock() + 0.1))
    assert (await tried.fails()).refusal is Refusal.HURRIED, "an ambient call's time counts, too"
    tried.home()


async def test_no_attempt_follows_for_which_there_is_less_time_than_usual() -> None:
    tried = Tried("ok", takes=0.3, hurry=HurrySettings(samples=2), repeatable=True)
    for _ in range(2):
        await tried.call()
    tried.told()
    tried.takes = 9.0
    with within(0.5, clock=clock):
        fault = await tried.fails()
    assert "no answer within 0.500 s" in fault.detail, "half of it would not have done"
    assert tried.told() == ["AttemptEnded", "CallEnded"]
    tried.home()


@pytest.mark.parametrize("way", [{}, {"rate": PLENTY}])
async def test_short_calls_count_for_all_those_that_one_stands_for(way: dict[str, Any]) -> None:
    """Of them, one in 128 is noted: counted as one, it would be outvoted by a few long ones."""
    tried = Tried("ok", **way)
    for number in range(1280):
        tried.takes = 0.0 if number % 10 else 0.05
        await tried.call()
    usual = tried.policy.statistics()["hurry"]["usual"]
    assert isinstance(usual, float)
    assert 0.0 < usual < 0.001
    tried.home()


async def test_without_hurry_who_has_no_time_is_called_off_half_way() -> None:
    tried = Tried("ok", takes=0.2, hurry=None, attempts=1)
    for _ in range(30):
        await tried.call()
    with within(0.1, clock=clock):
        fault = await tried.fails()
    assert (fault.refusal, len(tried.asked)) == (Refusal.HURRIED, 31)
    assert tried.policy.statistics()["breaker"]["consecutive"] == 0


async def test_an_open_breaker_is_met_by_each_attempt() -> None:
    tried = Tried(RESET, attempts=1, breaker=BreakerSettings(consecutive=1, jitter=0.0))
    await tried.fails()
    assert tried.seen.one(Transition).new == "open"
    assert tried.told() == ["Transition", "AttemptEnded", "CallEnded"]
    fault = await tried.fails()
    assert (fault.refusal, fault.effect, len(tried.asked)) == (Refusal.OPEN, Effect.NONE, 1)
    assert fault.retry_after == pytest.approx(5.0)
    assert tried.told() == ["Refusing", "AttemptEnded", "CallEnded"]


# -- hedges


async def hedging(**options: Any) -> Tried:
    """Return one that knows that 10 ms are usual."""
    tried = Tried(
        "ok", takes=0.01, repeatable=True, hedge=HedgeSettings(samples=2, least=0.01), **options
    )
    for _ in range(2):
        await tried.call()
    tried.told()
    tried.asked.clear()
    return tried


@pytest.mark.parametrize(
    "options", [{}, {"retry": None}, {"attempts": 1}, {"mode": {"retry": "off"}}]
)
async def test_a_hedge_is_a_second_attempt_of_one_call(options: dict[str, Any]) -> None:
    tried = await hedging(**options)

    async def slow_at_first() -> str:
        tried.asked.append(())
        if len(tried.asked) == 1:
            await asyncio.sleep(0.5)
        return "ok"

    assert await tried.policy.call(slow_at_first) == "ok"
    assert len(tried.asked) == 2
    assert tried.seen.count(Hedging) == 1
    assert tried.seen.one(CallEnded).verdict == GOOD, "one call, however many attempts"
    assert sorted(tried.told()) == ["AttemptEnded", "AttemptEnded", "CallEnded", "Hedging"]
    assert tried.calls() == (3, 0, 0)
    assert tried.policy.statistics()["budget"] == {"granted": 1, "denied": 0}
    tried.home()


async def test_hedges_are_paid_for_by_the_calls_even_where_nothing_is_tried_again() -> None:
    tried = await hedging(retry=None, budget=BudgetSettings(ratio=0.2, floor=0.0), breaker=None)
    for _ in range(28):
        await tried.call()
    tried.takes = 0.05
    for _ in range(10):
        await tried.call()
    granted = tried.policy.statistics()["budget"]["granted"]
    assert tried.seen.count(Hedging) == granted
    assert float(granted) >= 2, "nothing but the calls has paid for them"
    tried.home()


# -- fallbacks


async def test_a_fallback_speaks_for_what_gave_no_answer() -> None:

    def compute(error: Exception, user: str) -> str:
        return f"{type(error).__name__} for {user}"

    choices: list[Any] = [
        (static("later"), "static", "later"),
        (compute, "computed", "ConnectionResetError for ada"),
    ]
    for fallback, how, answer in choices:
        tried = Tried(RESET, fallback=fallback)
        assert await tried.call("ada") == answer
        assert tried.seen.one(FellBack) == FellBack("mail", how, "ConnectionResetError")
        assert tried.told() == ["AttemptEnded", "CallEnded", "FellBack"]
        assert tried.calls() == (0, 1, 0), "the call has failed, whatever its caller gets"
        tried.home()


async def test_a_fallback_leaves_an_answer_alone_and_answers_a_refusal() -> None:
    tried = Tried(Fault(Code.NOT_FOUND), fallback=static("later"))
    assert (await tried.fails()).code is Code.NOT_FOUND
    tried.policy.force_open()
    assert await tried.call() == "later"


async def test_an_async_fallback_is_awaited() -> None:
    async def ask_another(error: Exception, user: str) -> str:
        await asyncio.sleep(0.01)
        return f"of another for {user}"

    tried = Tried(RESET, fallback=ask_another)
    assert await tried.call("ada") == "of another for ada"


async def test_the_last_good_answer_to_the_same_question_of_the_same_function() -> None:
    tried = Tried("ok", RESET, fallback=Stale(age=60.0, key=lambda user: user), attempts=1)
    assert await tried.call("ada") == "ok"
    await asyncio.sleep(9.0)
    assert await tried.call("ada") == "ok"
    assert tried.seen.one(FellBack).age == pytest.approx(9.0)
    assert isinstance(await tried.fails("bob"), ConnectionResetError)

    async def other(user: str) -> str:
        raise RESET

    with pytest.raises(ConnectionResetError):
        await tried.policy.call(other, "ada")
    assert tried.policy.statistics()["fallback"]["keys"] == 1
    await asyncio.sleep(60.0)
    assert isinstance(await tried.fails("ada"), ConnectionResetError)


# -- coalescing


async def test_who_asks_the_same_at_once_shares_one_run() -> None:
    tried = Tried(["ok"], takes=0.1, coalesce=lambda user: user)
    first, second, _ = await asyncio.gather(*map(tried.call, ("ada", "ada", "bob")))
    assert first is second
    assert len(tried.asked) == 2
    assert tried.seen.count(Coalesced) == 1
    assert tried.seen.count(CallEnded) == 2
    assert tried.policy.statistics()["coalesce"] == {"flights": 0, "begun": 2, "joined": 1}
    assert tried.policy.statistics()["bulkhead"]["admitted"] == 2
    tried.home()


async def test_none_asks_what_nobody_may_share() -> None:
    tried = Tried("ok", takes=0.1, coalesce=lambda user: None)
    await asyncio.gather(tried.call("ada"), tried.call("ada"))
    assert len(tried.asked) == 2


async def test_shared_work_knows_its_ambient_call_and_its_deadline() -> None:
    seen: list[Any] = []

    async def look() -> None:
        call = current()
        assert call is not None
        seen.extend((call.payload, call.principal, call.key, call.priority, deadline()))

    ambient.set(Call("request", START + 1.0, key="k", priority=7, principal=Principal("ada")))
    policy = Policy("mail", coalesce=lambda: 1, clock=clock)
    await policy.call(look)
    assert seen == ["request", Principal("ada"), "k", 7, START + 1.0]


# -- judge, translate, observe, chaos


async def test_a_judge_says_what_a_value_means() -> None:
    def judge(status: int) -> Any:
        return {500: BAD, 503: BAD_AGAIN, 429: NEUTRAL_AGAIN}.get(status, GOOD)

    tried = Tried(503, 429, 200, judge=judge, repeatable=True)
    assert await tried.call() == 200
    assert [event.verdict for event in tried.seen.of(AttemptEnded)] == [
        BAD_AGAIN,
        NEUTRAL_AGAIN,
        GOOD,
    ]
    tried = Tried(503, judge=judge)
    assert await tried.call() == 503, "its effect is not known: it is not tried again"
    assert tried.calls() == (0, 1, 0)
    tried = Tried(500, judge=judge, fallback=static(0))
    assert await tried.call() == 0


async def test_a_judge_that_fails_fails_the_call_and_keeps_no_permit() -> None:
    def judge(status: int) -> Any:
        raise KeyError(status)

    tried = Tried(200, judge=judge)
    assert isinstance(await tried.fails(), KeyError)
    assert tried.calls() == (0, 1, 0)
    tried.home()


@pytest.mark.parametrize("said", [None, True, Health.GOOD])
@pytest.mark.parametrize("options", [{}, {"retry": None}, {"repeatable": True}])
async def test_a_judge_that_gives_no_verdict_is_told_so_and_keeps_no_permit(
    said: Any, options: dict[str, Any]
) -> None:
    tried = Tried(200, judge=lambda status: said, **options)
    with pytest.raises(TypeError) as caught:
        await tried.call()
    assert str(caught.value) == f"judge returned {said!r}: a Verdict(...) would be right"
    assert tried.calls() == (0, 1, 0)
    tried.home()


@pytest.mark.parametrize("made", ["no route", KeyError])
async def test_a_translation_that_is_no_exception_is_told_of_and_keeps_no_permit(made: Any) -> None:
    tried = Tried(KeyError("no route"), translate=lambda error: made)
    with pytest.raises(TypeError) as caught:
        await tried.call()
    assert str(caught.value) == f"translate returned {made!r}: a Fault(...) or None would be right"
    assert tried.calls() == (0, 1, 0)
    tried.home()
    with pytest.raises(TypeError, match="translate returned"):
        async with tried.policy:
            raise KeyError("no route")
    tried.home()


async def test_what_a_library_raises_is_translated() -> None:
    def translate(error: Exception) -> Exception | None:
        return Fault(Code.UNAVAILABLE, effect=Effect.NONE) if isinstance(error, KeyError) else None

    mystery = KeyError("no route")
    tried = Tried(mystery, "ok", translate=translate)
    assert await tried.call() == "ok", "and known to be safe to try again"
    tried = Tried(mystery, translate=translate, attempts=1)
    fault = await tried.fails()
    assert fault.code is Code.UNAVAILABLE
    assert fault.__cause__ is mystery
    tried = Tried(RESET, translate=translate)
    assert await tried.fails() is RESET
    tried.home()


async def test_a_translator_that_fails_is_the_failure_and_keeps_no_permit() -> None:
    def translate(error: Exception) -> Exception | None:
        raise KeyError("a defect of ours")

    tried = Tried(RESET, translate=translate)
    assert isinstance(await tried.fails(), KeyError)
    assert tried.calls() == (0, 1, 0)
    tried.home()


@pytest.mark.parametrize(
    ("options", "script", "least"),
    [
        ({"breaker": BreakerSettings(consecutive=1)}, [RESET], 3),
        ({"fallback": static("ok")}, [RESET], 3),
        ({"coalesce": lambda: 1}, ["ok"], 3),
        ({"rate": BucketSettings(1.0, 1.0), "mode": "observe"}, ["ok"], 5),
        ({"rate": BucketSettings(1.0, 1.0)}, ["ok"], 5),
    ],
)
async def test_an_observers_defect_is_nobody_elses(
    options: dict[str, Any], script: list[Any], least: int
) -> None:
    """Not the caller's, not the breaker's, not that of the layers: it is reported, no more."""
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))

    shown: list[Any] = []

    def broken(event: Any) -> None:
        shown.append(event)
        raise KeyError(event)

    for observe in (None, broken):
        policy = Policy(
            "mail", clock=clock, random=lambda: 0.5, attempts=1, observe=observe, **options
        )
        tried = Tried(*script)
        tried.policy = policy
        got = await asyncio.gather(tried.call(), tried.call(), return_exceptions=True)
        if observe is None:
            expected = [repr(one) for one in got]
        else:
            assert [repr(one) for one in got] == expected
        tried.home()
    assert len(shown) >= least
    assert reported
    assert all("an observer failed on" in message for message in reported)


async def test_chaos_meets_every_protection() -> None:
    chaos = Chaos(1, [Failure(ConnectionRefusedError, times=2)], clock=clock)
    tried = Tried("ok", chaos=chaos)
    assert await tried.call() == "ok"
    assert chaos.injected == 2
    assert tried.told().count("Retrying") == 2
    slow = Tried("ok", chaos=Chaos(1, [Latency(9.0)], clock=clock), deadline=1.0)
    assert (await slow.fails()).code is Code.DEADLINE_EXCEEDED
    assert slow.asked == []
    slow.home()


# -- no bounds


async def test_without_deadline_and_timeout_a_call_may_take_for_ever() -> None:
    async def see() -> float:
        await asyncio.sleep(10_000.0)
        return deadline()

    choices: list[dict[str, Any]] = [{}, {"coalesce": lambda: 1}, {"repeatable": True}]
    for options in choices:
        policy = Policy("mail", deadline=None, timeout=None, clock=clock, **options)
        assert await policy.call(see) == float("inf")
    with within(20_000.0, clock=clock):
        until = clock() + 20_000.0
        assert await Policy("mail", deadline=None, timeout=None, clock=clock).call(see) == until


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hurry": None},
        {"rate": BucketSettings(1000.0, 1000.0)},
        {"adaptive": AdaptiveSettings()},
        {"key": lambda: "k", "rate": BucketSettings(1000.0, 1000.0)},
        {"coalesce": lambda: 1},
        {"hedge": HedgeSettings()},
        {"mode": {"breaker": "observe"}},
    ],
)
async def test_without_a_deadline_each_attempt_still_has_its_timeout(
    options: dict[str, Any],
) -> None:
    """Whichever way it goes, and the second attempt as the first."""
    left: list[float] = []

    async def hang() -> None:
        left.append(deadline() - clock())
        await asyncio.sleep(10_000.0)

    policy = Policy("mail", deadline=None, repeatable=True, attempts=2, clock=clock, **options)
    began = clock()
    with pytest.raises(Fault) as caught:
        await policy.call(hang)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert left == [pytest.approx(1.0)] * 2, "and it is told"
    assert clock() - began < 2.5
    assert policy.statistics()["calls"]["failed"] == 1


async def test_nothing_but_a_function() -> None:
    tried = Tried("ok", RESET, deadline=None, timeout=None, **NOTHING)
    assert await tried.call() == "ok"
    assert await tried.fails() is RESET
    assert tried.policy.lint() == ()


# -- pairs: whatever stands beside what, a call that is well is well, and nothing stays behind

PAIRS: dict[str, dict[str, Any]] = {
    "repeatable": {"repeatable": True},
    "once": {"attempts": 1},
    "no retry": {"retry": None},
    "no breaker": {"breaker": None},
    "no bulkhead": {"bulkhead": None},
    "no hurry": {"hurry": None},
    "no deadline": {"deadline": None},
    "no timeout": {"timeout": None},
    "bucket": {"rate": BucketSettings(1000.0, 1000.0)},
    "spacing": {"rate": GcraSettings(0.0001, 1.0)},
    "adaptive": {"adaptive": AdaptiveSettings()},
    "hedge": {"hedge": HedgeSettings(samples=1), "repeatable": True},
    "fallback": {"fallback": static("fallen back")},
    "stale": {"fallback": Stale(age=9.0, key=lambda *_: 1)},
    "coalesce": {"coalesce": lambda: 1},
    "key": {"key": lambda: "k"},
    "judge": {"judge": lambda value: GOOD},
    "translate": {"translate": lambda error: None},
    "chaos": {"chaos": Chaos(1)},
    "observed": {"mode": "observe"},
    "breaker observed": {"mode": {"breaker": "observe"}},
    "bulkhead observed": {"mode": {"bulkhead": "observe"}},
    "timeout observed": {"mode": {"timeout": "observe"}},
    "timeout off": {"mode": {"timeout": "off"}},
    "retry observed": {"mode": {"retry": "observe"}},
}


@pytest.mark.parametrize("second", PAIRS)
@pytest.mark.parametrize("first", PAIRS)
async def test_in_pairs(first: str, second: str) -> None:
    options = {**PAIRS[first], **PAIRS[second]}
    tried = Tried("ok", takes=0.01, **options)
    assert await tried.call() == "ok"
    assert await tried.call() == "ok"
    assert tried.told() == ["AttemptEnded", "CallEnded"] * 2
    assert tried.calls() == (2, 0, 0)
    tried.home()
    tried.script = [RESET]
    answers = isinstance(options.get("fallback"), object) and "fallback" in options
    if answers and options.get("mode") != "observe":
        assert await tried.call() in ("fallen back", "ok")
    else:
        assert await tried.fails() is RESET
    ended = tried.seen.one(CallEnded)
    assert (ended.verdict, ended.code) == (BAD_AGAIN, "ConnectionResetError")
    again = options.get("repeatable") and options.get("attempts") != 1 and "retry" not in options
    observes = options.get("mode") in ("observe", {"retry": "observe"})
    assert (
        len(tried.seen.of(AttemptEnded)) == ended.attempts == (3 if again and not observes else 1)
    )
    assert tried.seen.count(Retrying) == (0 if not again else 1 if observes else 2)
    assert tried.calls() == (2, 1, 0)
    tried.home()
    task = asyncio.create_task(tried.call())
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.02)
    assert tried.seen.of(CallEnded)[-1].verdict.health is Health.NEUTRAL
    assert tried.calls() == (2, 1, 1)
    tried.home()


def test_every_option_stands_in_a_pair_or_is_no_part() -> None:
    named = {option for options in PAIRS.values() for option in options}
    taken = Policy.__init__.__kwdefaults__
    assert taken is not None
    assert set(taken) - named == {"budget", "observe", "clock", "random"}


# -- how it is called


async def test_a_function_that_blocks_is_given_to_the_options_as_it_is_called() -> None:
    """In a thread, too, `key`, `fallback` and `coalesce` see the arguments of the function."""

    def add(first: int, *, second: int) -> int:
        if first < 0:
            raise RESET
        return first + second

    seen: list[Any] = []

    def note(*given: Any, **named: Any) -> str:
        seen.append((given, named))
        return "key"

    choices: list[dict[str, Any]] = [{"key": note}, {"coalesce": note}]
    stale: Any = Stale
    for how in (_decorated, _in_thread):
        for options in choices:
            seen.clear()
            assert await how(Policy("mail", **options), add)(1, second=2) == 3
            assert seen == [((1,), {"second": 2})]
        policy = Policy("mail", fallback=_multiplied)
        assert await how(policy, add)(-2, second=2) == -4
        policy = Policy("mail", fallback=stale(age=60.0, key=lambda first, second: 1), attempts=1)
        assert await how(policy, add)(1, second=2) == 3
        assert await how(policy, add)(-1, second=2) == 3, "it is the same function"


def _multiplied(error: Exception, first: int, second: int) -> int:
    return first * second


def _decorated(policy: Policy, function: Callable[..., Any]) -> Any:
    return policy(function)


def _in_thread(policy: Policy, function: Callable[..., Any]) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await policy.call_in_thread(function, *args, **kwargs)

    return call


async def test_what_makes_a_coroutine_is_awaited_in_whatever_dress() -> None:
    class Sender:
        async def __call__(self, number: int) -> int:
            await asyncio.sleep(0)
            return number

        def plainly(self, number: int) -> Any:
            return self(number)

        @staticmethod
        async def static(number: int) -> int:
            return number

    sender = Sender()
    policy = Policy("mail")
    for function in (sender, sender.plainly, sender.static, sender.__call__):
        assert await policy(function)(5) == 5
    for function in (sender, sender.plainly, Sender.__dict__["static"], sender.__call__):
        assert await policy.call_in_thread(function, 5) == 5
    assert "threads" in policy.statistics()
    lean = Policy("mail")
    assert await lean(sender)(5) == 5
    assert "threads" not in lean.statistics(), "an object whose call is async needs no thread"


async def test_what_took_long_once_is_forgotten_where_nobody_has_asked_since() -> None:
    tried = Tried("ok", takes=0.1, hurry=HurrySettings(samples=1, span=1.0), rate=PLENTY)
    await tried.call()
    tried.takes = 0.01
    await asyncio.sleep(10.0)
    with within(0.05, clock=clock):
        assert await tried.call() == "ok"


async def test_where_half_of_what_is_left_would_not_do_an_attempt_has_all_of_it() -> None:
    tried = Tried("ok", takes=0.1, hurry=HurrySettings(samples=1), repeatable=True, rate=PLENTY)
    await tried.call()
    with within(0.19, clock=clock):
        assert await tried.call() == "ok"
