"""Several roles on one loop, in one process: how `switchgear dev` runs a whole system.

To its supervisor this is one role; to the roles it is a supervisor: each gets a context and a
topology of its own, all become ready together, and they are drained by rank.
"""

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import Any

from switchgear.assembly.messages import Degraded, Ready, RoleSpec, Upward
from switchgear.assembly.roles import Post, Role, RoleContext
from switchgear.assembly.running import run_body
from switchgear.assembly.target import load_object
from switchgear.assembly.topology import Endpoint, State, Topology

__all__ = ["BODY", "WHOLE", "together"]

BODY = "switchgear.assembly.together:together"
WHOLE = "dev"
"""The role that is a whole system."""


class _Guest:
    """One role among those that share the process."""

    def __init__(self, spec: RoleSpec, host: RoleContext, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.address = ""
        self._host = host
        self._changed = changed
        endpoint = f"{host.post.endpoint}.{spec.name}" if spec.serves else ""
        self.context = RoleContext(
            Post(spec.name, 1, host.post.generation, endpoint),
            host.settings,
            host.log,
            app=host.app,
            boot_key=host.boot_key,
            sockets=host.sockets if spec.public else (),
            offers=host.offers,
            tell=self._tell,
        )
        self.work: asyncio.Task[int] | None = None

    def start(self) -> asyncio.Task[int]:
        """Run the role's body."""
        body: Role = load_object(self.spec.body)
        self.work = asyncio.get_running_loop().create_task(
            run_body(self.context, body), name=self.spec.name
        )
        return self.work

    def drain(self, within: float) -> None:
        """Ask the role to finish."""
        self.state = State.DRAINING
        self.context.drain(within)
        self._changed()

    def _tell(self, message: Upward) -> None:
        if isinstance(message, Ready):
            self.state, self.address = State.READY, message.address
            self._changed()
        elif isinstance(message, Degraded):
            reasons = "; ".join(message.reasons) or None
            self._host.degraded(self.spec.name, reasons)


async def together(context: RoleContext) -> None:
    """Run every role of `context.inside` in this process."""
    guests: list[_Guest] = []

    def changed() -> None:
        topology = Topology(
            guests[0].context.topology.current.version + 1,
            tuple(
                Endpoint(one.spec.name, 1, one.address, one.state, context.post.generation)
                for one in guests
                if one.spec.serves
            ),
        )
        for guest in guests:
            guest.context.topology.put(topology)
        if all(one.state is State.READY for one in guests):
            for guest in guests:
                context.answers.update(guest.context.answers)
            context.ready()

    async def metrics(_: Any) -> Any:
        shots = [guest.context.registry.snapshot() for guest in guests]
        return sum(shots, context.registry.snapshot())

    context.answers["metrics"] = metrics
    guests += [_Guest(spec, context, changed) for spec in context.inside]
    context.requests = lambda: sum(one.context.requests() for one in guests if one.spec.public)
    works = [guest.start() for guest in guests]
    asked = asyncio.ensure_future(context.draining.wait())
    await asyncio.wait((asked, *works), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    try:
        await _drain(guests, context.drain_within if context.draining.is_set() else 0.0)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
    for work in works:
        if not work.cancelled():
            work.result()  # a role that cannot start says so here


async def _drain(guests: list[_Guest], within: float) -> None:
    ranked = sorted(guests, key=lambda guest: guest.spec.rank)
    for _, stage in groupby(ranked, key=lambda guest: guest.spec.rank):
        works = []
        for guest in stage:
            guest.drain(within)
            works.append(guest.work)
        await asyncio.wait([work for work in works if work is not None], timeout=within)
