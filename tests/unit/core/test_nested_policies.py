"""Policies around policies: who tries again, and what the outer ones make of it."""

import asyncio
from typing import Any

import pytest

from switchgear import BackoffSettings, Code, Fault, Policy, as_fault, within
from switchgear.policy.breaker import BreakerSettings
from switchgear.policy.fault import Effect, Refusal
from switchgear.testing.virtual import clock

pytestmark = pytest.mark.virtual


def make(name: str, **options: Any) -> Policy:
    return Policy(name, clock=clock, random=lambda: 0.5, repeatable=True, **options)


class Broken:
    """A dependency that raises the same kind of thing each time."""

    def __init__(self, raises: Any) -> None:
        self.raises = raises
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        raise self.raises() if callable(self.raises) else self.raises


CONSTANT = Fault(Code.UNAVAILABLE, "down", effect=Effect.NONE)


@pytest.mark.parametrize(
    "raises",
    [ConnectionResetError, TimeoutError, lambda: Fault(Code.UNAVAILABLE), CONSTANT],
    ids=["reset", "timeout", "fault", "the same fault each time"],
)
async def test_only_the_policy_nearest_to_the_failure_tries_again(raises: Any) -> None:
    broken = Broken(raises)
    patient = BreakerSettings(consecutive=99)
    inner, middle, outer = (make(name, breaker=patient) for name in ("inner", "middle", "outer"))
    for number in range(1, 3):
        with pytest.raises((Fault, ConnectionResetError, TimeoutError)):
            await outer.call(middle.call, inner.call, broken)  # type: ignore[arg-type]  # too generic for mypy
        assert broken.calls == 3 * number, "not 27"
    assert inner.statistics()["calls"]["failed"] == 2
    assert outer.statistics()["calls"]["neutral"] == 2, "who passed it on is well"
    assert outer.statistics()["breaker"]["consecutive"] == 0


@pytest.mark.parametrize("extra", [{}, {"hurry": None}, {"key": lambda *_: "k"}])
@pytest.mark.parametrize("deep", [False, True])
async def test_nor_does_one_around_a_group_of_them(deep: bool, extra: dict[str, Any]) -> None:
    """A task group hands on what they raised in a group of its own, which had no past."""
    broken = Broken(ConnectionResetError)
    options = {"breaker": BreakerSettings(consecutive=99), **extra}
    inner, outer, outermost = (make(name, **options) for name in ("inner", "outer", "outermost"))

    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(nested(deep))
            tasks.create_task(asyncio.sleep(0.001))

    async def nested(deep: bool) -> None:
        if not deep:
            await inner.call(broken)
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(nested(False))

    with pytest.RaisesGroup(ConnectionResetError, flatten_subgroups=True):
        await outermost.call(outer.call, together)
    assert broken.calls == 3, "not 27"
    for one in (outer, outermost):
        assert one.statistics()["calls"]["neutral"] == 1, "who passed it on is well"
    with pytest.RaisesGroup(ConnectionResetError):
        async with outer, asyncio.TaskGroup() as tasks:
            tasks.create_task(nested(False))
    assert outer.statistics()["calls"]["neutral"] == 2


async def test_a_group_that_was_tried_again_is_tried_by_nobody_around_it() -> None:
    broken = Broken(lambda: ExceptionGroup("several", [ConnectionResetError()]))
    inner, outer = (make(name, breaker=BreakerSettings(consecutive=99)) for name in "io")

    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(inner.call(broken))

    with pytest.raises(ExceptionGroup):
        await outer.call(together)
    assert broken.calls == 3, "not 9"
    assert outer.statistics()["calls"]["neutral"] == 1


async def test_what_fails_in_a_group_beside_an_inner_policy_is_a_failure() -> None:
    broken, own = Broken(ConnectionResetError), Broken(ConnectionResetError)
    inner, outer = (make(name, breaker=BreakerSettings(consecutive=99)) for name in "io")

    async def together() -> None:
        found = await asyncio.gather(inner.call(broken), own(), return_exceptions=True)
        raise BaseExceptionGroup("both", [one for one in found if one is not None])

    with pytest.raises(ExceptionGroup):
        await outer.call(together)
    assert outer.statistics()["calls"]["failed"] == 1
    assert (broken.calls, own.calls) == (3, 1), "for one of them it was tried again"


@pytest.mark.parametrize("extra", [{}, {"hurry": None}, {"key": lambda *_: "k"}])
@pytest.mark.parametrize("around", [None, 30.0])
async def test_what_is_lost_by_two_side_by_side_is_a_failure_of_both(
    around: float | None, extra: dict[str, Any]
) -> None:
    """A connection that is lost raises one exception in all who wait for it."""
    options = {"breaker": BreakerSettings(consecutive=99), **extra}
    writes, reads = make("writes", **options), make("reads", **options)
    lost = ConnectionResetError("the connection is lost")

    async def waits() -> None:
        await asyncio.sleep(0.1)
        raise lost

    with within(60.0 if around is None else around):
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await asyncio.gather(writes.call(waits), reads.call(waits))
    for policy in (writes, reads):
        assert policy.statistics()["calls"] == {
            "good": 0, "failed": 2, "neutral": 0, "zombies": 0, "overran": 0,
        }  # fmt: skip


@pytest.mark.parametrize("extra", [{}, {"hurry": None}, {"key": lambda *_: "k"}])
@pytest.mark.parametrize("around", [None, 30.0])
@pytest.mark.parametrize(
    "raises", [ConnectionResetError, lambda: Fault(Code.UNAVAILABLE)], ids=["reset", "fault"]
)
async def test_a_policy_within_itself_tries_again_nearest_to_the_failure_alone(
    raises: Any, around: float | None, extra: dict[str, Any]
) -> None:
    """A method that is protected calls another one that is, or itself."""
    broken = Broken(raises)
    policy = make("shop", breaker=BreakerSettings(consecutive=99), **extra)

    @policy
    async def descend(depth: int) -> None:
        if depth:
            await descend(depth - 1)
        else:
            await broken()

    with within(60.0 if around is None else around), pytest.raises((Fault, ConnectionError)):
        await descend(3)
    assert broken.calls == 3, "not 81"
    assert policy.statistics()["budget"]["granted"] == 2
    assert policy.statistics()["breaker"]["consecutive"] == 3
    calls = policy.statistics()["calls"]
    assert (calls["failed"], calls["neutral"]) == (1, 3), "who passed it on is well"


async def test_a_block_around_calls_of_its_own_policy_counts_a_failure_once() -> None:
    policy = make("shop", breaker=BreakerSettings(consecutive=99), attempts=2)
    with pytest.raises(ConnectionResetError):
        async with policy:
            await policy.call(Broken(ConnectionResetError))
    calls = policy.statistics()["calls"]
    assert (calls["failed"], calls["neutral"]) == (1, 1), "the block has only passed it on"


@pytest.mark.parametrize("deadlines", [(None, None), (0.4, 0.4), (0.4, 0.5), (0.5, 0.4)])
async def test_what_is_lost_by_calls_of_one_policy_side_by_side_is_a_failure_of_each(
    deadlines: tuple[float | None, float | None],
) -> None:
    """Whatever time those have who wait for the connection."""
    policy = make("shop", breaker=BreakerSettings(consecutive=99), attempts=2)
    lost = ConnectionResetError("the connection is lost")
    calls = 0

    async def waits() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        raise lost

    async def one(seconds: float | None) -> None:
        with within(60.0 if seconds is None else seconds), pytest.raises(ConnectionResetError):
            await policy.call(waits)

    await asyncio.gather(*map(one, deadlines))
    assert calls == 4, "each was tried again"
    assert policy.statistics()["calls"]["failed"] == 2


async def test_where_the_inner_one_does_not_try_again_the_outer_one_does() -> None:
    broken = Broken(ConnectionResetError)
    inner, outer = make("inner", retry=None), make("outer")
    with pytest.raises(ConnectionResetError):
        await outer.call(inner.call, broken)
    assert broken.calls == 3


async def test_a_fault_leaves_a_policy_with_the_policy_in_its_chain_and_its_traceback() -> None:
    broken = Broken(CONSTANT)
    with pytest.raises(Fault) as caught:
        await make("mail").call(broken)
    fault = caught.value
    assert (fault.code, fault.detail, fault.effect) == (Code.UNAVAILABLE, "down", Effect.NONE)
    assert (fault.origin, fault.hops) == ("mail", ("mail",))
    assert "__call__" in [entry.name for entry in caught.traceback]
    assert (CONSTANT.origin, CONSTANT.hops) == ("", ()), "what was raised stays as it was"


async def test_what_an_open_inner_breaker_refuses_is_not_asked_for_again() -> None:
    broken = Broken(ConnectionResetError)
    inner, outer = make("inner", breaker=BreakerSettings(consecutive=1)), make("outer")
    with pytest.raises(Fault, match="is open"):  # so it refused the second attempt
        await inner.call(broken)
    refused, began = inner.statistics()["breaker"]["refused"], clock()
    with pytest.raises(Fault) as caught:
        await outer.call(inner.call, broken)
    assert (caught.value.refusal, clock()) == (Refusal.OPEN, began)
    assert inner.statistics()["breaker"]["refused"] == float(refused) + 1


async def test_a_timeout_keeps_what_the_work_made_of_it_as_its_cause() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("half done") from None

    with pytest.raises(Fault) as caught:
        await make("mail", attempts=2).call(stubborn)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(Fault) as caught:
        await make("mail", attempts=2).call(asyncio.sleep, 60)
    cause = caught.value.__cause__
    assert isinstance(cause, asyncio.CancelledError), "whose traceback tells where it hung"
    assert cause.__traceback__ is not None


SHARED = Fault(Code.UNAVAILABLE, "the store is down", effect=Effect.NONE)


@pytest.mark.parametrize(
    "raises",
    [
        ConnectionResetError,
        lambda: ExceptionGroup("one", [ConnectionResetError()]),
        lambda: ExceptionGroup("one", [Fault(Code.UNAVAILABLE)]),
        lambda: ValueError("a defect"),
    ],
    ids=["reset", "group", "group of a fault", "defect"],
)
@pytest.mark.parametrize("grouped", [False, True])
async def test_nor_does_one_around_a_fault_that_is_made_of_what_was_tried(
    grouped: bool, raises: Any
) -> None:
    broken = Broken(raises)
    options: dict[str, Any] = {"breaker": BreakerSettings(consecutive=99)}
    inner, outer, outermost = (make(name, **options) for name in ("inner", "outer", "outermost"))

    async def between() -> None:
        try:
            if not grouped:
                await inner.call(broken)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(inner.call(broken))
        except Exception as error:
            raise as_fault(error) from error

    with pytest.raises(Fault) as raised:
        await outermost.call(outer.call, between)
    tries = 1 if raised.value.code is Code.INTERNAL else 3
    assert broken.calls == tries, "not 27"
    for one in (outer, outermost):
        assert one.statistics()["calls"]["neutral"] == 1, "who passed it on is well"
    assert raised.value.code in (Code.UNAVAILABLE, Code.INTERNAL)


@pytest.mark.parametrize(
    "translate",
    [
        as_fault,
        lambda _: SHARED,
        lambda _: Fault(Code.UNAVAILABLE),
        lambda _: ConnectionResetError("down"),
    ],
    ids=["as_fault", "one for all", "its own", "no fault"],
)
@pytest.mark.parametrize("retry", [BackoffSettings(), None])
async def test_nor_does_one_around_what_another_has_made_of_it(
    translate: Any, retry: BackoffSettings | None
) -> None:
    broken = Broken(ConnectionResetError)
    options: dict[str, Any] = {"breaker": BreakerSettings(consecutive=99)}
    inner, outermost = (make(name, **options) for name in ("inner", "outermost"))
    outer = make("outer", translate=translate, retry=retry, **options)
    for number in range(1, 3):
        with pytest.raises((Fault, OSError)) as raised:
            await outermost.call(outer.call, inner.call, broken)  # type: ignore[arg-type]  # too generic for mypy
        assert broken.calls == 3 * number, "not 9, nor 27"
        assert isinstance(raised.value.__cause__, ConnectionResetError)
    for one in (outer, outermost):
        assert one.statistics()["calls"]["neutral"] == 2, "who passed it on is well"
    assert "tried" not in repr(SHARED.__dict__), "it may be raised by others, too"
    own = Broken(ConnectionResetError)
    with pytest.raises((Fault, OSError)):
        await outer.call(own)
    assert own.calls == (1 if retry is None else 3), "and nobody has tried this one"
