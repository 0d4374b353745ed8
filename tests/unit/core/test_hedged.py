"""Hedging: the first good answer wins, the loser ends, and the machine learns what it saw."""

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from switchgear.core.drivers import step
from switchgear.core.hedged import GRACE, _left, hedging
from switchgear.core.observe import Hedging
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.hedge import Hedge
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Verdict
from switchgear.testing.virtual import START, clock
from tests.support.cancel import turns
from tests.support.core import Stream, call

pytestmark = pytest.mark.virtual

mine: ContextVar[str] = ContextVar("mine", default="nobody's")


failures: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def nothing_fails_behind_the_back() -> Iterator[None]:
    failures.clear()
    yield
    assert failures == []


class Steady:
    """A machine that knows its delay, and writes down what it is told."""

    def __init__(self, seconds: float | None = 0.1, most_extra: int = 1) -> None:
        self.seconds = seconds
        self.most_extra = most_extra
        self.seen: list[float] = []

    def delay(self, now: float) -> float | None:
        return self.seconds

    def observe(self, elapsed: float, now: float) -> None:
        assert now == clock()
        self.seen.append(round(elapsed, 9))


class Dependency:
    """Attempt by attempt, takes so long and answers or raises what it is told to."""

    def __init__(self, *does: tuple[float, Any], cleanup: float = 0.0) -> None:
        self.does = list(does)
        self.cleanup = cleanup
        self.calls: list[Call[Any]] = []
        self.called_off: list[int] = []
        self.ended: list[int] = []

    async def __call__(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        number = len(self.calls)
        seconds, what = self.does[number - 1]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.called_off.append(number)
            await asyncio.sleep(self.cleanup)
            raise
        finally:
            self.ended.append(number)
        if isinstance(what, BaseException):
            raise what
        return what


class Raced:
    """A dependency behind a hedge."""

    def __init__(
        self, *does: tuple[float, Any], hedge: Steady | None = None, budget: int = 9, **options: Any
    ) -> None:
        cleanup = options.pop("cleanup", 0.0)
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        self.hedge = hedge or Steady()
        self.budget = budget
        self.dependency = Dependency(*does, cleanup=cleanup)
        self.events: list[Any] = []
        layer = hedging(
            self.hedge, self.withdraw, name="mail", clock=clock, tell=self.events.append, **options
        )
        self.run = layer(self.dependency)

    def withdraw(self, now: float) -> bool:
        assert now == clock()
        self.budget -= 1
        return self.budget >= 0


def overtaken() -> set[asyncio.Task[Any]]:
    """Return the attempts that are held until they have ended, on all loops."""
    return {task for tasks in _left._kept.values() for task in tasks}


def status(answer: Any) -> Verdict:
    return BAD if answer.status == 503 else GOOD


async def test_a_fast_attempt_is_alone() -> None:
    raced = Raced((0.05, "answer"))
    asked = call(START + 3, repeatable=True)
    assert await raced.run(asked) == "answer"
    assert (clock(), raced.events, raced.budget) == (START + 0.05, [], 9)
    assert raced.dependency.calls == [asked]
    assert raced.hedge.seen == [0.05]


async def test_a_slow_attempt_gets_a_second_one_which_wins() -> None:
    raced = Raced((5.0, "slow"), (0.05, "fast"))
    asked = call(START + 3, repeatable=True, attempt=2)
    assert await raced.run(asked) == "fast"
    assert clock() == pytest.approx(START + 0.15)
    (told,) = raced.events
    assert isinstance(told, Hedging)
    assert told.name == "mail"
    assert told.after == pytest.approx(0.1)
    assert [one.attempt for one in raced.dependency.calls] == [2, 3]
    assert raced.dependency.called_off == [1]
    assert asked.trail.attempts == 1
    assert raced.budget == 8
    assert raced.hedge.seen == [0.15, 0.05], "the one that was overtaken took at least so long"


async def test_the_first_attempt_may_still_win() -> None:
    raced = Raced((0.15, "first"), (5.0, "second"))
    assert await raced.run(call(START + 3, repeatable=True)) == "first"
    assert clock() == pytest.approx(START + 0.15)
    assert raced.dependency.called_off == [2]
    assert raced.hedge.seen == [0.15], "the second had no time: that tells nothing"


@pytest.mark.parametrize(
    ("delay", "left", "repeatable", "straight"),
    [
        (0.1, 9.0, False, True),
        (None, 9.0, True, True),
        (3.0, 3.0, True, True),  # no time for a second one
        (3.0, 3.1, True, False),
        (0.1, 9.0, True, False),
    ],
)
async def test_what_cannot_be_hedged_runs_straight_and_teaches_too(
    delay: float | None, left: float, repeatable: bool, straight: bool
) -> None:
    async def look(call: Call[Any]) -> Any:
        await asyncio.sleep(0.05)
        return asyncio.current_task()

    hedge = Steady(delay)
    run = hedging(hedge, lambda now: True, name="mail", clock=clock)(look)
    task = await run(call(START + left, repeatable=repeatable))
    assert (task is asyncio.current_task()) is straight
    assert hedge.seen == [0.05]


async def test_failures_teach_nothing() -> None:
    raced = Raced((0.5, Fault(Code.UNAVAILABLE)))
    with pytest.raises(Fault):
        await raced.run(call(START + 3))
    raced = Raced((0.5, Stream(503)), judge=status)
    await raced.run(call(clock() + 3))
    assert raced.hedge.seen == []


async def test_without_budget_there_is_no_second_attempt() -> None:
    raced = Raced((5.0, "slow"), budget=0)
    assert await raced.run(call(START + 9, repeatable=True)) == "slow"
    assert clock() == START + 5.0
    assert raced.budget == -1, "it was asked once"
    assert raced.events == []
    assert raced.hedge.seen == [5.0]


async def test_a_first_attempt_that_fails_before_is_left_to_the_retry() -> None:
    error = Fault(Code.UNAVAILABLE)
    raced = Raced((0.05, error))
    with pytest.raises(Fault) as caught:
        await raced.run(call(START + 3, repeatable=True))
    assert caught.value is error
    assert len(raced.dependency.calls) == 1
    assert raced.hedge.seen == []


@pytest.mark.parametrize("failing", [0, 1])
async def test_where_one_fails_the_other_is_waited_for(failing: int) -> None:
    does: list[tuple[float, Any]] = [(0.5, "answer"), (0.4, "answer")]
    does[failing] = (0.05 + 0.1 * (1 - failing), Fault(Code.UNAVAILABLE))
    raced = Raced(*does)
    assert await raced.run(call(START + 3, repeatable=True)) == "answer"
    assert clock() == START + 0.5
    assert raced.dependency.called_off == []
    assert raced.hedge.seen == [[0.4], [0.5]][failing]


async def test_where_both_fail_the_call_fails_as_the_first_did() -> None:
    for first, second in ((0.15, 0.5), (0.5, 0.1)):
        error = Fault(Code.UNAVAILABLE, "the first")
        raced = Raced((first, error), (second, Fault(Code.UNAVAILABLE, "the second")))
        with pytest.raises(Fault) as caught:
            await raced.run(call(clock() + 3, repeatable=True))
        assert caught.value is error
        assert raced.dependency.ended in ([1, 2], [2, 1])
        assert raced.hedge.seen == []


async def test_a_no_of_the_dependency_is_an_answer() -> None:
    error = Fault(Code.NOT_FOUND)
    raced = Raced((5.0, "slow"), (0.05, error))
    with pytest.raises(Fault) as caught:
        await raced.run(call(START + 9, repeatable=True))
    assert caught.value is error
    assert clock() < START + 0.2
    assert raced.dependency.called_off == [1]


@pytest.mark.parametrize("code", [Code.ABORTED, Code.INTERNAL, Code.CANCELLED])
async def test_what_says_neither_yes_nor_no_is_none(code: Code) -> None:
    raced = Raced((0.5, "answer"), (0.05, Fault(code)))
    assert await raced.run(call(START + 9, repeatable=True)) == "answer"


async def test_an_answer_that_counts_as_good_wins() -> None:
    good = Stream(200)
    raced = Raced((5.0, Stream(200)), (0.05, good), judge=status)
    assert await raced.run(call(START + 9, repeatable=True)) is good
    assert clock() == pytest.approx(START + 0.15)
    assert raced.hedge.seen == [0.15, 0.05]


async def test_work_that_was_called_off_by_itself_is_no_answer() -> None:
    raced = Raced((0.5, "answer"), (0.05, asyncio.CancelledError()))
    assert await raced.run(call(START + 9, repeatable=True)) == "answer"
    raced = Raced((0.05, asyncio.CancelledError()))
    with pytest.raises(asyncio.CancelledError):
        await raced.run(call(clock() + 9, repeatable=True))


async def test_an_answer_that_counts_as_a_failure_is_one_and_ends() -> None:
    bad, good = Stream(503), Stream(200)
    raced = Raced((0.5, good), (0.05, bad), judge=status)
    assert await raced.run(call(START + 9, repeatable=True)) is good
    await turns()
    assert (good.ended, bad.ended) == (None, NEUTRAL)
    first, second = Stream(503), Stream(503)
    raced = Raced((0.5, first), (0.05, second), judge=status)
    assert await raced.run(call(clock() + 9, repeatable=True)) is first
    await turns()
    assert (first.ended, second.ended) == (None, NEUTRAL)


async def test_the_stream_of_a_loser_ends() -> None:
    first, second = Stream(), Stream()
    raced = Raced((0.2, first), (0.1, second))  # both in the same turn
    winner = await raced.run(call(START + 9, repeatable=True))
    await turns()
    assert winner is first
    assert (first.ended, second.ended) == (None, NEUTRAL)


async def test_a_loser_that_answers_although_it_was_called_off_ends_too() -> None:
    slow, fast = Stream(), Stream()
    answers = [slow, fast]

    async def stubborn(call: Call[Any]) -> Stream:
        answer = answers.pop(0)
        try:
            await asyncio.sleep(5.0 if answer is slow else 0.1)
        except asyncio.CancelledError:
            pass
        return answer

    run = hedging(Steady(), lambda now: True, name="mail", clock=clock)(stubborn)
    assert await run(call(START + 9, repeatable=True)) is fast
    await turns()
    assert (slow.ended, fast.ended) == (NEUTRAL, None)


async def test_the_answer_waits_for_the_loser_but_not_for_long() -> None:
    raced = Raced((5.0, "slow"), (0.1, "fast"), cleanup=GRACE / 2)
    assert await raced.run(call(START + 9, repeatable=True)) == "fast"
    assert raced.dependency.ended == [2, 1]
    raced = Raced((5.0, "slow"), (0.1, "fast"), cleanup=3.0)
    began = clock()
    assert await raced.run(call(clock() + 9, repeatable=True)) == "fast"
    assert clock() == pytest.approx(began + 0.2 + GRACE)
    assert raced.dependency.ended == [2]
    assert len(overtaken()) == 1, "the loop would forget it"
    await asyncio.sleep(3.1)
    assert raced.dependency.ended == [2, 1]
    assert not overtaken()


async def test_a_caller_who_leaves_takes_both_along() -> None:
    raced = Raced((5.0, "slow"), (5.0, "slow"), cleanup=1.0)
    task = asyncio.create_task(raced.run(call(START + 9, repeatable=True)))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock() == START + 1.5, "it waits for their end, as without a hedge"
    assert sorted(raced.dependency.ended) == [1, 2]


async def test_to_be_called_off_again_is_passed_on() -> None:
    again: list[int] = []

    async def stubborn(call: Call[Any]) -> None:
        try:
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(50.0)
            except asyncio.CancelledError:
                again.append(call.attempt)
                raise

    run = hedging(Steady(), lambda now: True, name="mail", clock=clock)(stubborn)
    task = asyncio.create_task(run(call(START + 9, repeatable=True)))
    for _ in range(2):
        await asyncio.sleep(0.5)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock() == START + 1.0
    assert sorted(again) == [1, 2]
    assert not overtaken()


async def test_a_caller_who_leaves_while_the_answer_waits_for_the_loser_gets_none() -> None:
    slow, fast = Stream(), Stream()
    raced = Raced((5.0, slow), (0.1, fast), cleanup=1.0)
    task = asyncio.create_task(raced.run(call(START + 9, repeatable=True)))
    await asyncio.sleep(0.2 + GRACE / 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert (slow.ended, fast.ended) == (None, NEUTRAL)
    assert raced.dependency.ended == [2, 1]
    assert not overtaken()


async def test_a_defect_of_the_budget_leaves_nothing_behind() -> None:
    dependency = Dependency((5.0, "slow"))

    def broken(now: float) -> bool:
        raise ZeroDivisionError

    run = hedging(Steady(), broken, name="mail", clock=clock)(dependency)
    with pytest.raises(ZeroDivisionError):
        await run(call(START + 9, repeatable=True))
    assert dependency.called_off == [1]


async def test_further_attempts_follow_each_other_by_the_delay() -> None:
    raced = Raced(
        (5.0, 1), (5.0, 2), (5.0, 3), (0.05, 4), hedge=Steady(0.1, most_extra=3), cleanup=0.001
    )
    asked = call(START + 9, repeatable=True)
    assert await raced.run(asked) == 4
    assert asked.trail.attempts == 3, "beside those that the frames below have counted"
    assert clock() == pytest.approx(START + 0.351)
    assert [event.after for event in raced.events] == [pytest.approx(0.1 * n) for n in (1, 2, 3)]
    assert [one.attempt for one in raced.dependency.calls] == [1, 2, 3, 4]
    assert sorted(raced.dependency.called_off) == [1, 2, 3]
    assert raced.hedge.seen == [0.35, 0.25, 0.15, 0.05]
    assert raced.budget == 6


async def test_no_more_than_so_many_follow() -> None:
    raced = Raced((5.0, 1), (5.0, 2), (5.0, 3), hedge=Steady(0.1, most_extra=2))
    assert await raced.run(call(START + 9, repeatable=True)) == 1
    assert clock() == START + 5.0
    assert len(raced.events) == 2


async def test_a_failure_in_between_does_not_put_off_the_next() -> None:
    raced = Raced(
        (5.0, 1), (0.05, Fault(Code.UNAVAILABLE)), (0.05, 3), hedge=Steady(0.1, most_extra=2)
    )
    assert await raced.run(call(START + 9, repeatable=True)) == 3
    assert clock() == pytest.approx(START + 0.25)


async def test_nothing_is_sent_once_the_deadline_has_passed() -> None:
    raced = Raced((5.0, 1), (5.0, 2), (5.0, 3), hedge=Steady(0.1, most_extra=2))
    assert await raced.run(call(START + 0.15, repeatable=True)) == 1
    assert len(raced.events) == 1
    assert raced.budget == 8
    raced = Raced((5.0, 1), (5.0, 2), (5.0, 3), hedge=Steady(0.25, most_extra=2))
    began = clock()
    await raced.run(call(began + 0.5, repeatable=True))  # the next is due at that very instant
    assert (len(raced.events), raced.budget) == (1, 8)


async def test_one_that_began_at_the_same_instant_was_not_overtaken() -> None:
    raced = Raced((5.0, 1), (0.25, 2), hedge=Steady(0.0))
    assert await raced.run(call(START + 9, repeatable=True)) == 2
    assert raced.hedge.seen == [0.25]


async def test_the_attempts_run_in_the_context_of_the_caller_and_keep_theirs() -> None:
    seen: list[str] = []

    async def look(call: Call[Any]) -> None:
        seen.append(mine.get())
        mine.set("an attempt's")
        await asyncio.sleep(0.5)

    mine.set("the caller's")
    run = hedging(Steady(), lambda now: True, name="mail", clock=clock)(look)
    await run(call(START + 9, repeatable=True))
    assert seen == ["the caller's", "the caller's"]
    assert mine.get() == "the caller's"


async def test_it_works_with_the_real_machine_and_under_a_stepper() -> None:
    hedge = Hedge()
    for _ in range(100):
        hedge.observe(0.1, clock())
    answers: list[Any] = []
    dependency = Dependency((5.0, "slow"), (0.05, "fast"))
    run = hedging(hedge, lambda now: True, name="mail", clock=clock)(dependency)

    async def one() -> None:
        answers.append(await run(call(clock() + 9, repeatable=True)))

    step(one())
    await asyncio.sleep(0.5)
    assert answers == ["fast"]
    assert dependency.called_off == [1]


async def test_what_was_sent_won_and_was_not_paid_is_counted() -> None:
    paid = iter([True, True, False])
    layer = hedging(Steady(0.1), lambda _: next(paid), name="mail", clock=clock)
    for first, second in ((5.0, 0.05), (0.15, 5.0), (0.2, 0.0)):
        waits = iter([first, second])

        async def wait(_: Call[Any], waits: Any = waits) -> None:
            await asyncio.sleep(next(waits))

        await layer(wait)(call(clock() + 9, repeatable=True))
    assert layer.statistics() == {"sent": 2, "won": 1, "unpaid": 1}


def test_the_layer_says_what_it_is() -> None:
    words = hedging(Steady(), lambda now: True, name="mail").__name__
    assert words == "a second attempt beside a slow one"
