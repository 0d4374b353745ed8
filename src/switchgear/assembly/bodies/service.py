"""A service's process: the app's endpoints and mounted applications, behind the gateway."""

from contextlib import AsyncExitStack

from switchgear.assembly.bodies.database import FOR_REQUESTS, dsn_of, guarded
from switchgear.assembly.bodies.mounted import Mounts
from switchgear.assembly.bodies.serving import defects_to
from switchgear.assembly.bodies.web import fair, problem_of, serve, turns_of
from switchgear.assembly.bound import unbound
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import SERVICE, app_of, declared, is_native
from switchgear.binding.parameters import Unbindable
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.engines.postgres.records import PostgresRecords
from switchgear.ports.tables import Tables
from switchgear.services.forgetting import forgetting
from switchgear.services.host import Host
from switchgear.services.keyed import OUTCOMES, Keeping
from switchgear.services.providers import http_providers

__all__ = ["service"]


async def service(context: RoleContext) -> None:
    """Serve the app to gateways until drained."""
    app, native = app_of(context.app), is_native(context.app)
    async with AsyncExitStack() as held:
        tables = await _tables(context, held) if native else None
        keeping = None if tables is None else await _keeping(context, tables, held)
        mounts = Mounts(defects_to(context.log))
        try:
            endpoints, mounted = declared(app, context.settings.http.deadline)
            host = Host(
                SERVICE,
                endpoints,
                mounted,
                tables=tables,
                providers=http_providers(),
                mounted=mounts.mounted,
                title=app.name if native else "",
                body_bytes=context.settings.http.body_bytes,
                fair=fair(context),
                keeping=keeping,
                turns=turns_of(context),
            )
        except (Unbindable, ValueError) as error:
            raise unbound(error) from None
        await held.enter_async_context(mounts)
        await serve(context, SERVICE, host)


async def _keeping(context: RoleContext, tables: Tables, held: AsyncExitStack) -> Keeping:
    """Record outcomes of requests with keys, and forget those that have expired.

    It is the services that do: they write them, and an app without consumers has no workers.
    """
    settings = context.settings.idempotency
    records = PostgresRecords(settings.keep)

    def defect(error: Exception) -> None:
        context.log.failed("expired outcomes could not be removed", error)

    await held.enter_async_context(forgetting(records, tables, defect))
    family = context.registry.counter(
        "idempotency_requests_total", "Requests with an idempotency key.", ("outcome",)
    )
    counts = {outcome: family.bind(outcome) for outcome in OUTCOMES}
    return Keeping(
        records, settings.answer_bytes, problem_of(context), lambda outcome: counts[outcome].add()
    )


async def _tables(context: RoleContext, held: AsyncExitStack) -> Tables:
    """Open the database as the application's role, and look after it."""
    dsn = dsn_of(context, "app")
    queue = PostgresQueue(dsn, name=context.label)
    held.push_async_callback(queue.close)
    return await held.enter_async_context(guarded(context, dsn, queue, FOR_REQUESTS))
