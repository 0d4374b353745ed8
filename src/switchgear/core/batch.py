"""Batches: several deliveries as one, with one outcome for each of them.

A batch is no kind of its own: `Batched` makes one delivery of several, `each` makes a handler of
batches from a handler of items, and `judge_each` says what their outcomes mean to a gate.
"""

import asyncio
from asyncio import CancelledError
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

from switchgear.core.delivery import Delivery, Source, settled
from switchgear.core.drivers import Work
from switchgear.core.handler import Handler
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.call import Call
from switchgear.policy.verdict import GOOD, Verdict, judge, worse

__all__ = ["Batch", "Batched", "each", "judge_each"]

In = TypeVar("In")
Out = TypeVar("Out")
Items = tuple[Call[In], ...]


class Batch(Generic[In, Out]):
    """Several deliveries as one. Its call's deadline is the earliest of theirs."""

    def __init__(self, deliveries: Sequence[Delivery[In, Out]]) -> None:
        self._deliveries = deliveries
        calls = tuple(delivery.call for delivery in deliveries)
        self.call: Call[Items[In]] = Call(
            calls,
            min(call.deadline for call in calls),
            repeatable=all(call.repeatable for call in calls),
        )

    def begin(self, work: Work) -> None:
        """Hand the work to every delivery: losing one of them calls the batch off."""
        for delivery in self._deliveries:
            delivery.begin(work)

    async def settle(self, outcome: Outcome[Sequence[Outcome[Out]]]) -> None:
        """Settle every delivery with its own outcome, or with the one error that ended them all.

        Raises what the first failing settlement raised, after all of them were tried.
        """
        outcomes: Sequence[Outcome[Out]]
        if isinstance(outcome, Done) and len(outcome.value) == len(self._deliveries):
            outcomes = outcome.value
        elif isinstance(outcome, Done):
            told = f"a batch of {len(self._deliveries)} ended with {len(outcome.value)} outcomes"
            outcomes = [Failed(ValueError(told))] * len(self._deliveries)
        else:
            outcomes = [outcome] * len(self._deliveries)
        failures: list[Exception] = []
        for delivery, own in zip(self._deliveries, outcomes, strict=True):
            try:
                await settled(delivery, own)
            except Exception as error:  # noqa: BLE001 - the others must be settled all the same
                failures.append(error)
        if failures:
            raise failures[0]


class Batched(Generic[In, Out]):
    """A source of batches: up to `size` deliveries, waiting at most `linger` seconds for more."""

    def __init__(self, source: Source[In, Out], size: int, linger: float = 0.0) -> None:
        self._source = source
        self._size = size
        self._linger = linger
        self._taken: list[Delivery[In, Out]] = []
        self._next: asyncio.Task[Delivery[In, Out] | None] | None = None

    async def take(self) -> Batch[In, Out] | None:
        """Return the next batch, or None when the source is drained.

        A cancelled `take` loses nothing: what it had taken is in the next batch.
        """
        taken = self._taken
        while len(taken) < self._size:
            more = await self._one(self._linger if taken else None)
            if more is None:
                break
            taken.append(more)
        self._taken = []
        return Batch(taken) if taken else None

    async def _one(self, within: float | None) -> Delivery[In, Out] | None:
        """Wait for one delivery; the waiting itself goes on when the time is over."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.create_task(self._taking(), context=Context())
        done, _ = await asyncio.wait({self._next}, timeout=within)
        if not done:
            return None
        if self._next.result() is None:
            return None  # stays: whoever asks again gets the same answer
        task, self._next = self._next, None
        return task.result()

    async def _taking(self) -> Delivery[In, Out] | None:
        return await self._source.take()


def each(handler: Handler[In, Out]) -> Handler[Items[In], list[Outcome[Out]]]:
    """Make a handler of batches that runs `handler` on one item after another.

    One bad item is one failed outcome. When the work is called off, what has not run yet fails as
    cancelled, and what was done stays done.
    """

    async def run(batch: Call[Items[In]]) -> list[Outcome[Out]]:
        outcomes: list[Outcome[Out]] = []
        calls = batch.payload
        try:
            for call in calls:
                try:
                    outcomes.append(Done(await handler(call)))
                except Exception as error:  # noqa: BLE001 - the item's outcome
                    outcomes.append(Failed(error))
        except CancelledError as error:
            outcomes += [Failed(error)] * (len(calls) - len(outcomes))
        return outcomes

    return run


def judge_each(outcomes: Sequence[Outcome[Any]]) -> Verdict:
    """Judge a batch by its worst item, for the gates before it."""
    verdict = GOOD
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            verdict = worse(verdict, judge(outcome.error))
    return verdict._replace(again=False)
