"""A worker's process: the app's consumers on the queue."""

import asyncio
import random

from switchgear.assembly.bodies.database import dsn_of, watch
from switchgear.assembly.bound import unbound
from switchgear.assembly.roles import Answer, RoleContext
from switchgear.assembly.routes import app_of
from switchgear.binding.parameters import Unbindable
from switchgear.consumers.worker import Worker
from switchgear.core.observe import AttemptEnded, Event
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.call import Call
from switchgear.policy.crossing import declared
from switchgear.ports.broker import Received

__all__ = ["worker"]


async def worker(context: RoleContext) -> None:
    """Consume until drained."""
    dsn = dsn_of(context, "app")
    queue = PostgresQueue(dsn, name=context.label)
    tables = PostgresTables(dsn, name=context.label, outbox=queue)
    handled = context.registry.counter(
        "messages_handled_total", "Attempts at messages.", ("consumer", "health")
    )
    attempts = 0

    def observe(event: Event) -> None:
        nonlocal attempts
        if isinstance(event, AttemptEnded):
            attempts += 1
            handled.bind(event.name, event.verdict.health.value).add()

    def failed(consumer: str, error: BaseException) -> None:
        fault = declared(error)
        detail = repr(error) if fault is None else fault.detail
        context.log.warning("consumer interrupted", consumer=consumer, detail=detail)

    def attempt_failed(consumer: str, call: Call[Received], error: Exception) -> None:
        told = {"consumer": consumer, "message": call.payload.message.id, "attempt": call.attempt}
        fault = declared(error)
        if fault is not None:
            context.log.warning("message failed", **told, code=fault.code, detail=fault.detail)
        else:
            context.log.failed("message failed by a defect", error, **told)

    try:
        running = Worker(
            app_of(context.app).subscriptions,
            broker=queue,
            tables=tables,
            providers={},
            random=random.random,
            on_failure=failed,
            on_attempt=attempt_failed,
            observe=observe,
        )
    except (Unbindable, ValueError) as error:
        raise unbound(error) from None
    context.requests = lambda: attempts
    context.answers["consumers"] = _answering(running)
    watching = asyncio.create_task(watch(context, tables))
    work = asyncio.create_task(running.run())
    try:
        context.ready()
        draining = asyncio.create_task(context.draining.wait())
        await asyncio.wait({draining, work}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        running.drain()
        done, _ = await asyncio.wait({work}, timeout=context.drain_within)
        if not done:
            context.log.warning("work was called off: the drain took too long")
        else:
            work.result()  # a worker that ended by itself has a defect to tell
    finally:
        watching.cancel()
        work.cancel()
        await asyncio.gather(watching, work, return_exceptions=True)
        await tables.close()
        await queue.close()


def _answering(running: Worker) -> Answer:
    async def answer(_: object) -> object:
        return running.statistics()

    return answer
