"""The gateway's process: the public socket, the door behind it, and lanes to every service."""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from switchgear.assembly.bodies.refusals import server_metrics
from switchgear.assembly.bodies.serving import defects_to, requests_told, seated
from switchgear.assembly.bodies.trust import trusting
from switchgear.assembly.bodies.web import fault_seals
from switchgear.assembly.failures import StartError
from switchgear.assembly.roles import Answer, RoleContext
from switchgear.assembly.routes import ACCOUNTS, HEALTH, SERVICE, is_native, routes_of
from switchgear.assembly.topology import Endpoint, State, Topology
from switchgear.core.clock import FINE
from switchgear.core.observe import Observer
from switchgear.gateway.client_address import ClientAddress
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.upstream import Connector, Member, Upstream
from switchgear.http.memo import AnswerMemo
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.room import Room
from switchgear.http.server import Drive, Server
from switchgear.policy.breaker import Transition
from switchgear.policy.shedder import Shedder

__all__ = ["gateway"]

# One that is starting has no address yet, one that is down has none any more.
_ANSWERS: Final = 256  # heads of answers that are known by their bytes
_THERE: Final = frozenset({State.READY, State.UNROUTABLE, State.DRAINING})
_LAG_EVERY: Final = 0.05  # seconds between two looks at how late the loop runs


async def gateway(context: RoleContext) -> None:
    """Serve the public socket until drained."""
    settings = context.settings.gateway
    shedder = Shedder("gateway shedder", settings.shed)
    async with AsyncExitStack() as held:
        upstreams = _upstreams(context)
        for upstream in upstreams.values():
            held.push_async_callback(upstream.close)
        trust = await held.enter_async_context(trusting(context, upstreams.get(ACCOUNTS)))
        door = _door(context, upstreams, shedder, trust)
        server = Server(
            door.handler,
            seated(context, onward=_onward(context)),
            drive=Drive.EAGER,
            intake=door.intake,
            run=door.run,
            problem=door.problem,
            observer=requests_told(context.log, context.registry),
            several=ClientAddress(settings.trusted_proxies).trusts,
            on_defect=defects_to(context.log),
        )
        server.full = door.full()
        door.refused = server.refused
        server_metrics(context.registry, server)
        held.push_async_callback(server.stop)
        context.requests = lambda: server.counters.requests
        context.answers["upstreams"] = _answering(door, upstreams)
        held.callback(context.topology.subscribe(lambda told: _follow(upstreams, told)))
        watching = asyncio.create_task(_watch_lag(shedder))
        held.callback(watching.cancel)
        for sock in context.sockets:
            await server.start(sock, backlog=context.settings.listen.backlog)
        context.ready()
        await context.draining.wait()
        if not await server.drain(context.drain_within):
            context.give_up("requests were cut")


def _onward(context: RoleContext) -> int:
    """Count the connections that this process may have to others: of calls, and of sessions.

    A session has left the pool, and holds its connection for as long as its client likes.
    """
    settings = context.settings
    ours = settings.processes.services + 1  # the accounts
    endpoints = max(ours, sum(map(len, settings.peers.values())))
    return settings.gateway.endpoint_permits * endpoints + settings.http.sessions


def _upstreams(context: RoleContext) -> dict[str, Upstream]:
    transitions, room = _transitions(context), Room(context.settings.client.connections_in_all)
    seals = fault_seals(context)

    def unseal(sealed: str) -> str | None:
        return seals.unseal(sealed, time.time())

    return {
        service: Upstream(
            service,
            context.settings.gateway,
            _connector(context, room),
            random=random.random,
            transitions=transitions,
            unseal=unseal,
        )
        for service in ([SERVICE, ACCOUNTS] if is_native(context.app) else [SERVICE])
    }


def _door(
    context: RoleContext, upstreams: Mapping[str, Upstream], shedder: Shedder, trust: Trust
) -> Door:
    live, ready = HEALTH
    try:
        return Door(
            routes_of(context.app, context.settings.http.deadline),
            upstreams,
            trust,
            context.settings.gateway,
            local={
                live: lambda: (200, {"status": "live"}),
                ready: lambda: _ready(context, upstreams),
            },
            shedder=shedder,
        )
    except ValueError as error:
        raise StartError(f"the routes cannot be served: {error}") from None


def _ready(context: RoleContext, upstreams: Mapping[str, Upstream]) -> tuple[int, object]:
    """Say whether any route can be served, and what is degraded (never a reason to be unready).

    This is public: what is degraded is named, and why it is stays on the admin port.
    """
    serving = {name: upstream.serving for name, upstream in upstreams.items()}
    ready = any(serving.values()) and not context.leaving
    endpoints = context.topology.current.endpoints
    degraded = {reason.partition(":")[0] for one in endpoints for reason in one.degraded}
    degraded |= {name for name, serves in serving.items() if not serves}
    status = "ready" if ready else "unready"
    return 200 if ready else 503, {"status": status, "degraded": sorted(degraded)}


def _follow(upstreams: Mapping[str, Upstream], topology: Topology) -> None:
    for name, upstream in upstreams.items():
        upstream.update(_member(one) for one in topology.of(name) if one.state in _THERE)


def _member(endpoint: Endpoint) -> Member:
    routable = endpoint.state is State.READY
    return Member(endpoint.label, endpoint.address, endpoint.generation, routable)


def _connector(context: RoleContext, room: Room) -> Connector:
    """Return what connects to the processes of one service, which answer alike."""
    make = partial(
        Pool,
        settings=context.settings.client,
        stamp=deadline_line,
        room=room,
        memo=AnswerMemo(_ANSWERS),
    )

    def connect(name: str, address: str) -> Pool:
        kind, _, rest = address.partition(":")
        if kind == "unix":
            return make(path=rest, name=name)
        host, _, port = rest.rpartition(":")
        return make(host.strip("[]"), int(port), name=name)

    return connect


def _transitions(context: RoleContext) -> Observer:
    """Write every change of a breaker to the log, and count it."""
    counts = context.registry.counter(
        "breaker_transitions_total", "Changes of state.", ("breaker", "state")
    )

    def observe(event: Transition) -> None:
        counts.bind(event.name, event.new.value).add()
        context.log.warning(
            "breaker", breaker=event.name, old=event.old, new=event.new, why=event.why
        )

    return observe


def _answering(door: Door, upstreams: Mapping[str, Upstream]) -> Answer:
    async def answer(_: Any) -> Any:
        told: dict[str, Any] = {name: one.statistics() for name, one in upstreams.items()}
        return {**told, "gates": {gate.name: gate.statistics() for gate in door.gates}}

    return answer


async def _watch_lag(shedder: Shedder) -> None:
    """Feed the shedder with how late this loop runs."""
    while True:
        due = FINE() + _LAG_EVERY
        await asyncio.sleep(_LAG_EVERY)
        now = FINE()
        shedder.observe_lag(max(0.0, now - due), now)
