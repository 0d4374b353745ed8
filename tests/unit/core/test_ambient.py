"""The ambient call and its deadline: what code knows of its time, and who may change it."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from math import inf
from time import perf_counter
from typing import Any

import pytest

from switchgear import Fault, Policy, current, deadline, remaining, within
from switchgear.core.ambient import ambient, due
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Effect, Refusal
from switchgear.testing.virtual import START, advance, clock

pytestmark = pytest.mark.virtual


def make(**options: Any) -> Policy:
    return Policy("mail", clock=clock, random=lambda: 0.5, **options)


async def look() -> tuple[Call[Any] | None, float]:
    return current(), deadline()


# -- outside, and inside a call


async def test_outside_any_call_there_is_no_call_and_no_end_of_time() -> None:
    assert current() is None
    assert deadline() == inf
    assert remaining() == remaining(clock) == inf


async def test_inside_a_call_there_is_that() -> None:
    call: Call[Any] = Call("request", START + 3.0, principal=Principal("ada"))
    ambient.set(call)
    assert current() is call
    assert deadline() == START + 3.0
    assert remaining(clock) == 3.0
    await advance(5.0)
    assert remaining(clock) == -2.0


async def test_the_earlier_of_the_calls_and_the_codes_own_deadline_holds() -> None:
    call: Call[Any] = Call("request", START + 3.0, key="k")
    ambient.set(call)
    due.set(START + 9.0)
    assert deadline() == START + 3.0
    assert current() is call
    due.set(START + 1.0)
    assert deadline() == START + 1.0
    shorter = current()
    assert shorter is not None
    assert (shorter.payload, shorter.key, shorter.deadline) == ("request", "k", START + 1.0)
    ambient.set(None)
    bare = current()
    assert bare is not None
    assert (bare.payload, bare.deadline) == (None, START + 1.0)


# -- within


async def test_within_so_many_seconds() -> None:
    with within("2s", clock=clock) as until:
        assert until == deadline() == START + 2.0
        await advance(0.5)
        assert remaining(clock) == 1.5
        with within(9.0, clock=clock) as inner:
            assert inner == START + 2.0, "it cannot be extended"
        with within(0.25, clock=clock) as inner:
            assert inner == deadline() == START + 0.75
        assert deadline() == START + 2.0
    assert deadline() == inf


def test_within_reads_the_time_of_the_process_by_default() -> None:
    before = perf_counter()
    with within(60.0) as until:
        assert before + 60.0 <= until <= perf_counter() + 60.0
        assert 59.0 < remaining() <= 60.0


async def test_where_virtual_time_runs_it_is_that_by_default() -> None:
    with within(60.0) as until:
        assert until == START + 60.0
        await advance(1.0)
        assert remaining() == 59.0


async def test_within_is_over_whatever_ends_it() -> None:
    with pytest.raises(KeyError), within(1.0, clock=clock):
        raise KeyError
    assert deadline() == inf


async def test_within_is_for_one_block_at_a_time() -> None:
    once = within(1.0, clock=clock)
    with once:
        with pytest.raises(RuntimeError, match="entered twice: make one for each block"):
            once.__enter__()
        assert deadline() == START + 1.0
    await advance(5.0)
    with once as until:
        assert until == START + 6.0, "one after the other, counted anew"
    once.__exit__(None, None, None)
    assert deadline() == inf


@pytest.mark.parametrize("wrong", ["2 seconds", "", 0, -1.0, inf, float("nan")])
async def test_within_takes_a_duration(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        within(wrong)


async def test_within_bounds_a_policy_and_cuts_nothing_off_itself() -> None:
    with within(0.5, clock=clock):
        with pytest.raises(Fault) as caught:
            await make().call(asyncio.sleep, 9.0)
        assert caught.value.refusal is Refusal.HURRIED
        assert clock() == pytest.approx(START + 0.5, abs=0.02)
        await asyncio.sleep(9.0)
        with pytest.raises(Fault) as caught:
            await make(hurry=None).call(look)
        assert caught.value.effect is Effect.NONE


# -- policies


async def test_a_policy_gives_its_function_a_deadline_and_takes_it_back() -> None:
    choices: list[dict[str, Any]] = [{}, {"key": lambda: "k"}, {"coalesce": lambda: 1}]
    for options in choices:
        call, until = await make(deadline=2.0, **options).call(look)
        assert until == clock() + 2.0
        assert call is not None
        assert call.deadline == until
        assert deadline() == inf
        assert current() is None


async def test_policies_around_each_other_share_the_least_of_their_times() -> None:
    for outer, inner, least in (
        (2.0, 5.0, 2.0),
        (5.0, 2.0, 2.0),
        (None, 2.0, 2.0),
        (2.0, None, 2.0),
    ):
        policies = make(deadline=outer), make(deadline=inner)
        _, until = await policies[0].call(policies[1].call, look)
        assert until == START + least
    nothing = make(deadline=None, timeout=None)
    _, until = await nothing.call(nothing.call, look)
    assert until == inf
    with within(1.0, clock=clock):
        _, until = await nothing.call(nothing.call, look)
        assert until == START + 1.0


async def test_the_ambient_call_is_seen_as_it_is_with_the_policys_deadline() -> None:
    outer: Call[Any] = Call("request", START + 9.0, key="k", principal=Principal("ada"))
    ambient.set(outer)
    choices: list[dict[str, Any]] = [{}, {"key": lambda: "mine"}, {"coalesce": lambda: 1}]
    for options in choices:
        call, until = await make(deadline=2.0, **options).call(look)
        assert until == START + 2.0
        assert call is not None
        assert (call.payload, call.key, call.principal) == ("request", "k", Principal("ada"))
        assert call.deadline == until
        call, until = await make(deadline=20.0, **options).call(look)
        assert (call, until) == (outer, START + 9.0)
        assert current() is outer


async def test_an_ambient_call_that_came_later_has_the_last_word() -> None:
    """A consumer sets its message's call: whatever time was around that, the shorter one holds."""
    choices: list[dict[str, Any]] = [{}, {"key": lambda *_: "k"}]
    for options in choices:
        with within(50.0, clock=clock):
            token = ambient.set(Call(None, clock() + 0.5))
            began = clock()
            with pytest.raises(Fault):
                await make(deadline=5.0, **options).call(asyncio.sleep, 9.0)
            assert clock() - began == pytest.approx(0.5, abs=0.02)
            ambient.reset(token)


async def test_a_task_that_is_started_inside_keeps_the_deadline_it_was_started_with() -> None:
    async def start() -> asyncio.Task[Any]:
        return asyncio.create_task(later())

    async def later() -> float:
        await asyncio.sleep(5.0)
        return deadline()

    task = await make(deadline=2.0).call(start)
    assert deadline() == inf
    assert await task == START + 2.0, "its caller's time was over long ago, and it knows"


async def test_tasks_side_by_side_have_each_their_own() -> None:
    async def one(seconds: float) -> float:
        with within(seconds, clock=clock):
            await asyncio.sleep(0.1)
            _, until = await make(deadline=3.0).call(look)
            return until - START

    assert list(await asyncio.gather(one(1.0), one(2.0))) == [1.0, 2.0]
    assert deadline() == inf


# -- other Contexts


async def test_a_call_thrown_away_in_another_context_changes_nothing_in_either() -> None:
    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    choices: list[dict[str, Any]] = [{}, {"key": lambda: "k"}, {"hurry": None}]
    for options in choices:
        policy = make(**options)
        mine = contextvars.copy_context()
        coroutine = policy.call(hang)
        mine.run(coroutine.send, None)
        assert mine[due] == START + 3.0
        other = contextvars.Context()
        other.run(coroutine.close)
        assert due not in other
        assert deadline() == inf
        assert policy.statistics()["bulkhead"]["out"] == 0


async def test_a_block_thrown_away_in_another_context_changes_nothing_there() -> None:
    policy = make()

    async def stream() -> AsyncIterator[float]:
        async with policy:
            yield deadline()

    opened: Any = stream()
    assert await anext(opened) == START + 3.0
    other = contextvars.Context()
    await asyncio.create_task(opened.aclose(), context=other)
    assert due not in other
    assert policy.statistics()["bulkhead"]["out"] == 0


def _within() -> Iterator[float]:
    with within(1.0, clock=clock):
        yield deadline()


async def test_a_generator_that_stands_within_leaks_into_its_reader_until_it_ends() -> None:
    """As with every ContextVar: a generator has no Context of its own (PEP 568 was deferred)."""
    opened = _within()
    assert next(opened) == START + 1.0
    assert deadline() == START + 1.0
    opened.close()  # type: ignore[attr-defined]  # it is a generator
    assert deadline() == inf


def test_a_block_that_is_thrown_away_in_another_context_changes_nothing_there() -> None:
    block = within(1.0)
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert due.get() is None
