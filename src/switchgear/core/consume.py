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

from switchgear.core.delivery import Delivery, Source, dispatch, settled
from switchgear.core.drivers import working
from switchgear.core.handler import Handler
from switchgear.core.outcome import Failed
from switchgear.policy.call import Call

__all__ = ["consume"]

In = TypeVar("In")
Out = TypeVar("Out")
Run = asyncio.Task[None]


class _Lanes:
    """Who runs now, and who waits behind the same key or for a free lane."""

    def __init__(self, handler: Handler[Any, Any], lanes: int, parked: int) -> None:
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.free = lanes
        self.room = lanes + parked
        self.behind: dict[str, deque[Delivery[Any, Any]]] = {}
        self.ready: deque[Delivery[Any, Any]] = deque()
        self.tasks: dict[Run, Delivery[Any, Any]] = {}
        self.unbegun: set[Run] = set()
        self.settling: set[Run] = set()
        self.failures: list[BaseException] = []
        self.closing = False
        self.taking = False
        self.interrupted = False
        self.driver = working()
        self.change = asyncio.Event()

    async def take(self, source: Source[Any, Any]) -> bool:
        """Accept the next delivery; False when there is none, or something failed meanwhile."""
        asked = self.driver.cancelling()
        self.taking = True
        try:
            delivery = await source.take()
        except CancelledError:
            if self.interrupted and self.driver.cancelling() - 1 <= asked:
                return False
            raise
        finally:
            self.taking = False
            if self.interrupted:
                self.driver.uncancel()
        if delivery is None:
            return False
        self.accept(delivery)
        return not self.failures

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
        # After a failure nothing begins: what waits behind the same key must not overtake it.
        while self.free and self.ready and not self.closing and not self.failures:
            self.free -= 1
            delivery = self.ready.popleft()
            # Not by loop.create_task: an eager task factory would run it before it is known here.
            task = asyncio.Task(self.run(delivery), loop=self.loop, context=Context())
            self.tasks[task] = delivery
            self.unbegun.add(task)
            task.add_done_callback(self.ended, context=Context())

    async def run(self, delivery: Delivery[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self.unbegun.discard(task)

        async def handle(call: Call[Any]) -> Any:
            try:
                return await self.handler(call)
            finally:
                self.settling.add(task)

        await dispatch(handle, delivery)

    def ended(self, task: Run) -> None:
        delivery = self.tasks.pop(task)
        self.settling.discard(task)
        if task in self.unbegun:  # cancelled before its first step: nothing of it ran
            self.unbegun.discard(task)
            self.ready.appendleft(delivery)
        else:
            self.room += 1
            self.release(delivery.call.key)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)
            if self.taking and not self.interrupted:  # an idle source would hide it for ever
                self.interrupted = True
                self.driver.cancel()
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

    async def close(self) -> CancelledError | None:
        """Call off what runs, and settle everything that was taken and never began.

        A settlement that is under way is left to end, unless this itself is called off: an
        acknowledgement cut in two is an effect that is done twice. Returns that cancellation.
        """
        self.closing = True
        called_off: CancelledError | None = None
        while self.tasks:
            for task in self.tasks:
                if called_off is not None or task not in self.settling:
                    task.cancel()
            try:
                await asyncio.wait(set(self.tasks))
            except CancelledError as error:
                called_off = error
        for delivery in [*self.ready, *(one for line in self.behind.values() for one in line)]:
            try:
                await settled(delivery, Failed(CancelledError()))
            except CancelledError as error:  # the others must be settled all the same
                called_off = error
            except Exception as error:  # noqa: BLE001 - as above
                self.failures.append(error)
        return called_off

    def report(self) -> None:
        """Tell the loop of failures that nobody will see raised."""
        for error in self.failures:
            if not isinstance(error, CancelledError):
                self.loop.call_exception_handler(
                    {"message": "consuming failed, too, in another way", "exception": error}
                )


async def consume(
    source: Source[In, Out], handler: Handler[In, Out], *, lanes: int = 1, parked: int = 0
) -> None:
    """Dispatch what `source` yields, at most `lanes` at once, until it is drained.

    `parked` is how many more may wait behind a busy key or for a lane. Returns when the source gave
    None and everything taken is settled. When cancelled, it calls the running work off, settles
    everything, also what never began, and only then ends.

    Raises what `take` or the first failing `settle` raised, after the rest has been settled.
    """
    if lanes < 1 or parked < 0:
        raise ValueError(f"lanes={lanes}, parked={parked}: from 1 and from 0 would be right")
    state = _Lanes(handler, lanes, parked)
    ending: BaseException | None = None
    try:
        while not state.failures and await state.take(source):
            await state.roomy()
        await state.idle()
    except GeneratorExit:
        raise  # thrown away: nothing can be awaited any more
    except BaseException as error:  # noqa: BLE001 - raised again when all is settled
        ending = error
    if ending is not None:
        state.failures.insert(0, ending)
    ending = await state.close()
    if ending is None and state.failures:
        ending = state.failures.pop(0)
    state.report()
    if ending is not None:
        raise ending
