"""Waits of stepped coroutines: a result is theirs at once, everything else by way of the loop."""

import asyncio
from asyncio import CancelledError

import pytest

from switchgear.core.drivers import Stepper, Wait, step, working

pytestmark = pytest.mark.virtual


class Sleeper:
    """A stepped coroutine that awaits, and what became of it."""

    def __init__(self, *waits: Wait) -> None:
        self.seen: list[object] = []
        self.waits = waits
        self.stepper: Stepper = step(self.run())

    async def run(self) -> None:
        for wait in self.waits:
            try:
                self.seen.append(await wait)
            except (CancelledError, ValueError) as error:
                self.seen.append(type(error))


async def test_a_result_has_its_sleeper_go_on_before_it_returns() -> None:
    first, second = Wait(), Wait()
    sleeper = Sleeper(first, second)
    assert not first.done()
    first.set_result(1)
    assert sleeper.seen == [1]
    second.set_result(2)
    assert sleeper.seen == [1, 2]
    assert sleeper.stepper.ended


async def test_sleepers_go_on_in_the_order_of_their_results() -> None:
    waits = [Wait() for _ in range(3)]
    order: list[int] = []

    async def sleep(number: int) -> None:
        await waits[number]
        order.append(number)

    for number in range(3):
        step(sleep(number))
    for number in (2, 0, 1):
        waits[number].set_result(None)
    assert order == [2, 0, 1]


async def test_what_is_done_is_not_waited_for() -> None:
    failed, told, off = Wait(), Wait(), Wait()
    told.set_result(1)
    failed.set_exception(ValueError())
    assert off.cancel()
    assert Sleeper(told, failed, off).seen == [1, ValueError, CancelledError]
    assert (told.result(), told.exception(), told.cancelled()) == (1, None, False)
    assert isinstance(failed.exception(), ValueError)
    assert not failed.cancelled()
    assert off.cancelled()


async def test_an_error_comes_in_the_loops_next_turn() -> None:
    wait = Wait()
    sleeper = Sleeper(wait)
    wait.set_exception(ValueError())
    assert wait.done()
    assert sleeper.seen == []
    await asyncio.sleep(0)
    assert sleeper.seen == [ValueError]


async def test_a_cancellation_comes_in_the_loops_next_turn() -> None:
    wait = Wait()
    sleeper = Sleeper(wait)
    assert sleeper.stepper.cancel()
    assert sleeper.seen == []
    assert wait.cancelled()
    await asyncio.sleep(0)
    assert sleeper.seen == [CancelledError]


async def test_cancelled_twice_before_it_knows_it_is_told_once() -> None:
    """As a task is: both are counted, and one error says so."""
    first, second = Wait(), Wait()
    sleeper = Sleeper(first, second)
    sleeper.stepper.cancel()
    sleeper.stepper.cancel()
    assert sleeper.stepper.cancelling() == 2
    assert not first.cancel()
    await asyncio.sleep(0)
    assert sleeper.seen == [CancelledError]
    second.set_result(2)
    assert sleeper.seen == [CancelledError, 2]
    assert not sleeper.stepper.cancel(), "it has ended"


async def test_who_is_called_off_with_an_error_due_is_called_off() -> None:
    wait = Wait()
    sleeper = Sleeper(wait)
    wait.set_exception(ValueError())
    sleeper.stepper.cancel()
    await asyncio.sleep(0)
    assert sleeper.seen == [CancelledError]


async def test_who_was_called_off_before_it_waits_is_told_there() -> None:
    wait = Wait()
    seen: list[object] = []

    async def run() -> None:
        working().cancel()
        try:
            await wait
        except CancelledError:
            seen.append("called off")

    step(run())
    assert seen == []
    await asyncio.sleep(0)
    assert seen == ["called off"]
    assert wait.cancelled()


async def test_a_task_does_not_understand_it() -> None:
    async def sleep() -> None:
        await Wait()

    with pytest.raises(RuntimeError, match="bad yield"):
        await asyncio.create_task(sleep())
