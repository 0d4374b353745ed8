"""The gateway's process: the public socket, the door behind it, and lanes to every service."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final

from switchgear.assembly.bodies.serving import defects_to, request_log, request_metrics
from switchgear.assembly.bodies.trust import trust_of
from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import RoleContext
from switchgear.assembly.routes import ACCOUNTS, SERVICE, is_native, routes_of
from switchgear.assembly.topology import Endpoint, State, Topology
from switchgear.core.clock import FINE
from switchgear.core.observe import fan_out
from switchgear.gateway.door import Door, Trust
from switchgear.gateway.upstream import Connector, Member, Upstream
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.server import Drive, Server
from switchgear.policy.breaker import Transition
from switchgear.policy.shedder import Shedder, ShedderSettings

__all__ = ["gateway"]

# One that is starting has no address yet, one that is down has none any more.
_THERE: Final = frozenset({State.READY, State.UNROUTABLE, State.DRAINING})
_LAG_EVERY: Final = 0.05  # seconds between two looks at how late the loop runs


async def gateway(context: RoleContext) -> None:
    """Serve the public socket until drained."""
    settings = context.settings.gateway
    transitions = _transitions(context)
    upstreams = {
        service: Upstream(
            service,
            settings,
            _connector(context),
            random=random.random,
            observe=transitions,
        )
        for service in ([SERVICE, ACCOUNTS] if is_native(context.app) else [SERVICE])
    }
    shedder = Shedder("gateway shedder", ShedderSettings())
    door = _door(context, upstreams, shedder, trust_of(context, upstreams.get(ACCOUNTS)))
    server = Server(
        door.handler,
        context.settings.http,
        drive=Drive.EAGER,
        intake=door.intake,
        problem=door.problem,
        observer=fan_out(request_log(context.log), request_metrics(context.registry)),
        on_defect=defects_to(context.log),
    )
    context.requests = lambda: server.counters.requests
    context.answers["upstreams"] = _answering(upstreams)
    unfollow = context.topology.subscribe(lambda topology: _follow(upstreams, topology))
    watching = asyncio.create_task(_watch_lag(shedder))
    try:
        for sock in context.sockets:
            await server.start(sock, backlog=context.settings.listen.backlog)
        context.ready()
        await context.draining.wait()
        if not await server.drain(context.drain_within):
            context.log.warning("requests were cut: the drain took too long")
    finally:
        watching.cancel()
        unfollow()
        await server.stop()
        for upstream in upstreams.values():
            await upstream.close()


def _door(
    context: RoleContext, upstreams: Mapping[str, Upstream], shedder: Shedder, trust: Trust
) -> Door:
    try:
        return Door(
            routes_of(context.app),
            upstreams,
            trust,
            context.settings.gateway,
            local={
                "/health/live": lambda: (200, {"status": "live"}),
                "/health/ready": lambda: _ready(context, upstreams),
            },
            shedder=shedder,
        )
    except ValueError as error:
        raise StartError(f"the routes cannot be served: {error}") from None


def _ready(context: RoleContext, upstreams: Mapping[str, Upstream]) -> tuple[int, object]:
    """Say whether any route can be served, and what is degraded (never a reason to be unready)."""
    serving = {name: upstream.serving for name, upstream in upstreams.items()}
    ready = any(serving.values()) and not context.draining.is_set()
    degraded = sorted(
        {reason for one in context.topology.current.endpoints for reason in one.degraded}
        | {f"{name}: no process is ready" for name, serves in serving.items() if not serves}
    )
    status = "ready" if ready else "unready"
    return 200 if ready else 503, {"status": status, "degraded": degraded}


def _follow(upstreams: Mapping[str, Upstream], topology: Topology) -> None:
    for name, upstream in upstreams.items():
        upstream.update(_member(one) for one in topology.of(name) if one.state in _THERE)


def _member(endpoint: Endpoint) -> Member:
    routable = endpoint.state is State.READY
    return Member(endpoint.label, endpoint.address, endpoint.generation, routable)


def _connector(context: RoleContext) -> Connector:
    settings = context.settings.client

    def connect(name: str, address: str) -> Pool:
        kind, _, rest = address.partition(":")
        if kind == "unix":
            return Pool(settings=settings, path=rest, name=name, stamp=deadline_line)
        host, _, port = rest.rpartition(":")
        return Pool(host.strip("[]"), int(port), settings, name=name, stamp=deadline_line)

    return connect


def _transitions(context: RoleContext) -> Any:
    """Write every change of a breaker to the log, and count it."""
    counts = context.registry.counter(
        "breaker_transitions_total", "Changes of state.", ("breaker", "state")
    )

    def observe(event: Any) -> None:
        if isinstance(event, Transition):
            counts.bind(event.name, event.new.value).add()
            context.log.warning(
                "breaker", breaker=event.name, old=event.old, new=event.new, why=event.why
            )

    return observe


def _answering(upstreams: Mapping[str, Upstream]) -> Any:
    async def answer(_: Any) -> Any:
        return {name: upstream.statistics() for name, upstream in upstreams.items()}

    return answer


async def _watch_lag(shedder: Shedder) -> None:
    """Feed the shedder with how late this loop runs."""
    while True:
        due = FINE() + _LAG_EVERY
        await asyncio.sleep(_LAG_EVERY)
        now = FINE()
        shedder.observe_lag(max(0.0, now - due), now)
