"""A worker's process: the app's consumers on the queue."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from switchgear.assembly.bodies.database import dsn_of, guarded
from switchgear.assembly.bound import unbound
from switchgear.assembly.roles import Answer, RoleContext
from switchgear.assembly.routes import app_of
from switchgear.binding.parameters import Unbindable
from switchgear.consumers.worker import Worker
from switchgear.core.clock import FINE
from switchgear.core.observe import AttemptEnded, Event
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.policy.call import Call
from switchgear.policy.crossing import declared
from switchgear.policy.fault import Fault
from switchgear.ports.broker import Received
from switchgear.ports.tables import Tables
from switchgear.telemetry.logs import Log

__all__ = ["worker"]

_STATES: Final = ("ready", "leased", "delayed", "dead", "expired")
_COUNTED_EVERY: Final = 10.0  # seconds
_COUNTED_WITHIN: Final = 2.0


async def worker(context: RoleContext) -> None:
    """Consume until drained."""
    dsn = dsn_of(context, "app")
    queue = PostgresQueue(dsn, name=context.label)
    try:
        async with guarded(context, dsn, queue) as tables:
            await _consume(context, queue, tables)
    finally:
        await queue.close()


async def _consume(context: RoleContext, queue: PostgresQueue, tables: Tables) -> None:
    handled = context.registry.counter(
        "messages_handled_total", "Attempts at messages.", ("consumer", "health")
    )
    attempts = 0

    def observe(event: Event) -> None:
        nonlocal attempts
        if isinstance(event, AttemptEnded):
            attempts += 1
            handled.bind(event.name, event.verdict.health.value).add()

    app = app_of(context.app)
    try:
        running = Worker(
            app.subscriptions,
            broker=queue,
            tables=tables,
            providers={},
            random=random.random,
            on_failure=_interrupted(context.log),
            on_attempt=_failed(context.log),
            observe=observe,
        )
    except (Unbindable, ValueError) as error:
        raise unbound(error) from None
    context.requests = lambda: attempts
    context.answers["consumers"] = _answering(running)
    work = asyncio.create_task(running.run())
    counting = asyncio.create_task(_count(context, queue, {one.topic for one in app.subscriptions}))
    try:
        context.ready()
        draining = asyncio.create_task(context.draining.wait())
        await asyncio.wait({draining, work}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        running.drain()
        done, _ = await asyncio.wait({work}, timeout=context.drain_within)
        if not done:
            context.give_up("work was called off")
        else:
            work.result()  # a worker that ended by itself has a defect to tell
    finally:
        work.cancel()
        counting.cancel()
        await asyncio.gather(work, counting, return_exceptions=True)


async def _count(context: RoleContext, queue: PostgresQueue, topics: set[str]) -> None:
    """Tell, again and again, how many messages there are in each state.

    While the database does not say, it is the last that is known.
    """
    family = context.registry.gauge(
        "queue_messages", "Messages of the queue, in all processes.", ("topic", "state")
    )
    known = {(topic, state) for topic in topics for state in _STATES}
    while True:
        try:
            found = await queue.depths(FINE() + _COUNTED_WITHIN)
        except Fault:
            pass  # of which the watch over the database tells
        except Exception as error:  # noqa: BLE001 - a defect, told, ends no count for good
            context.log.failed("the messages of the queue could not be counted", error)
        else:
            depths = {(topic, state): n for topic, states in found.items()
                      for state, n in states.items()}  # fmt: skip
            known |= depths.keys()
            for labels in known:
                family.bind(*labels).put(depths.get(labels, 0))
        await asyncio.sleep(_COUNTED_EVERY)


def _interrupted(log: Log) -> Callable[[str, BaseException], None]:
    def told(consumer: str, error: BaseException) -> None:
        fault = declared(error)
        detail = repr(error) if fault is None else fault.detail
        log.warning("consumer interrupted", consumer=consumer, detail=detail)

    return told


def _failed(log: Log) -> Callable[[str, Call[Received], Exception], None]:
    def told(consumer: str, call: Call[Received], error: Exception) -> None:
        which = {"consumer": consumer, "message": call.payload.message.id, "attempt": call.attempt}
        fault = declared(error)
        if fault is not None:
            log.warning("message failed", **which, code=fault.code, detail=fault.detail)
        else:
            log.failed("message failed by a defect", error, **which)

    return told


def _answering(running: Worker) -> Answer:
    async def answer(_: object) -> object:
        return running.statistics()

    return answer
