"""Failures that are odd themselves: their classes, what is made of them, what judges them.

Whatever is raised on the way from a failure to its caller, the permits come home.
"""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from switchgear import BreakerSettings, Code, Fault, Health, Policy, Verdict
from switchgear.core.marks import because, marks_of, origins, within
from switchgear.policy.fault import Effect, Refusal
from switchgear.policy.verdict import NEUTRAL
from switchgear.testing import virtual
from tests.support.core import Stream


@dataclass(frozen=True)
class FrozenError(ConnectionError):
    code: int = 3


class SealedError(ConnectionError):
    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("immutable")


class AnsweringError(ConnectionError):
    """As a client's error that hands on what it is asked to a response that it never got."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.response_, name)


class RudeError(ConnectionError):
    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


ODD = [FrozenError, SealedError, AnsweringError]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "repeatable": {"repeatable": True},
    "translated": {"translate": lambda error: None},
    "coalesced": {"coalesce": lambda *_: 1},
    "judged": {"judge": lambda _: Verdict(Health.GOOD)},
    "watched": {"observe": lambda _: None},
}


async def by_call(policy: Policy, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await policy.call(work)


async def by_block(policy: Policy, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async with policy:
        return await work()


async def by_thread(policy: Policy, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await policy.call_in_thread(asyncio.run, work())


async def nested(policy: Policy, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await Policy("around", repeatable=True).call(policy.call, work)


WAYS = {"call": by_call, "block": by_block, "thread": by_thread, "nested": nested}


async def outcome(
    way: str, policy: Policy, work: Callable[[], Coroutine[Any, Any, Any]]
) -> BaseException:
    try:
        await WAYS[way](policy, work)
    except Exception as error:
        return error
    raise AssertionError("it has not failed")


def home(policy: Policy) -> None:
    told = policy.statistics()
    assert told["bulkhead"]["out"] == 0
    assert told["breaker"]["out"] == 0
    assert sum(int(told["calls"][how]) for how in ("good", "failed", "neutral")) == 1


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("way", ["call", "nested"])
async def test_an_odd_exception_arrives_as_itself(
    way: str, options: str, kind: type[Exception]
) -> None:
    async def work() -> None:
        raise kind

    policy = Policy("it", **OPTIONS[options])
    assert type(await outcome(way, policy, work)) is kind
    home(policy)


@pytest.mark.parametrize("kind", ODD)
async def test_a_block_takes_odd_exceptions_as_they_are(kind: type[Exception]) -> None:
    async def work() -> None:
        raise kind

    policy = Policy("it")
    assert type(await outcome("block", policy, work)) is kind
    home(policy)


@pytest.mark.parametrize("way", ["call", "block", "nested"])
async def test_of_what_answers_nothing_at_all_the_permits_come_home(way: str) -> None:
    async def work() -> None:
        raise RudeError

    policy = Policy("it")
    await outcome(way, policy, work)
    home(policy)


async def fine() -> int:
    return 1


async def lost() -> None:
    raise ConnectionResetError


def unknown(*_: Any) -> Any:
    raise LookupError("nobody knows")


# What fails by the user's own doing: options, the work, what is raised, and what is said of it.
DEFECTS: dict[
    str, tuple[dict[str, Any], Callable[[], Coroutine[Any, Any, Any]], type[Exception], str]
] = {
    "a text as retry_after": (
        {"translate": lambda _: Fault(Code.UNAVAILABLE, retry_after="2")},  # type: ignore[arg-type]  # the point of it
        lost,
        TypeError,
        "a fault with retry_after='2': seconds as a number, or None would be right",
    ),
    "a text as after": (
        {"judge": lambda _: Verdict(Health.BAD, again=True, after="2")},  # type: ignore[arg-type]  # as above
        fine,
        TypeError,
        "'after' is seconds as a number, or None",
    ),
    "a text as health": (
        {"judge": lambda _: Verdict("bad", again=True)},  # type: ignore[arg-type]  # as above
        fine,
        TypeError,
        "judge returned Verdict(health='bad', again=True, after=None): Health.GOOD, Health.NEUTRAL",
    ),
    "random that fails": ({"random": unknown}, lost, LookupError, "nobody knows"),
    "random of nothing": ({"random": lambda: None}, lost, TypeError, "NoneType"),
    "random that fails on an answer": (
        {"random": unknown, "judge": lambda _: Verdict(Health.BAD, again=True)},
        fine,
        LookupError,
        "nobody knows",
    ),
    "translate that fails": ({"translate": unknown}, lost, LookupError, "nobody knows"),
    "judge that fails": ({"judge": unknown}, fine, LookupError, "nobody knows"),
}


@pytest.mark.parametrize("way", ["call", "thread"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_the_users_own_is_raised_and_keeps_no_permits(defect: str, way: str) -> None:
    options, work, kind, said = DEFECTS[defect]

    async def told() -> None:
        policy = Policy("it", repeatable=True, **options)
        raised = await outcome(way, policy, work)
        assert type(raised) is kind
        assert said in str(raised)
        if work is lost:
            assert isinstance(raised.__cause__, ConnectionResetError)
        home(policy)

    if way == "thread":
        asyncio.run(told())
    else:
        virtual.run(told())


@pytest.mark.parametrize("kind", [*ODD, RudeError])
def test_marks_ask_no_method_of_the_class(kind: type[Exception]) -> None:
    error, cause, context = kind(), ValueError(), KeyError()
    marks_of(error)["_mark"] = 7
    assert marks_of(error)["_mark"] == 7
    because(error, error)
    because(error, cause)
    because(error, context)  # the first word counts
    within(error, context)
    assert origins(error) == (context, cause)
    within(error, None)
    assert origins(error) == (None, cause)


@pytest.mark.parametrize("options", ["plain", "repeatable", "translated", "coalesced"])
async def test_a_stop_iteration_does_not_pass_for_an_answer(options: str) -> None:
    policy = Policy("it", **OPTIONS[options])
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as caught:
        await policy.call(lambda: next(iter(())))
    assert isinstance(caught.value.__cause__, StopIteration)
    home(policy)


class Argument:
    pass


@pytest.mark.parametrize("options", ["plain", "repeatable", "translated", "watched"])
@pytest.mark.parametrize("kind", [ValueError, ConnectionError, StopIteration])
async def test_a_failed_call_holds_its_arguments_no_longer_than_its_caller_does(
    kind: type[Exception], options: str
) -> None:
    async def work(argument: Argument) -> None:
        raise kind

    policy = Policy("it", **OPTIONS[options])
    argument = Argument()
    held = weakref.ref(argument)
    gc.collect()
    gc.disable()
    try:
        try:
            await policy.call(work, argument)
        except Exception:
            pass
        del argument
        assert held() is None
    finally:
        gc.enable()


async def test_an_answer_that_nobody_can_say_more_of_is_given_up() -> None:
    stream = Stream()

    async def give() -> Stream:
        return stream

    policy = Policy(
        "it", repeatable=True, random=unknown, judge=lambda _: Verdict(Health.BAD, again=True)
    )
    with pytest.raises(LookupError, match="nobody knows"):
        await policy.call(give)
    assert stream.ended is NEUTRAL
    home(policy)


@pytest.mark.parametrize(
    ("first", "effect"),
    [
        (ConnectionResetError(), Effect.UNKNOWN),
        (Fault(Code.UNAVAILABLE, effect=Effect.UNKNOWN), Effect.UNKNOWN),
        (ConnectionRefusedError(), Effect.NONE),
        (Fault(Code.UNAVAILABLE, effect=Effect.NONE), Effect.NONE),
    ],
)
@pytest.mark.virtual
async def test_a_refusal_behind_an_attempt_says_what_that_may_have_done(
    first: Exception, effect: Effect
) -> None:
    """The last attempt was refused, and did nothing; the call is more than its last attempt."""
    refused = Fault(Code.UNAVAILABLE, effect=Effect.NONE, refusal=Refusal.OPEN)
    failures: list[Exception] = [first, refused]

    async def work() -> None:
        raise failures.pop(0)

    with pytest.raises(Fault) as caught:
        await Policy("mail", repeatable=True, attempts=2, breaker=None).call(work)
    assert not failures
    assert caught.value.effect is effect
    assert refused.effect is Effect.NONE, "it is another's, who may raise it again"


@pytest.mark.virtual
async def test_a_breaker_that_opens_between_attempts_undoes_nothing() -> None:
    """It was work that was done before the connection broke."""
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1
        raise ConnectionResetError

    policy = Policy("mail", repeatable=True, breaker=BreakerSettings(consecutive=1))
    with pytest.raises((Fault, ConnectionResetError)) as caught:
        await policy.call(work)
    assert done == 1
    assert getattr(caught.value, "effect", Effect.UNKNOWN) is Effect.UNKNOWN
    with pytest.raises(Fault) as refused:
        await policy.call(work)
    assert done == 1
    assert refused.value.effect is Effect.NONE, "this call did nothing at all"


@pytest.mark.virtual
async def test_an_answer_that_is_tried_again_was_an_effect() -> None:
    """Somebody answered, so somebody was asked, whatever became of the attempt behind it."""
    refused = Fault(Code.UNAVAILABLE, effect=Effect.NONE, refusal=Refusal.OPEN)
    answers: list[Any] = ["busy", refused]

    async def work() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    policy = Policy(
        "mail", repeatable=True, attempts=2, breaker=None,
        judge=lambda _: Verdict(Health.BAD, again=True),
    )  # fmt: skip
    with pytest.raises(Fault) as caught:
        await policy.call(work)
    assert not answers
    assert caught.value.effect is Effect.UNKNOWN
