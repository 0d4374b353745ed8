"""Serving HTTP at a role's endpoint, for gateways only, until the role is drained."""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from switchgear.assembly.bodies.refusals import server_metrics
from switchgear.assembly.bodies.serving import (
    cuts_told,
    defects_to,
    listen_at,
    request_metrics,
    seated,
)
from switchgear.assembly.roles import RoleContext
from switchgear.gateway.patience import attempts_of
from switchgear.http.message import Response
from switchgear.http.problem import problem_within
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.identity.internal import InternalTokens
from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.policy.fault import Fault
from switchgear.services.endpoint import Endpoint, Mount
from switchgear.services.host import Fair, Host
from switchgear.services.intake import MARGIN, Intake
from switchgear.services.turns import Taken, Turns

__all__ = ["fair", "fault_seals", "internal_tokens", "problem_of", "serve", "turns_of"]

# What a gateway adds to a head that it has accepted.
_MORE_BYTES: Final = 8 << 10
_MORE_LINES: Final = 16
_LATER: Final = 3  # times the gateway's own patience with a body, or with a reader
# Connections that a service's own work may hold: databases, dependencies.
_OWN: Final = 256


def internal_tokens(context: RoleContext) -> InternalTokens:
    """Return the maker and checker of internal tokens of this boot."""
    return InternalTokens(SharedKeys({"boot": context.boot_key}, "boot"))


def fault_seals(context: RoleContext) -> Seals:
    """Return what seals the faults that cross from one process of this boot to another."""
    return Seals(SharedKeys({"boot": context.boot_key}, "boot"), "fault")


def fair(context: RoleContext) -> Fair:
    """Say, as the gateways are configured, what an attempt gets of its route's deadline."""
    settings = context.settings.gateway

    def allowed(one: Endpoint | Mount, repeatable: bool) -> float:
        attempts = attempts_of(one.deadline, one.attempt_timeout, settings)
        return MARGIN * attempts.allow(one.deadline, repeatable=repeatable)

    return allowed


def problem_of(context: RoleContext) -> Callable[[Fault], Response]:
    """Return what answers gateways with a fault, all of it, sealed as one of this boot."""
    seals = fault_seals(context)

    def seal(text: str) -> str:
        return seals.seal(text, time.time())

    return lambda fault: problem_within(fault, context.name, seal)


def turns_of(context: RoleContext) -> Turns:
    """Return who waits for the event loop of a service, and tell of it."""

    def tell(narrowed: list[Taken]) -> None:
        for one in narrowed:
            context.log.warning(
                "route narrowed",
                route=one.name,
                at_once=one.at_once,
                ms=round(one.seconds * 1000, 1),
                share=round(one.share, 2),
                why="it takes the event loop from the others",
            )
        if not narrowed:
            context.log.warning("routes no longer narrowed")
        words = ", ".join(f"{one.name} ({one.seconds * 1000:.0f} ms a call)" for one in narrowed)
        context.degraded("event loop", f"it is taken by {words}" if words else None)

    turns = Turns(context.settings.loop, tell=tell)
    context.late.append(turns.look)
    context.registry.sampled(
        "event_loop_refused_total",
        "Calls that waited too long for the event loop.",
        lambda: turns.refused,
        "counter",
    )
    return turns


async def serve(context: RoleContext, service: str, host: Host) -> None:
    """Serve `host` to gateways, user code in each connection's own task, until drained."""
    within = problem_of(context)
    server = Server(
        host,
        _within_reach(seated(context, onward=_OWN)),
        drive=Drive.PARKED,
        intake=Intake(internal_tokens(context), service),
        run=host.run,
        problem=lambda fault, _: within(fault),
        observer=request_metrics(context.registry, cuts_told(context.log)),
        on_defect=defects_to(context.log),
    )
    server_metrics(context.registry, server)
    context.requests = lambda: server.counters.requests
    await server.start(listen_at(context.post.endpoint), backlog=4096)
    try:
        context.ready()
        await context.draining.wait()
        if not await server.drain(context.drain_within):
            context.give_up("requests were cut")
    finally:
        await server.stop()


def _within_reach(settings: ServerSettings) -> ServerSettings:
    """Leave the limits to the gateways: what they let through is let in here, whole.

    All the connections of one gateway come from one address. A client that is slow makes its
    gateway slow towards us: to say so, and to count it, is for the gateway, so we wait longer.
    """
    return replace(
        settings,
        head_bytes=settings.head_bytes + _MORE_BYTES,
        head_lines=settings.head_lines + _MORE_LINES,
        body_grace=settings.body_grace * _LATER,
        write_timeout=settings.write_timeout * _LATER,
        connections_per_address=settings.connections,
    )
