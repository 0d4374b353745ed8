"""Coalescing: who asks, from within a run, for what that run answers, would wait for itself."""

import asyncio
import gc
import weakref
from contextvars import copy_context
from typing import Any

import pytest

from switchgear import HedgeSettings, Policy
from switchgear.core.coalesce import coalescing
from switchgear.core.misplaced import Misplaced
from switchgear.policy.call import Call
from switchgear.testing.virtual import START, clock
from tests.support.cancel import turns

pytestmark = pytest.mark.virtual


def sharing(name: str, **options: Any) -> Policy:
    return Policy(name, coalesce=lambda key, *_: key, clock=clock, **options)


pages = sharing("pages")


@pytest.fixture(autouse=True)
def anew() -> None:
    global pages  # noqa: PLW0603 - what is shared by name within the functions below
    pages = sharing("pages")


async def page(key: str, *inner: Any) -> Any:
    """Answer with its key, or with what it asks in turn: the function `inner[0]`, of the rest."""
    await asyncio.sleep(0.1)
    return await inner[0](*inner[1:]) if inner else key


async def ask(key: str, *inner: Any) -> Any:
    return await pages.call(page, key, *inner)


async def refused(*asked: Any) -> str:
    with pytest.raises(Misplaced) as caught:
        await ask(*asked)
    assert clock() < START + 1.0, "it waited"
    assert pages.statistics()["coalesce"]["flights"] == 0
    return str(caught.value)


async def test_a_run_that_asks_for_itself_is_told_at_once() -> None:
    assert await refused("home", ask, "home") == (
        "'pages': the run of page for the key 'home' asks for the same again, and would wait for"
        " itself until its deadline: call the function there without the policy, or let 'coalesce'"
        " tell the two apart"
    )
    assert pages.statistics()["coalesce"] == {"flights": 0, "begun": 1, "joined": 0}


async def test_a_layer_that_stands_alone_tells_its_own_key() -> None:
    async def work(call: Call[str]) -> Any:
        return await run(call)

    run = coalescing(lambda call: call.payload, name="mail", clock=clock)(work)
    with pytest.raises(Misplaced, match="'mail': the run for the key 'home' asks for the same"):
        await run(Call("home", clock() + 3.0))


async def test_it_says_nothing_of_the_dependency_and_is_not_tried_again() -> None:
    pages = sharing("pages", repeatable=True, fallback=lambda error, *_: "stale")
    runs: list[str] = []

    async def again(key: str) -> Any:
        runs.append(key)
        return await pages.call(again, key)

    with pytest.raises(Misplaced):
        await pages.call(again, "home")
    assert runs == ["home"]
    statistics = pages.statistics()
    assert (statistics["calls"]["failed"], statistics["breaker"]["consecutive"]) == (0, 0)


async def test_who_waits_beside_it_is_told_too() -> None:
    both = await asyncio.gather(
        ask("home", ask, "home"), ask("home", ask, "home"), return_exceptions=True
    )
    assert [type(one) for one in both] == [Misplaced, Misplaced]


async def grouped(*asked: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask(*asked))
    return task.result()


async def in_a_task(*asked: Any) -> Any:
    return await asyncio.create_task(ask(*asked))


async def gathered(*asked: Any) -> Any:
    return (await asyncio.gather(asyncio.sleep(0), ask(*asked)))[1]


async def in_a_thread(*asked: Any) -> Any:
    return await asyncio.to_thread(pages.run, page, *asked)


@pytest.mark.parametrize("way", [in_a_task, gathered])
async def test_it_is_found_through_tasks(way: Any) -> None:
    assert "asks for the same again, and" in await refused("home", way, "home")


async def test_it_is_found_in_a_task_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await ask("home", grouped, "home")
    assert caught.group_contains(Misplaced, match="asks for the same again, and")
    assert clock() < START + 1.0


async def test_it_is_found_through_runs_for_other_keys() -> None:
    words = await refused("home", ask, "menu", ask, "links", ask, "home")
    assert (
        "the run of page for the key 'home' asks for the same again, by way of other runs, and"
        in words
    )
    assert await ask("home", ask, "menu", ask, "links") == "links"


async def test_it_is_found_through_other_policies() -> None:
    menus = sharing("menus")
    plain = Policy("plain", clock=clock)
    for other in (menus, plain):
        assert "'pages'" in await refused("home", other.call, page, "x", ask, "home")
        assert await ask("home", other.call, page, "home") == "home"


async def test_it_is_found_where_two_runs_wait_for_each_other() -> None:
    both = await asyncio.gather(
        ask("home", ask, "menu"), ask("menu", ask, "home"), return_exceptions=True
    )
    assert [type(one) for one in both] == [Misplaced, Misplaced]
    assert clock() < START + 1.0


async def test_it_is_found_where_hedges_run_in_tasks_of_their_own() -> None:
    pages = sharing("pages", hedge=HedgeSettings(samples=1), repeatable=True)

    runs: list[str] = []

    async def again(key: str) -> Any:
        runs.append(key)
        await asyncio.sleep(0.3)
        return await pages.call(again, key)

    await pages.call(page, "menu")
    with pytest.raises(Misplaced):
        await pages.call(again, "home")
    assert runs == ["home", "home"], "the second is the hedge"


async def test_other_keys_and_other_functions_are_other_questions() -> None:
    async def other(key: str) -> str:
        return f"other {key}"

    assert await ask("home", ask, "menu") == "menu"
    assert await ask("home", pages.call, other, "home") == "other home"
    assert await ask("home", page, "home") == "home"


async def test_many_within_a_run_may_share_another_one() -> None:
    async def two(key: str) -> Any:
        return await asyncio.gather(ask(key), ask(key))

    assert await ask("home", two, "menu") == ["menu", "menu"]
    assert pages.statistics()["coalesce"] == {"flights": 0, "begun": 2, "joined": 1}
    assert await ask("home", two, "menu", *()) == ["menu", "menu"]


async def test_a_run_may_wait_for_another_run_for_its_key_that_has_more_time() -> None:
    short = Policy("short", coalesce=lambda key, *_: key, clock=clock, timeout=None)
    waiting = asyncio.create_task(short.call(page, "home"))
    await turns()
    assert await ask("home", short.call, page, "home") == "home"
    assert await waiting == "home"


async def test_a_task_that_outlives_its_run_may_ask_for_the_same() -> None:
    left: list[asyncio.Task[Any]] = []

    async def later(key: str) -> Any:
        await asyncio.sleep(1.0)
        first, second = await asyncio.gather(ask(key), ask(key))
        return await ask(key, ask, "menu"), first, second

    async def leave(key: str) -> str:
        left.append(asyncio.create_task(later(key)))
        return "left"

    assert await ask("home", leave, "home") == "left"
    assert await left[0] == ("menu", "home", "home")


async def test_a_context_that_was_copied_in_a_run_may_ask_after_it_and_beside_another() -> None:
    async def copy() -> Any:
        return copy_context()

    context = await ask("home", copy)
    begun = asyncio.create_task(ask("home"))
    await turns()
    late = asyncio.create_task(ask("home"), context=context)
    assert [await begun, await late] == ["home", "home"]
    # Nor does what it waits for count as waited for by the run that is over.
    waiting = asyncio.create_task(ask("home", ask, "menu"), context=context)
    await asyncio.sleep(0.15)
    assert await ask("links", ask, "menu") == "menu"
    assert await waiting == "menu"


async def test_a_call_that_has_left_is_waited_for_no_more() -> None:
    async def impatient(*asked: Any) -> Any:
        try:
            async with asyncio.timeout(0.05):
                await ask(*asked)
        except TimeoutError:
            await asyncio.sleep(0.2)
        return "went on"

    async def later(*asked: Any) -> Any:
        await asyncio.sleep(0.1)
        return await ask(*asked)

    menu = asyncio.create_task(ask("menu", later, "home"))
    home = asyncio.create_task(ask("home", impatient, "menu"))
    assert [await home, await menu] == ["went on", "went on"]


@pytest.mark.parametrize("by_way", [False, True])
async def test_in_the_turn_in_which_a_run_ends_it_waits_for_nothing_more(by_way: bool) -> None:
    """What waits for it has not been woken yet, and is asked for by a task that it has left."""
    ending = asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    async def behind(key: str) -> Any:
        await ending.wait()
        await asyncio.sleep(0)
        assert pages.statistics()["coalesce"]["flights"] == 1 + by_way
        return await ask(key)

    async def leave(key: str) -> str:
        left.append(asyncio.create_task(ask("links", behind, key) if by_way else behind(key)))
        await asyncio.sleep(0.2)
        ending.set()
        return "ended"

    assert await ask("home", ask, "menu", leave, "home") == "ended"
    assert await left[0] == "ended"


async def test_a_context_that_is_kept_keeps_no_answer() -> None:
    class Answer:
        """Something that can be looked for."""

    contexts: list[Any] = []

    async def large() -> Answer:
        contexts.append(copy_context())
        return Answer()

    answer = weakref.ref(await ask("home", large))
    gc.collect()
    assert answer() is None
    assert contexts


def test_it_is_found_through_a_thread() -> None:
    async def main() -> None:
        real = Policy("real", coalesce=lambda key: key, deadline="30s")

        def inside(key: str) -> Any:
            return real.run(again, key)

        async def again(key: str) -> Any:
            return await asyncio.to_thread(inside, key)

        with pytest.raises(
            Misplaced, match=r"'real': the run of .*again for the key 'home' asks for the same"
        ):
            await real.call(again, "home")

    asyncio.run(main())
