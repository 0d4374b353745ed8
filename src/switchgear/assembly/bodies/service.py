"""A service's process: the app's endpoints and mounted applications, behind the gateway."""

from contextlib import AsyncExitStack
from typing import Any

import msgspec

from switchgear.assembly.app import App
from switchgear.assembly.bodies.database import dsn_of, guarded
from switchgear.assembly.bodies.mounted import Mounts
from switchgear.assembly.bodies.serving import defects_to
from switchgear.assembly.bodies.web import serve
from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import SERVICE, app_of, is_native
from switchgear.binding.parameters import Unbindable
from switchgear.binding.schema import openapi
from switchgear.core.handler import Handler
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.http.message import JSON, Request, Response
from switchgear.policy.call import Call
from switchgear.ports.tables import Tables
from switchgear.services.host import Host
from switchgear.services.providers import http_providers

__all__ = ["service"]


async def service(context: RoleContext) -> None:
    """Serve the app to gateways until drained."""
    app = app_of(context.app)
    async with AsyncExitStack() as held:
        tables = await _tables(context, held) if is_native(context.app) else None
        mounts = Mounts(defects_to(context.log))
        try:
            host = Host(
                app.endpoints,
                app.mounts,
                tables=tables,
                providers=http_providers(),
                mounted=mounts.mounted,
                body_bytes=context.settings.http.body_bytes,
            )
        except Unbindable as error:
            raise StartError(f"the app cannot be bound: {error}") from None
        await held.enter_async_context(mounts)
        handler = _described(app, host) if is_native(context.app) else host
        await serve(context, SERVICE, handler)


async def _tables(context: RoleContext, held: AsyncExitStack) -> Tables:
    """Open the database as the application's role, and look after it."""
    dsn = dsn_of(context, "app")
    queue = PostgresQueue(dsn, name=context.label)
    held.push_async_callback(queue.close)
    return await held.enter_async_context(guarded(context, dsn, queue))


def _described(app: App, host: Host) -> Handler[Request, Response]:
    """Answer /openapi.json from the same types that bind the calls, and all else by the host."""
    document: Any = openapi(host.operations, title=app.name, version="1")
    schema = Response(200, JSON, msgspec.json.encode(document))

    async def handler(call: Call[Request]) -> Response:
        request = call.payload
        if request.path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return schema
        return await host(call)

    return handler
