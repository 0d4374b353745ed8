"""Policy: the public face, with every protection on, and types that survive it."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import pytest

from switchgear import Code, Fault, Policy, Stale
from switchgear.core.ambient import ambient, current, deadline
from switchgear.core.observe import AttemptEnded, CallEnded, Retrying
from switchgear.policy.breaker import BreakerSettings, Transition
from switchgear.policy.bucket import BucketSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.call import Call, Principal, Trace
from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.verdict import BAD, GOOD
from switchgear.testing.virtual import START, clock

pytestmark = pytest.mark.virtual


def make(**options: Any) -> Policy:
    return Policy("mail", clock=clock, random=lambda: 0.5, **options)


async def double(number: int, *, plus: int = 0) -> int:
    await asyncio.sleep(0)
    return 2 * number + plus


async def of_class(cls: type) -> None: ...


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_call_passes_arguments_in_and_the_result_out() -> None:
    policy = make()
    assert await policy.call(double, 20, plus=2) == 42
    figures = policy.statistics()
    assert figures["breaker"]["settled"] == figures["bulkhead"]["settled"] == 1
    assert set(figures) == {"calls", "budget", "hurry", "breaker", "bulkhead"}
    assert figures["calls"]["good"] == 1


@pytest.mark.parametrize("options", [{}, {"hurry": None}, {"coalesce": lambda *_, **__: 1}])
async def test_every_word_is_the_functions_own(options: dict[str, Any]) -> None:
    """None is taken from it by the names of our own parameters."""

    async def give(*given: Any, **named: Any) -> Any:
        return given, named

    def give_in_thread(*given: Any, **named: Any) -> Any:
        return given, named

    policy = Policy("mail", **options)
    words = {"function": 2, "self": 3, "args": 4, "kwargs": 5, "call": 6, "way": 7, "method": 8}
    assert await policy.call(give, 1, **words) == ((1,), words)
    assert await policy(give)(1, **words) == ((1,), words)
    assert await policy.call_in_thread(give_in_thread, 1, **words) == ((1,), words)
    with pytest.raises(TypeError, match="missing"):
        await policy.call(function=give)  # type: ignore[call-arg]  # the point of it


async def test_a_decorated_function_keeps_its_name_and_its_types() -> None:
    policy = make()

    @policy
    async def send(letter: str, *, copies: int = 1) -> list[str]:
        """Send it."""
        return [letter] * copies

    assert (send.__name__, send.__doc__) == ("send", "Send it.")
    result = await send("hello", copies=2)
    assert_type(result, list[str])
    assert result == ["hello", "hello"]
    assert_type(await policy.call(double, 1), int)


async def _never_run(policy: Policy) -> None:
    """Typed as the function is: a type checker complains where it should."""
    await policy.call(double, "one")  # type: ignore[arg-type]  # the point of it
    await policy(double)(1, minus=1)  # type: ignore[call-arg]  # the point of it


async def test_what_yields_is_not_decorated() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    def generate() -> Iterator[int]:
        yield 1

    for function in (stream, generate):
        said = "policy 'mail' protects functions that return, not .*; never yield inside 'async"
        with pytest.raises(TypeError, match=said):
            make()(function)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (3, "3: a function would be right"),
        (asyncio.Queue, "<class 'asyncio.queues.Queue'>: decorate those of its methods that call"),
        (staticmethod(hang), "<staticmethod(<.*>)>: @staticmethod stays outermost: decorate"),
        (classmethod(of_class), "<classmethod(<.*>)>: @classmethod stays outermost: decorate"),
        (property(double), "<property object at .*>: a function would be right"),
    ],
)
async def test_only_a_function_is_decorated(given: Any, says: str) -> None:
    said = f"policy 'mail' protects functions, not {says}".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(TypeError, match=f"^{said}"):
        make()(given)


async def test_the_result_of_a_call_is_not_decorated() -> None:
    result: Any = double(3)
    with pytest.raises(TypeError, match=r"not <coroutine .*>: give the function, not its result"):
        make()(result)
    assert await result == 6, "it is left as it was"


@pytest.mark.parametrize("option", ["deadline", "fallback", "mode"])
async def test_an_option_that_is_set_on_a_policy_would_do_nothing(option: str) -> None:
    policy = make()
    with pytest.raises(AttributeError, match=rf"^policy 'mail' .*: anew\({option}=3\) makes"):
        setattr(policy, option, 3)
    assert not hasattr(policy, option)
    with pytest.raises(AttributeError, match=r"anew\(name='post'\) makes"):
        policy.name = "post"
    assert policy.name == "mail"
    policy.note = "whatever"  # type: ignore[attr-defined]  # what is no option is nobody's business


async def test_by_default_only_what_had_no_effect_is_tried_again() -> None:
    seen: list[int] = []

    async def fail(error: Exception) -> None:
        seen.append(1)
        raise error

    policy = make()
    for error, tries in (
        (ConnectionResetError("reset"), 1),
        (Fault(Code.UNAVAILABLE, effect=Effect.NONE), 3),
        (ValueError("a defect"), 1),
    ):
        seen.clear()
        with pytest.raises(type(error)):
            await policy.call(fail, error)
        assert len(seen) == tries
    seen.clear()
    with pytest.raises(ConnectionResetError):
        await make(repeatable=True, attempts=2).call(fail, ConnectionResetError("reset"))
    assert len(seen) == 2


async def test_the_deadline_bounds_the_call_and_the_timeout_each_attempt_that_is_repeatable() -> (
    None
):
    with pytest.raises(Fault) as caught:
        await make(deadline=2.0).call(hang)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert START + 2.0 <= clock() < START + 2.02
    began = clock()
    events: list[Any] = []
    with pytest.raises(Fault):
        await make(timeout=0.5, attempts=2, repeatable=True, observe=events.append).call(hang)
    assert clock() - began == pytest.approx(1.05, abs=0.05)
    assert [type(event) for event in events] == [AttemptEnded, Retrying, AttemptEnded, CallEnded]


async def test_all_attempts_together_have_the_deadline_of_the_call() -> None:
    seen: list[float] = []

    async def look_and_hang() -> None:
        seen.append(deadline())
        await hang()

    policy = make(deadline=2.0, repeatable=True, breaker=None)
    with pytest.raises(Fault):
        await policy.call(look_and_hang)
    assert START + 1.5 < clock() < START + 2.0
    assert seen[0] == START + 1.0, "an attempt may take the timeout"
    assert seen == sorted(seen), "and half of what then remains"
    assert seen[-1] < START + 2.0


async def test_a_hung_dependency_opens_the_breaker_and_is_then_refused_at_once() -> None:
    events: list[Any] = []
    policy = make(deadline=1.0, observe=events.append, attempts=1)
    for _ in range(5):
        with pytest.raises(Fault):
            await policy.call(hang)
    assert policy.statistics()["breaker"]["state"] == "open"
    assert [event.new for event in events if isinstance(event, Transition)] == ["open"]
    began = clock()
    with pytest.raises(Fault) as caught:
        await policy.call(double, 1)
    assert (caught.value.refusal, clock()) == (Refusal.OPEN, began)


async def test_a_crawling_dependency_opens_the_breaker_too() -> None:
    policy = make(deadline=1.0, breaker=BreakerSettings(calls=3))

    async def crawl() -> None:
        await asyncio.sleep(0.9)

    for _ in range(3):
        await policy.call(crawl)
    assert policy.statistics()["breaker"]["state"] == "open"


async def test_gates_are_taken_away_and_added() -> None:
    policy = make(
        attempts=1,
        breaker=None,
        bulkhead=BulkheadSettings(permits=1, queue=0),
        rate=BucketSettings(1.0, 1.0),
    )
    assert set(policy.statistics()) == {"calls", "hurry", "rate", "bulkhead"}
    task = asyncio.create_task(policy.call(hang))
    await asyncio.sleep(0)
    with pytest.raises(Fault) as caught:
        await policy.call(double, 1)
    assert caught.value.refusal is Refusal.LIMITED
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert policy.statistics()["bulkhead"]["out"] == 0


async def test_what_its_own_gates_refuse_is_not_tried_again_and_costs_no_budget() -> None:
    policy = make(breaker=BreakerSettings(consecutive=1), bulkhead=BulkheadSettings(1, 0))
    task = asyncio.create_task(policy.call(hang))
    await asyncio.sleep(0)
    for refusal in (Refusal.FULL, Refusal.OPEN):
        if refusal is Refusal.OPEN:
            task.cancel()
            policy.force_open("the mail server is being moved")
        began = clock()
        with pytest.raises(Fault) as caught:
            await policy.call(double, 1)
        assert (caught.value.refusal, clock()) == (refusal, began)
    assert caught.value.detail == "breaker 'mail' is held open: the mail server is being moved"
    assert policy.statistics()["budget"] == {"granted": 0, "denied": 0}


async def test_inside_a_call_its_deadline_its_caller_and_its_trace_hold() -> None:
    seen: list[Call[Any] | None] = []

    async def look() -> None:
        seen.append(current())
        seen.append(Call(None, deadline()))

    given: Call[Any] = Call(
        "the request", START + 0.5, principal=Principal("ada"), trace=Trace("1" * 32, "2" * 16)
    )
    token = ambient.set(given)
    await make().call(look)
    assert current() is given
    ambient.reset(token)
    inner, limit = seen
    assert inner is not None
    assert limit is not None
    assert (inner.payload, inner.principal, inner.trace) == (
        "the request",
        Principal("ada"),
        given.trace,
    )
    assert limit.deadline == START + 0.5


async def test_nested_policies_share_the_time_of_the_attempt() -> None:
    limits: list[float] = []

    async def innermost() -> None:
        limits.append(deadline())

    inner, outer = make(), make(timeout=0.2, repeatable=True)
    await outer.call(inner.call, innermost)
    assert limits == [pytest.approx(START + 0.2)]
    assert current() is None


async def test_a_function_thrown_away_by_another_context_changes_nothing_there() -> None:
    policy = make()
    coroutine = policy.call(hang)
    coroutine.send(None)
    contextvars.copy_context().run(coroutine.close)
    ambient.set(None)
    assert policy.statistics()["bulkhead"]["out"] == 0


async def test_values_are_judged() -> None:
    policy = make(judge=lambda status: BAD if status >= 500 else GOOD)

    async def answer(status: int) -> int:
        return status

    for _ in range(5):
        assert await policy.call(answer, 500) == 500
    assert policy.statistics()["breaker"]["state"] == "open"


def test_the_drawing_names_what_was_built() -> None:
    drawn = Policy("mail", rate=BucketSettings(10.0, 10.0)).describe().splitlines()
    assert [line.split()[:3] for line in drawn if not line.startswith("      ")] == [
        ["mail"],
        ["retry", "backoff", "outside"],
        ["hurry", "hurry", "'mail'"],
        ["breaker", "breaker", "'mail'"],
        ["rate", "tokenbucket", "'mail'"],
        ["bulkhead", "bulkhead", "'mail'"],
        ["timeout", "at", "most"],
    ]
    assert "      attempts = 3  (default)" in drawn
    assert "      rate = 10  (given)" in drawn
    assert "      slow_after = 2.4  (derived: 80 % of an attempt's time)" in drawn


@pytest.mark.parametrize("options", [{"deadline": 0.0}, {"timeout": -1.0}, {"attempts": 0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"policy 'mail': .*(would be right|must be more)"):
        Policy("mail", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"key": lambda *_: "k"},
        {"coalesce": lambda *_: None},
        {"fallback": Stale(age=1.0, key=lambda *_: "k")},
    ],
    ids=lambda options: next(iter(options), "no layer"),
)
async def test_a_wrong_call_is_the_callers_affair_and_not_the_dependencys(
    options: dict[str, Any],
) -> None:
    def blocking() -> int:
        return 1

    async def raises() -> None:
        raise TypeError("deep inside")

    policy = make(**options)
    wrong: Any = policy.call
    coroutine = double(1)
    for function, arguments in ((blocking, ()), (double, ()), (coroutine, ())):
        with pytest.raises(TypeError) as caught:
            await wrong(function, *arguments)
        assert "'call_in_thread'" in caught.value.__notes__[0]
    coroutine.close()
    assert policy.statistics()["breaker"]["consecutive"] == 0
    assert policy.statistics()["calls"]["neutral"] == 3
    with pytest.raises(TypeError, match="deep inside") as caught:
        await policy.call(raises)
    assert policy.statistics()["breaker"]["consecutive"] == 1
    assert not hasattr(caught.value, "__notes__")


def test_a_policy_is_known_by_its_name_and_its_breaker() -> None:
    policy = make()
    assert repr(policy) == "<Policy 'mail', breaker closed>"
    policy = make(breaker=None)
    assert repr(policy) == "<Policy 'mail', no breaker>"
