"""Consume: pull deliveries from a source and dispatch them, bounded, in order per key.

Every delivery runs in a task and a Context of its own. Deliveries that share a key run one
after another in the order in which they were taken; those without a key, and different keys, run
side by side in `lanes`.
"""

import asyncio
from asyncio import CancelledError
from collections import deque
from contextvars import Context
from typing import Any, TypeVar

from switchgear.core.delivery import Delivery, Failed, Source, dispatch
from switchgear.core.handler import Handler

__all__ = ["consume"]

In = TypeVar("In")
Out = TypeVar("Out")


class _Lanes:
    """Who runs now, and who waits behind the same key or for a free lane."""

    def __init__(self, handler: Handler[Any, Any], lanes: int, parked: int) -> None:
        self.handler = handler
        self.free = lanes
        self.room = lanes + parked
        self.behind: dict[str, deque[Delivery[Any, Any]]] = {}
        self.ready: deque[Delivery[Any, Any]] = deque()
        self.tasks: dict[asyncio.Task[None], Delivery[Any, Any]] = {}
        self.unbegun: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        self.closing = False
        self.change = asyncio.Event()

    def accept(self, delivery: Delivery[Any, Any]) -> None:
        self.room -= 1
        key = delivery.call.key
        if key in self.behind:
            self.behind[key].append(delivery)
            return
        if key:
            self.behind[key] = deque()
        self.ready.append(delivery)
        self.start()

    def start(self) -> None:
        while self.free and self.ready and not self.closing:
            self.free -= 1
            delivery = self.ready.popleft()
            task = asyncio.get_running_loop().create_task(self.run(delivery), context=Context())
            self.tasks[task] = delivery
            self.unbegun.add(task)
            task.add_done_callback(self.ended)

    async def run(self, delivery: Delivery[Any, Any]) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.unbegun.discard(task)
        await dispatch(self.handler, delivery)

    def ended(self, task: "asyncio.Task[None]") -> None:
        delivery = self.tasks.pop(task)
        if task in self.unbegun:  # cancelled before its first step: nothing of it ran
            self.unbegun.discard(task)
            self.ready.appendleft(delivery)
        else:
            self.room += 1
            self.release(delivery.call.key)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)
        self.free += 1
        self.start()
        self.change.set()

    def release(self, key: str) -> None:
        behind = self.behind.get(key)
        if behind:
            self.ready.append(behind.popleft())
        elif behind is not None:
            del self.behind[key]

    async def roomy(self) -> None:
        """Wait until another delivery may be taken, or something failed."""
        while self.room <= 0 and not self.failures:
            self.change.clear()
            await self.change.wait()

    async def idle(self) -> None:
        """Wait until nothing runs, or something failed."""
        while self.tasks and not self.failures:
            self.change.clear()
            await self.change.wait()

    async def close(self) -> None:
        """Call off what runs, and settle everything that was taken and never began."""
        self.closing = True
        while self.tasks:
            for task in self.tasks:
                task.cancel()
            try:
                await asyncio.wait(set(self.tasks))
            except CancelledError:
                continue  # asked twice: the work has been told, and must settle all the same
        rest = [*self.ready, *(one for queue in self.behind.values() for one in queue)]
        for delivery in rest:
            try:
                await delivery.settle(Failed(CancelledError()))
            except Exception as error:  # noqa: BLE001 - the others must be settled all the same
                self.failures.append(error)


async def consume(
    source: Source[In, Out], handler: Handler[In, Out], *, lanes: int = 1, parked: int = 0
) -> None:
    """Dispatch what `source` yields, at most `lanes` at once, until it is drained.

    `parked` is how many more may wait behind a busy key or for a lane. Returns when the source gave
    None and everything taken is settled. When cancelled, it calls the running work off, settles
    everything, also what never began, and only then ends.

    Raises what `take` or the first failing `settle` raised, after the rest has been settled.
    """
    state = _Lanes(handler, lanes, parked)
    try:
        while not state.failures and (delivery := await source.take()) is not None:
            state.accept(delivery)
            await state.roomy()
        await state.idle()
    finally:
        await state.close()
    if state.failures:
        raise state.failures[0]
