"""Chaos: seeded, countable, and an ordinary layer of the pipeline that is to withstand it."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any, assert_type

import pytest

from switchgear import Policy
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.core.timeout import Timeout
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.testing import (
    START,
    Altered,
    Answer,
    Chaos,
    Failure,
    Hang,
    Injection,
    Latency,
    Stuck,
    clock,
    run,
)

pytestmark = pytest.mark.virtual


async def same(value: Any = "well", after: float = 0.0) -> Any:
    if after:
        await asyncio.sleep(after)
    return value


async def fates(chaos: Chaos, calls: int, pause: float = 0.0) -> list[str]:
    """Call so many times; tell of each call what became of it."""
    function = chaos.around(same)
    told = []
    for _ in range(calls):
        began = clock()
        try:
            what = str(await function())
        except Exception as error:
            what = type(error).__name__
        took = round(clock() - began, 3)
        told.append(f"{what} {took}" if took else what)
        await asyncio.sleep(pause)
    return told


async def test_without_faults_a_call_is_what_it_was() -> None:
    chaos = Chaos(seed=1)
    assert await chaos.around(same)(1, after=2.0) == 1
    assert clock() == START + 2.0
    assert chaos.statistics() == {"calls": 1, "injected": 0}


async def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    faults = [
        Latency(0.1, most=1.0, rate=0.5),
        Failure(ConnectionResetError, rate=0.3),
        Answer("a lie", rate=0.2),
    ]
    first = await fates(Chaos(7, faults), 50)
    assert await fates(Chaos(7, faults), 50) == first
    assert await fates(Chaos(8, faults), 50) != first
    kinds = Counter(fate.split(" 0")[0].split(" 1")[0] for fate in first)
    assert set(kinds) == {"well", "ConnectionResetError", "a lie"}


async def test_what_becomes_of_a_call_depends_neither_on_time_nor_on_the_other_faults() -> None:
    calm = await fates(Chaos(3, [Failure(rate=0.5)]), 40)
    assert await fates(Chaos(3, [Failure(rate=0.5)]), 40, pause=12.3) == calm
    # A window, a limit and a predicate strike fewer calls, and no other ones.
    struck = {number for number, fate in enumerate(calm) if fate == "Fault"}
    assert 10 < len(struck) < 30
    windowed = await fates(Chaos(3, [Failure(rate=0.5, since=10.0)]), 40, pause=1.0)
    assert {n for n, fate in enumerate(windowed) if fate == "Fault"} == {
        n for n in struck if n >= 10
    }
    few = await fates(Chaos(3, [Failure(rate=0.5, times=4)]), 40)
    assert [n for n, fate in enumerate(few) if fate == "Fault"] == sorted(struck)[:4]
    none = Chaos(3, [Failure(rate=0.5, only=lambda _: False)])
    assert set(await fates(none, 40)) == {"well"}
    assert none.injected == 0


async def test_another_fault_does_not_move_the_numbers_of_the_others() -> None:
    delay = Latency(1.0, most=2.0, rate=0.5)
    alone = await fates(Chaos(5, [delay]), 30)
    assert await fates(Chaos(5, [delay, Failure(rate=0.0)]), 30) == alone
    chaos = Chaos(5, [delay, Failure(rate=0.5), Latency(5.0, rate=0.0)])
    after = await fates(chaos, 30)
    assert [fate.replace("Fault", "well") for fate in after] == alone
    assert 5 < sum("Fault" in fate for fate in after) == chaos.statistics()["failure"] < 25


async def test_a_fault_that_ends_the_call_spares_it_those_behind() -> None:
    chaos = Chaos(5, [Failure(rate=0.5), Latency(1.0)])
    assert set(await fates(chaos, 30)) == {"Fault", "well 1.0"}
    assert chaos.injected == 30


@pytest.mark.parametrize("ending", [Failure(times=1), Answer("ours", times=1), Hang(times=1)])
async def test_a_limit_is_not_spent_on_a_call_that_ended_before(ending: Injection) -> None:
    chaos = Chaos(5, [ending, Answer("mine", times=1)])
    function = chaos.around(same)
    with suppress(Fault, TimeoutError):
        async with asyncio.timeout(1):
            await function()
    assert await function() == "mine"


async def test_a_fault_that_spares_a_call_leaves_it_to_the_next() -> None:
    spared = [Failure(only=lambda _: False), Failure(since=1.0), Failure(rate=0.0)]
    assert await fates(Chaos(5, [*spared, Latency(1.0, times=1)]), 1) == ["well 1.0"]


@pytest.mark.parametrize(
    "fault", [Latency(1.0), Failure(), Hang(), Answer(1), Altered(str), Injection()]
)
def test_a_fault_is_a_value_that_nobody_changes(fault: Injection) -> None:
    with pytest.raises(AttributeError):
        fault.rate = 0.5  # type: ignore[misc]  # that is what is refused


async def test_two_faults_alike_do_not_strike_the_same_calls() -> None:
    faults = [Answer("one", rate=0.5), Answer("two", rate=0.5)]
    assert set(await fates(Chaos(5, faults), 40)) == {"one", "two", "well"}


def test_the_numbers_are_the_same_on_every_machine() -> None:
    async def main() -> list[str]:
        return await fates(Chaos(7, [Failure(rate=0.5)]), 12)

    told = "".join("x" if fate == "Fault" else "." for fate in run(main()))
    assert told == ".xx...xx...x"


async def test_two_layers_of_one_chaos_share_its_order_of_calls() -> None:
    chaos = Chaos(2, [Failure(times=1)])
    one, two = chaos.around(same), chaos.around(same)
    with pytest.raises(Fault):
        await one()
    assert await two() == "well"
    assert (chaos.calls, chaos.injected) == (2, 1)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0), (1.0, 100)])
async def test_never_is_never_and_always_always(rate: float, expected: int) -> None:
    chaos = Chaos(1, [Failure(rate=rate)])
    await fates(chaos, 100)
    assert chaos.injected == expected


async def test_a_rate_is_met_in_the_long_run() -> None:
    chaos = Chaos(1, [Failure(rate=0.2), Latency(0.1, rate=0.6)])
    await fates(chaos, 2000)
    figures = chaos.statistics()
    assert figures["failure"] == pytest.approx(400, rel=0.15)
    assert figures["latency"] == pytest.approx(1600 * 0.6, rel=0.1)
    assert figures["injected"] == figures["failure"] + figures["latency"]


async def test_a_window_counts_from_the_first_call_and_again_after_a_switch() -> None:
    chaos = Chaos(1, [Failure(since=2.0, until=5.0)])
    await asyncio.sleep(100)
    fate = ["well"] * 2 + ["Fault"] * 3 + ["well"] * 2
    assert await fates(chaos, 7, pause=1.0) == fate
    chaos.off()
    assert await fates(chaos, 7, pause=1.0) == ["well"] * 7
    assert chaos.calls == 7
    chaos.on()
    assert await fates(chaos, 7, pause=1.0) == fate
    assert (chaos.calls, chaos.injected) == (14, 6)


async def test_a_clock_of_ones_own_dates_the_windows() -> None:
    now = [50.0]
    chaos = Chaos(1, [Failure(since=1.0)], clock=lambda: now[0])
    assert await fates(chaos, 2, pause=1.0) == ["well", "well"]
    now[0] = 51.0
    assert await fates(chaos, 1) == ["Fault"]


async def test_a_reset_begins_again_from_the_seed() -> None:
    chaos = Chaos(7, [Failure(rate=0.5, since=1.0, times=9)])
    first = await fates(chaos, 30, pause=0.1)
    chaos.off()
    chaos.reset()
    assert chaos.statistics() == {"calls": 0, "injected": 0, "failure": 0}
    assert await fates(chaos, 1) == ["well"]
    assert chaos.calls == 0
    chaos.on()
    assert await fates(chaos, 30, pause=0.1) == first
    assert chaos.injected == 9


async def test_faults_are_met_in_their_order() -> None:
    assert await fates(Chaos(1, [Latency(0.2), Failure()]), 1) == ["Fault 0.2"]
    chaos = Chaos(1, [Failure(), Latency(0.2)])
    assert await fates(chaos, 1) == ["Fault"]
    assert chaos.statistics() == {"calls": 1, "injected": 1, "failure": 1, "latency": 0}


async def test_what_was_called_off_before_it_struck_is_not_counted() -> None:
    chaos = Chaos(1, [Latency(5.0), Failure()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await chaos.around(same)()
    assert chaos.statistics() == {"calls": 1, "injected": 1, "latency": 1, "failure": 0}


async def test_a_limit_holds_for_calls_at_the_same_time() -> None:
    chaos = Chaos(1, [Latency(1.0), Failure(times=2)])
    function = chaos.around(same)
    ended = await asyncio.gather(*(function() for _ in range(5)), return_exceptions=True)
    assert [isinstance(end, Fault) for end in ended] == [True, True, False, False, False]


async def test_latency_passes_and_the_call_goes_on() -> None:
    assert await Chaos(1, [Latency(0.25)]).around(same)(5, after=1.0) == 5
    assert clock() == START + 1.25


@pytest.mark.parametrize(
    ("latency", "seconds"),
    [
        (Latency(2.0), [2.0, 2.0, 2.0]),
        (Latency(2.0, most=4.0), [2.0, 3.0, 3.5]),
        (Latency(2.0, tail=1.0), [2.0, 4.0, 8.0]),
        (Latency(2.0, tail=0.5, most=9.0), [2.0, 8.0, 9.0]),
    ],
)
def test_how_long_a_latency_is(latency: Latency, seconds: list[float]) -> None:
    assert [latency.draw(chance) for chance in (0.0, 0.5, 0.75)] == pytest.approx(seconds)


async def test_a_code_becomes_a_fault_that_says_where_it_comes_from() -> None:
    function = Chaos(7, [Failure(Code.ABORTED)]).around(same)
    await asyncio.gather(function(), return_exceptions=True)
    with pytest.raises(Fault) as caught:
        await function()
    assert (caught.value.code, caught.value.effect) == (Code.ABORTED, Effect.UNKNOWN)
    assert caught.value.origin == "chaos"
    assert caught.value.detail == "injected by chaos with seed 7 into call 2"


async def test_a_made_error_bears_a_note_and_a_given_one_is_raised_as_it_is() -> None:
    with pytest.raises(ConnectionResetError) as caught:
        await Chaos(7, [Failure(ConnectionResetError)]).around(same)()
    assert caught.value.__notes__ == ["injected by chaos with seed 7 into call 1"]
    given = OSError("gone")
    function = Chaos(7, [Failure(given)]).around(same)
    depths = []
    for _ in range(3):
        with pytest.raises(OSError, match="gone") as again:
            await function()
        assert again.value is given
        depths.append(len(again.traceback))
    assert len(set(depths)) == 1  # it does not grow with each raise


async def test_a_lost_answer_is_lost_after_the_work_was_done() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(3)
        done.append(1)

    chaos = Chaos(1, [Failure(TimeoutError, lost=True), Latency(1.0)])
    with pytest.raises(TimeoutError):
        await chaos.around(work)()
    assert (done, clock()) == ([1], START + 4.0)
    with pytest.raises(Fault):
        await Chaos(1, [Failure()]).around(work)()
    assert done == [1]


async def test_a_hang_never_answers_and_can_be_called_off() -> None:
    called: list[int] = []

    async def work() -> None:
        called.append(1)

    chaos = Chaos(1, [Hang()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(86_400):
            await chaos.around(work)()
    assert (called, chaos.injected) == ([], 1)
    assert clock() == START + 86_400


def test_a_hang_that_nothing_bounds_is_found() -> None:
    with pytest.raises(Stuck, match=r"Hang\.meet"):
        run(Chaos(1, [Hang()]).around(same)())


async def test_an_answer_of_ours_and_one_that_is_changed() -> None:
    chaos = Chaos(1, [Answer("a lie", times=1), Altered(str.upper, times=1), Latency(1.0)])
    assert await fates(chaos, 3) == ["a lie", "WELL 1.0", "well 1.0"]


async def test_a_predicate_sees_the_call() -> None:
    async def work(word: str, *, loud: bool = False) -> str:
        return word

    def loud(call: Call[Any]) -> bool:
        function, args, kwargs = call.payload
        return function is work and args == ("hello",) and bool(kwargs.get("loud"))

    function = Chaos(1, [Answer("!", only=loud)]).around(work)
    assert [await function("hello"), await function("hello", loud=True)] == ["hello", "!"]


async def test_a_decorated_function_keeps_its_name_and_its_types() -> None:
    @Chaos(1).around
    async def send(letter: str) -> list[str]:
        """Send it."""
        return [letter]

    assert (send.__name__, send.__doc__) == ("send", "Send it.")
    assert_type(await send("a"), list[str])


def test_only_async_functions_are_decorated() -> None:
    with pytest.raises(TypeError, match="chaos comes around async functions, not <class 'int'>"):
        Chaos(1).around(int)  # type: ignore[arg-type]  # that is what is refused


def test_the_seed_is_told_even_when_it_was_made_up() -> None:
    faults = [Latency(0.2, most=1.0, rate=0.5), Hang(since=1.0)]
    told = "Latency(seconds=0.2, most=1.0, rate=0.5), Hang(since=1.0)"
    assert repr(Chaos(7, faults)) == f"Chaos(seed=7, faults=[{told}])"
    one, two = Chaos(faults=faults), Chaos(faults=faults)
    assert one.seed != two.seed
    assert max(one.seed, two.seed) < 2**32  # short enough to be copied by hand
    assert repr(one) == f"Chaos(seed={one.seed}, faults=[{told}])"


def test_switched_off_it_adds_no_frame() -> None:
    async def handler(call: Call[Any]) -> None: ...

    chaos = Chaos(1, [Failure()])
    layer = chaos(handler)
    chaos.off()
    work: Any = layer(Call(None, inf))
    assert work.cr_code is handler.__code__
    work.close()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: Failure(rate=1.1), "Failure.rate"),
        (lambda: Failure(rate=-0.1), "Failure.rate"),
        (lambda: Hang(since=-1.0), "Hang.since"),
        (lambda: Hang(since=2.0, until=1.0), "Hang.until"),
        (lambda: Answer(1, times=0), "Answer.times"),
        (lambda: Latency(0.0), "Latency.seconds"),
        (lambda: Latency(2.0, most=1.0), "Latency.most"),
        (lambda: Latency(2.0, tail=0.0), "Latency.tail"),
        (lambda: Latency(2.0, rate=2.0), "Latency.rate"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: Callable[[], object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        wrong()


any_chaos: Any = Chaos
any_failure: Any = Failure
any_altered: Any = Altered


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: any_chaos([Hang()]), "seed=[Hang()]: a whole number would be right, as in Chaos("),
        (lambda: any_chaos("7"), "seed='7': a whole number would be right, as in Chaos(7, [Fail"),
        (lambda: any_chaos(True), "seed=True: a whole number would be right"),
        (lambda: any_chaos(1, [3]), "3 is no fault: one that is made would be right, as in Chaos("),
        (lambda: any_chaos(1, [Hang]), f"{Hang!r} is no fault: one that is made would be right"),
        (lambda: any_chaos(1, Hang()), "faults=Hang(): a list of faults would be right, as in Cha"),
        (lambda: any_failure("x"), "Failure.error is 'x', where a Code, an exception, or a class "),
        (lambda: any_failure(3), "Failure.error is 3, where a Code, an exception, or a class or f"),
        (lambda: any_failure(int), "Failure.error is <class 'int'>, where a Code, an exception, o"),
        (lambda: any_altered(3), "Altered.change is 3, where a function would be right"),
        (lambda: any_failure(only=3), "Failure.only is 3, where a function would be right"),
        (lambda: any_failure(only=same), ", where a plain function, for nobody awaits it,"),
        (lambda: any_altered(same), ", where a plain function, for nobody awaits it, would be"),
        (lambda: any_chaos(1, [], 5), "clock=5: a function that tells seconds would be right"),
    ],
)
def test_what_would_inject_nothing_or_something_else_is_refused(
    wrong: Callable[[], object], says: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(says)):
        wrong()


async def test_a_function_that_makes_no_exception_is_told_of() -> None:
    chaos = Chaos(1, [any_failure(lambda: "x")])
    with pytest.raises(TypeError, match=r"^Failure\.error made 'x': an exception would be right$"):
        await chaos.around(same)()


async def test_a_kind_of_ones_own() -> None:
    class Twice(Injection, frozen=True):
        async def meet(self, go: Callable[[], Awaitable[Any]], chance: float, why: str) -> Any:
            assert 0 <= chance < 1
            return await go(), await go()

    chaos = Chaos(1, [Twice(), Latency(1.0)])
    assert await chaos.around(same)(1) == (1, 1)
    assert chaos.statistics() == {"calls": 1, "injected": 3, "twice": 1, "latency": 2}
    with pytest.raises(NotImplementedError):
        await Chaos(1, [Injection()]).around(same)()


async def test_it_stands_innermost_and_is_cut_by_the_timeout() -> None:
    chaos = Chaos(1, [Hang(times=1)])

    async def handler(call: Call[Any]) -> str:
        return "well"

    parts = [Part(Place.DRILL, chaos), Part(Place.TIMEOUT, Timeout(full=2.0))]
    made = stack("mail", OUTBOUND, parts, handler, clock=clock)
    assert [line.split()[:2] for line in made.describe().splitlines()[1:]] == [
        ["timeout", "at"],
        ["drill", "chaos"],
    ]
    with pytest.raises(Fault) as caught:
        await made.run(Call(None, clock() + 2.0))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert await made.run(Call(None, clock() + 2.0)) == "well"


async def test_it_comes_around_the_call_of_a_policy_too() -> None:
    """Which is no coroutine function to `inspect` where the policy is not whole, or compiled."""

    async def work() -> int:
        return 1

    assert await Chaos(1, []).around(Policy("part", bulkhead=None).call)(work) == 1
