"""Serving HTTP at a role's endpoint, for gateways only, until the role is drained."""

from switchgear.assembly.bodies.serving import defects_to, listen_at, request_metrics
from switchgear.assembly.roles import RoleContext
from switchgear.core.handler import Handler
from switchgear.http.message import Request, Response
from switchgear.http.problem import problem_within
from switchgear.http.server import Drive, Server
from switchgear.identity.internal import InternalTokens
from switchgear.identity.shared import SharedKeys
from switchgear.policy.fault import Fault
from switchgear.services.intake import Intake

__all__ = ["internal_tokens", "serve"]


def internal_tokens(context: RoleContext) -> InternalTokens:
    """Return the maker and checker of internal tokens of this boot."""
    return InternalTokens(SharedKeys({"boot": context.boot_key}, "boot"))


async def serve(context: RoleContext, service: str, handler: Handler[Request, Response]) -> None:
    """Serve `handler` to gateways, user code in each connection's own task, until drained."""
    server = Server(
        handler,
        context.settings.http,
        drive=Drive.PARKED,
        intake=Intake(internal_tokens(context), service),
        problem=lambda fault: _within(context, fault),
        observer=request_metrics(context.registry),
        on_defect=defects_to(context.log),
    )
    context.requests = lambda: server.counters.requests
    await server.start(listen_at(context.post.endpoint), backlog=4096)
    try:
        context.ready()
        await context.draining.wait()
        if not await server.drain(context.drain_within):
            context.log.warning("requests were cut: the drain took too long")
    finally:
        await server.stop()


def _within(context: RoleContext, fault: Fault) -> Response:
    return problem_within(fault, context.name)
