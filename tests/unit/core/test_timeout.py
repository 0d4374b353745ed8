"""Timeouts: whose failure it is, and that nobody's cancellation is lost or left behind."""

import asyncio
from asyncio import CancelledError
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

import pytest

from switchgear import Policy, within
from switchgear.core.drivers import step, working
from switchgear.core.frames import Frame, Kit, Timeout
from switchgear.core.handler import Handler
from switchgear.core.sweep import sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import BAD, BAD_AGAIN, GOOD, NEUTRAL, NEUTRAL_AGAIN
from switchgear.testing.virtual import START, clock
from tests.support.cancel import driven, turns
from tests.support.core import Door, call

pytestmark = pytest.mark.virtual
in_every_driver = pytest.mark.parametrize("stepped", [False, True])


def framed(
    handler: Handler[Any, Any], door: Door, full: float = 3.0, **options: Any
) -> Handler[Any, Any]:
    return Frame(
        Kit("mail", clock=clock), handler, timeout=Timeout(full, **options), gates=[door]
    ).run


def armed() -> int:
    return sweep_of(asyncio.get_running_loop(), clock).armed


async def hang(call: Call[Any]) -> Any:
    await asyncio.get_running_loop().create_future()


async def later(seconds: float) -> None:
    """Sleep without a task of one's own, so that a stepper can do it too."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    timer = loop.call_later(seconds, future.set_result, None)
    try:
        await future
    finally:
        timer.cancel()


def fault_of(error: BaseException | None) -> Fault:
    assert isinstance(error, Fault), repr(error)
    return error


async def test_work_that_has_ended_leaves_nothing_armed_and_then_no_timer() -> None:
    seen = []

    async def quick(call: Call[Any]) -> str:
        seen.append(armed())
        return "done"

    loop: Any = asyncio.get_running_loop()
    assert await framed(quick, Door())(call(START + 3)) == "done"
    assert (seen, armed(), len(loop._scheduled)) == ([1], 0, 1)
    await asyncio.sleep(4)
    assert loop._scheduled == [], "the one timer of the sweep goes when nothing is armed"


@in_every_driver
async def test_hung_work_is_called_off_at_its_deadline_and_counts_as_bad(stepped: bool) -> None:
    door, seen = Door(), []

    async def work(call: Call[Any]) -> None:
        try:
            await hang(call)
        except CancelledError:
            seen.append(clock())
            raise

    error = fault_of(await driven(framed(work, door)(call(START + 3)), stepped=stepped))
    assert (error.code, error.refusal, error.effect) == (
        Code.DEADLINE_EXCEEDED, None, Effect.UNKNOWN,
    )  # fmt: skip
    assert error.origin == "mail"
    assert error.detail == "mail: no answer within 3.000 s"
    assert seen == [pytest.approx(START + 3, abs=0.011)]
    assert seen[0] >= START + 3
    assert (door.verdicts, armed()) == ([BAD_AGAIN], 0)


@in_every_driver
async def test_a_caller_in_a_hurry_is_no_failure_of_the_dependency(stepped: bool) -> None:
    door = Door()
    error = fault_of(await driven(framed(hang, door)(call(START + 0.2)), stepped=stepped))
    assert (error.code, error.refusal) == (Code.DEADLINE_EXCEEDED, Refusal.HURRIED)
    assert "the caller left less than the usual 2.400 s" in error.detail
    assert door.verdicts == [NEUTRAL_AGAIN]


async def test_four_fifths_of_the_time_are_enough_to_be_judged() -> None:
    door = Door()
    for left in (2.41, 2.39):
        with pytest.raises(Fault):
            await framed(hang, door)(call(clock() + left))
    assert door.verdicts == [BAD_AGAIN, NEUTRAL_AGAIN]


async def test_a_repeatable_call_gets_half_of_what_remains_and_a_second_at_most() -> None:
    seen: list[float] = []

    async def note(call: Call[Any]) -> None:
        seen.append(round(call.deadline - clock(), 6))

    run = framed(note, Door())
    for left in (10.0, 1.0):
        await run(call(START + left, repeatable=True))
        await run(call(START + left))
    assert seen == [1.0, 10.0, 0.5, 1.0]


async def test_a_call_that_is_not_shortened_is_passed_on_as_it_is() -> None:
    seen = []

    async def note(call: Call[Any]) -> None:
        seen.append(call)

    given = call(START + 1)
    await framed(note, Door())(given)
    assert seen[0] is given


async def test_what_is_past_its_deadline_is_not_tried() -> None:
    door = Door()
    with pytest.raises(Fault) as caught:
        await framed(hang, door)(call(START - 1))
    assert (caught.value.effect, caught.value.refusal) == (Effect.NONE, Refusal.HURRIED)
    assert door.verdicts == [NEUTRAL], "another attempt would have even less time"


@in_every_driver
async def test_a_caller_who_leaves_is_neutral(stepped: bool) -> None:
    door = Door()

    async def left() -> None:
        driver = working()
        driver.get_loop().call_later(0.5, driver.cancel)
        await framed(hang, door)(call(START + 3))

    assert isinstance(await driven(left(), stepped=stepped), CancelledError)
    assert (door.verdicts, armed()) == ([NEUTRAL], 0)


@in_every_driver
@pytest.mark.parametrize("first", ["caller", "timeout"])
async def test_own_timeout_and_callers_cancel_at_once(first: str, stepped: bool) -> None:
    """The caller left, so it is a cancellation; but the time was over, so it counts."""
    door, counts = Door(), []

    async def both() -> None:
        driver = working()
        run = framed(hang, door)
        due = START + 3.01  # the tick in which the alarm rings
        if first == "caller":
            driver.get_loop().call_at(due, driver.cancel)
        try:
            work = run(call(START + 3))
            if first == "timeout":
                driver.get_loop().call_soon(lambda: driver.get_loop().call_at(due, driver.cancel))
            await work
        finally:
            counts.append(driver.cancelling())

    assert isinstance(await driven(both(), stepped=stepped), CancelledError)
    assert (door.verdicts, counts) == ([BAD_AGAIN], [1])


@in_every_driver
async def test_nested_timeouts_at_the_same_instant_both_count_and_the_outer_one_raises(
    stepped: bool,
) -> None:
    """Neither call is repeatable, so each layer passes its whole deadline on."""
    inner, outer, counts = Door("inner"), Door("outer"), []
    nested = framed(hang, inner)

    async def between(call: Call[Any]) -> Any:
        return await nested(call)

    async def main() -> None:
        try:
            await framed(between, outer)(call(START + 3))
        finally:
            counts.append(working().cancelling())

    error = fault_of(await driven(main(), stepped=stepped))
    assert error.code is Code.DEADLINE_EXCEEDED
    assert (inner.verdicts, outer.verdicts, counts) == ([BAD_AGAIN], [BAD_AGAIN], [0])
    assert armed() == 0


@in_every_driver
async def test_of_nested_timeouts_the_shorter_rings_alone(stepped: bool) -> None:
    inner, outer = Door("inner"), Door("outer")
    nested = framed(hang, inner, full=1.0)

    async def between(given: Call[Any]) -> Any:
        try:
            return await nested(call(clock() + 1))
        except Fault:
            await later(0.5)
            return "fallback"

    result = []

    async def main() -> None:
        result.append(await framed(between, outer)(call(START + 3)))

    assert await driven(main(), stepped=stepped) is None
    assert result == ["fallback"]
    assert (inner.verdicts, outer.verdicts, armed()) == ([BAD_AGAIN], [GOOD], 0)


@in_every_driver
async def test_work_that_swallows_the_cancel_answers_late_and_counts_as_bad(stepped: bool) -> None:
    door, seen = Door(), []

    async def stubborn(call: Call[Any]) -> str:
        try:
            await hang(call)
        except CancelledError:
            await later(1.0)
        return "late"

    async def main() -> None:
        seen.append(await framed(stubborn, door)(call(START + 3)))
        seen.append(working().cancelling())
        await later(1.0)  # nothing is left that could be raised here
        seen.append(round(clock() - START, 1))

    assert await driven(main(), stepped=stepped) is None
    assert seen == ["late", 0, 5.0]
    assert (door.verdicts, armed()) == ([BAD_AGAIN], 0)


async def test_work_that_swallows_the_cancel_of_a_hurried_caller_is_neutral() -> None:
    door = Door()

    async def stubborn(call: Call[Any]) -> str:
        try:
            await hang(call)
        except CancelledError:
            return "late"
        return ""

    assert await framed(stubborn, door)(call(START + 0.1)) == "late"
    assert door.verdicts == [NEUTRAL_AGAIN]


async def test_a_permit_is_held_until_the_work_has_really_ended() -> None:
    door, seen = Door(), []

    async def slow_to_leave(call: Call[Any]) -> None:
        try:
            await hang(call)
        finally:
            await later(2.0)
            seen.append(door.statistics()["out"])

    with pytest.raises(Fault):
        await framed(slow_to_leave, door)(call(START + 3))
    assert seen == [1]
    assert clock() >= START + 5


@in_every_driver
@pytest.mark.parametrize("left", [3.0, 0.1])
async def test_what_the_work_makes_of_being_called_off_is_judged_as_the_timeout(
    stepped: bool, left: float
) -> None:
    """Else a caller with a tiny deadline would open everybody's breaker, by a detour."""
    door = Door()

    async def awkward(call: Call[Any]) -> None:
        try:
            await hang(call)
        except CancelledError:
            raise RuntimeError("connection was cut by a cancellation") from None

    error = fault_of(await driven(framed(awkward, door)(call(START + left)), stepped=stepped))
    assert error.code is Code.DEADLINE_EXCEEDED
    assert isinstance(error.__cause__, RuntimeError)
    assert door.verdicts == [BAD_AGAIN if left == 3.0 else NEUTRAL_AGAIN]


async def test_a_fault_that_the_work_makes_of_being_called_off_is_kept() -> None:
    door = Door()

    async def honest(call: Call[Any]) -> None:
        try:
            await hang(call)
        except CancelledError:
            raise Fault(Code.ABORTED, "rolled back", effect=Effect.NONE) from None

    with pytest.raises(Fault) as caught:
        await framed(honest, door)(call(START + 3))
    assert (caught.value.code, caught.value.effect) == (Code.ABORTED, Effect.NONE)
    assert door.verdicts == [BAD_AGAIN]


async def test_a_task_group_that_fails_while_it_is_called_off_is_overdue_all_the_same() -> None:
    door = Door()

    async def child() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("failed to clean up")

    async def grouped(call: Call[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(asyncio.sleep(60))

    with pytest.raises(Fault) as caught:
        await framed(grouped, door)(call(START + 3))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert door.verdicts == [BAD_AGAIN]


async def test_asyncio_timeouts_inside_keep_to_themselves() -> None:
    door = Door()

    async def patient(call: Call[Any]) -> str:
        try:
            async with asyncio.timeout(1.0):
                await hang(call)
        except TimeoutError:
            await asyncio.sleep(0.5)
        return "recovered"

    assert await framed(patient, door)(call(START + 3)) == "recovered"
    assert door.verdicts == [GOOD]


async def test_an_asyncio_timeout_outside_is_a_caller_who_leaves() -> None:
    door = Door()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await framed(hang, door)(call(START + 3))
    assert (door.verdicts, armed()) == ([NEUTRAL], 0)


@in_every_driver
async def test_a_call_during_a_cleanup_has_a_timeout_that_works(stepped: bool) -> None:
    """Whoever cleans up after a cancellation counts one already, and may call out once more."""
    door, seen = Door(), list[Any]()

    async def main() -> None:
        driver = working()
        driver.cancel()
        try:
            await later(1.0)
        except CancelledError:
            try:
                await framed(hang, door)(call(clock() + 3))
            except Fault as fault:
                seen.append(fault.code)
            seen.append(driver.cancelling())

    assert await driven(main(), stepped=stepped) is None
    assert seen == [Code.DEADLINE_EXCEEDED, 1]
    assert door.verdicts == [BAD_AGAIN]


@in_every_driver
async def test_work_that_ends_in_the_turn_of_the_alarm_is_overdue(stepped: bool) -> None:
    door = Door()

    async def close_call(given: Call[Any]) -> str:
        await later(3.01)
        return "just"

    error = await driven(framed(close_call, door)(call(START + 3)), stepped=stepped)
    assert fault_of(error).code is Code.DEADLINE_EXCEEDED
    assert (door.verdicts, armed()) == ([BAD_AGAIN], 0)


async def test_the_head_disarms_the_deadline() -> None:
    async def head(call: Call[Any]) -> str:
        await asyncio.sleep(0.1)
        return "head"

    async def main() -> None:
        assert await framed(head, Door())(call(START + 3)) == "head"
        assert armed() == 0
        await asyncio.sleep(10)

    await main()


async def test_a_coroutine_that_is_thrown_away_is_neutral_and_leaves_nothing() -> None:
    door, seen = Door(), []

    async def work(call: Call[Any]) -> None:
        try:
            await hang(call)
        except GeneratorExit:
            seen.append("thrown away")
            raise

    coroutine: Coroutine[Any, Any, Any] = framed(work, door)(call(START + 3))
    waited = coroutine.send(None)
    assert armed() == 1
    coroutine.close()
    assert waited is not None
    assert (seen, door.verdicts, armed()) == (["thrown away"], [NEUTRAL], 0)


@pytest.mark.parametrize(
    "error", [ValueError("defect"), ConnectionResetError("reset"), Fault(Code.INTERNAL)]
)
async def test_an_error_of_the_work_passes_as_it_is(error: Exception) -> None:
    door = Door()

    async def fail(call: Call[Any]) -> None:
        await asyncio.sleep(0.1)
        raise error

    with pytest.raises(type(error)) as caught:
        await framed(fail, door)(call(START + 3))
    assert caught.value is error
    assert door.verdicts[0].health is BAD.health


async def test_answers_of_every_kind_come_through_the_first_step() -> None:
    answers = [None, (), (1, 2), StopIteration("x"), ValueError("a value"), {"a": 1}]
    for waits in (False, True):
        for answer in answers:

            async def give(call: Call[Any], answer: Any = answer, waits: bool = waits) -> Any:
                if waits:
                    await asyncio.sleep(0)
                return answer

            assert await framed(give, Door())(call(START + 3)) is answer


async def test_many_waits_are_passed_on_one_by_one() -> None:
    door = Door()

    async def walk(call: Call[Any]) -> int:
        loop = asyncio.get_running_loop()
        total = 0
        for number in range(10):
            future = loop.create_future()
            loop.call_soon(future.set_result, number)
            total += await future
            try:
                failing = loop.create_future()
                loop.call_soon(failing.set_exception, KeyError(number))
                await failing
            except KeyError as error:
                total += error.args[0]
        return total

    assert await framed(walk, door)(call(START + 3)) == 90
    await turns()
    assert door.verdicts == [GOOD]


def test_a_frame_that_is_stepped_on_another_loop_finds_its_place_anew() -> None:
    async def quick(given: Call[Any]) -> str:
        await asyncio.sleep(0)
        return "done"

    run = Frame(Kit("x"), quick, timeout=Timeout(3.0)).run
    answers: list[str] = []

    async def work() -> None:
        answers.append(await run(call(perf_counter() + 3)))

    async def main() -> None:
        step(work())
        await asyncio.sleep(0.01)

    for _ in range(2):
        asyncio.run(main())
    assert answers == ["done", "done"]


@pytest.mark.parametrize("options", [{"deadline": None}, {"deadline": None, "timeout": None}])
@pytest.mark.parametrize("hurry", [{}, {"hurry": None}])
async def test_without_a_deadline_of_its_own_a_policy_has_that_of_what_is_around_it(
    options: dict[str, Any], hurry: dict[str, Any]
) -> None:
    policy = Policy("mail", **options, **hurry, clock=clock)

    async def hangs() -> None:
        await asyncio.sleep(60.0)

    await policy.call(hangs)  # nothing bounds it
    for block in (False, True):
        with within("100ms"):
            begun = clock()
            with pytest.raises(Fault, match=r"no answer within 0\.100 s; the caller left no more"):
                if block:
                    async with policy:
                        await hangs()
                else:
                    await policy.call(hangs)
            assert clock() - begun == pytest.approx(0.1, abs=0.02)
    assert policy.statistics()["breaker"]["state"] == "closed"
    assert policy.statistics()["bulkhead"]["out"] == 0


async def test_where_the_timeout_is_off_nothing_is_cut() -> None:
    policy = Policy("mail", mode={"timeout": "off"}, clock=clock)
    with within("100ms"):
        async with policy:
            await asyncio.sleep(60.0)
        assert await policy.call(asyncio.sleep, 60.0, "done") == "done"
        with pytest.raises(KeyError):
            async with policy:
                raise KeyError
    assert policy.statistics()["bulkhead"]["out"] == 0
