"""Batches: several deliveries as one, each with an outcome of its own."""

import asyncio
from asyncio import CancelledError
from collections.abc import Sequence
from typing import Any

import pytest

from switchgear.core.batch import Batch, Batched, each, judge_each
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import BAD, GOOD, NEUTRAL, Health

pytestmark = pytest.mark.virtual


class Letter:
    """A delivery that writes down how it was settled, and raises if it is told to."""

    def __init__(self, payload: str, deadline: float = 10.0, *, repeatable: bool = True) -> None:
        self.call: Call[Any] = Call(payload, deadline, repeatable=repeatable)
        self.begun: list[Any] = []
        self.outcomes: list[Outcome[Any]] = []
        self.fails: Exception | None = None

    def begin(self, work: Any) -> None:
        self.begun.append(work)

    async def settle(self, outcome: Outcome[Any]) -> None:
        self.outcomes.append(outcome)
        if self.fails is not None:
            raise self.fails


class Post:
    """A source that hands out letters as they come in."""

    def __init__(self, *letters: Letter) -> None:
        self.queue: asyncio.Queue[Letter | None] = asyncio.Queue()
        for letter in letters:
            self.queue.put_nowait(letter)

    async def take(self) -> Letter | None:
        return await self.queue.get()


def letters(names: str) -> list[Letter]:
    return [Letter(name) for name in names]


async def test_a_batch_is_due_with_its_earliest_and_repeatable_if_all_are() -> None:
    batch: Batch[Any, Any] = Batch([Letter("a", 3.0), Letter("b", 2.0), Letter("c", 4.0)])
    assert [call.payload for call in batch.call.payload] == ["a", "b", "c"]
    assert batch.call.deadline == 2.0
    assert batch.call.repeatable
    assert not Batch([Letter("a"), Letter("b", repeatable=False)]).call.repeatable


async def test_whoever_loses_one_calls_off_all() -> None:
    several, work = letters("abc"), object()
    Batch(several).begin(work)  # type: ignore[arg-type]  # it is only handed on
    assert [letter.begun for letter in several] == [[work]] * 3


async def test_each_is_settled_with_its_own_outcome() -> None:
    several = letters("abc")
    outcomes: list[Done[Any] | Failed] = [Done(1), Failed(ValueError()), Done(3)]
    await Batch(several).settle(Done(outcomes))
    assert [letter.outcomes for letter in several] == [[outcome] for outcome in outcomes]


async def test_one_error_that_ended_them_all_is_the_outcome_of_each() -> None:
    several, failed = letters("abc"), Failed(Fault(Code.UNAVAILABLE))
    await Batch(several).settle(failed)
    assert [letter.outcomes for letter in several] == [[failed]] * 3


@pytest.mark.parametrize("count", [0, 2, 4])
async def test_as_many_outcomes_as_deliveries_or_all_have_failed(count: int) -> None:
    several = letters("abc")
    await Batch(several).settle(Done([Done(None)] * count))
    for letter in several:
        (outcome,) = letter.outcomes
        assert isinstance(outcome, Failed)
        assert str(outcome.error) == f"a batch of 3 ended with {count} outcomes"


async def test_all_are_settled_before_the_first_failure_is_raised() -> None:
    several = letters("abc")
    first, second = OSError("first"), OSError("second")
    several[0].fails, several[1].fails = first, second
    with pytest.raises(OSError, match="first") as raised:
        await Batch(several).settle(Done([Done(None)] * 3))
    assert raised.value is first
    assert [len(letter.outcomes) for letter in several] == [1, 1, 1]


def payloads(batch: Batch[Any, Any] | None) -> str:
    assert batch is not None
    return "".join(call.payload for call in batch.call.payload)


async def test_a_batch_is_full_or_has_lingered() -> None:
    post = Post(*letters("abcde"))
    batches: Batched[Any, Any] = Batched(post, 3, linger=1.0)
    began = asyncio.get_running_loop().time()
    assert payloads(await batches.take()) == "abc"
    assert asyncio.get_running_loop().time() == began
    assert payloads(await batches.take()) == "de"
    assert asyncio.get_running_loop().time() == pytest.approx(began + 1.0)
    post.queue.put_nowait(None)
    assert await batches.take() is None


async def test_without_lingering_it_is_what_there_is() -> None:
    post = Post(*letters("a"))
    batches: Batched[Any, Any] = Batched(post, 3)
    assert payloads(await batches.take()) == "a"
    for letter in letters("bc"):
        post.queue.put_nowait(letter)
    assert payloads(await batches.take()) in ("b", "bc")
    post.queue.put_nowait(None)
    while await batches.take() is not None:
        pass


async def test_what_was_gathered_goes_out_when_the_source_is_drained_and_stays_drained() -> None:
    post = Post(*letters("ab"))
    post.queue.put_nowait(None)
    batches: Batched[Any, Any] = Batched(post, 3, linger=1.0)
    assert payloads(await batches.take()) == "ab"
    assert await batches.take() is None
    assert await batches.take() is None


async def test_each_item_has_an_outcome() -> None:
    async def handler(call: Call[str]) -> str:
        if call.payload == "b":
            raise ValueError("b is bad")
        return call.payload.upper()

    outcomes = await each(handler)(Batch(letters("abc")).call)
    assert [type(outcome) for outcome in outcomes] == [Done, Failed, Done]
    assert outcomes[0] == Done("A")
    assert outcomes[2] == Done("C")


async def test_called_off_what_was_done_stays_done_and_the_rest_is_cancelled() -> None:
    async def handler(call: Call[str]) -> str:
        if call.payload == "b":
            raise CancelledError
        return call.payload

    outcomes = await each(handler)(Batch(letters("abc")).call)
    assert outcomes[0] == Done("a")
    for outcome in outcomes[1:]:
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, CancelledError)


BAD_ITEM, NEUTRAL_ITEM = Failed(Fault(Code.UNAVAILABLE)), Failed(CancelledError())


@pytest.mark.parametrize(
    ("outcomes", "health"),
    [
        ([], Health.GOOD),
        ([Done(1), Done(2)], Health.GOOD),
        ([Done(1), NEUTRAL_ITEM], Health.NEUTRAL),
        ([BAD_ITEM, NEUTRAL_ITEM, Done(1)], Health.BAD),
    ],
)
async def test_a_batch_is_judged_by_its_worst_and_not_tried_again_as_a_whole(
    outcomes: Sequence[Outcome[Any]], health: Health
) -> None:
    verdict = judge_each(outcomes)
    assert verdict == {Health.GOOD: GOOD, Health.NEUTRAL: NEUTRAL, Health.BAD: BAD}[health]
