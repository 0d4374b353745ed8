"""One role by itself, in the foreground: what a container runs (`switchgear run ROLE APP`).

No supervisor: the orchestrator restarts it, SIGTERM drains it, its peers are named by
configuration, it binds its own socket, and it logs to standard output.
"""

import asyncio
import faulthandler
import hashlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from switchgear.assembly.allocator import tune
from switchgear.assembly.control import ControlServer
from switchgear.assembly.failures import StartError, told
from switchgear.assembly.kernel import allow_descriptors
from switchgear.assembly.listen import address_of, bind
from switchgear.assembly.messages import Degraded, Ready, RoleSpec, Upward
from switchgear.assembly.peers import check_peers
from switchgear.assembly.roles import Plan, Post, Role, RoleContext
from switchgear.assembly.running import LogWatch, equip, freeze, loop_factory, run_body, stops
from switchgear.assembly.settings import Settings
from switchgear.assembly.single import Single, control_path
from switchgear.assembly.target import Target, load_object, load_target
from switchgear.assembly.topology import Endpoint, State, Topology, TopologyFeed
from switchgear.telemetry.bridge import bridge_structlog
from switchgear.telemetry.logs import Log
from switchgear.telemetry.process import LagProbe

__all__ = ["choose_role", "run_alone"]


def choose_role(plan: Plan, name: str) -> RoleSpec:
    """Return a role of the plan.

    Raises:
        StartError: there is none of that name, or it needs what only `up` starts.
    """
    for spec in plan.roles:
        if spec.name == name:
            inner = [one for one in plan.auxiliaries if not one.external]
            needed = [one.name for one in inner if spec.offers != ()]
            if needed:
                raise StartError(
                    f"the role {name!r} needs {', '.join(needed)}, which only `switchgear up` "
                    "starts; configure one of your own (database.url)"
                )
            return spec
    names = ", ".join(spec.name for spec in plan.roles)
    raise StartError(f"there is no role {name!r}; there are: {names}")


def run_alone(
    plan: Plan,
    spec: RoleSpec,
    settings: Settings,
    target: Target,
    log: Log,
    unprinted: Callable[[], int],
    *,
    admin: bool = False,
) -> int:
    """Run one role of a plan until it is told to end; return the exit code.

    `unprinted` counts the lines that this process prints and nobody takes. With `admin` it has an
    admin port of its own.

    What it needs of external auxiliaries is prepared first: schemas, migrations, under their lock.

    Raises:
        StartError: something outside must change before it can start.
        SettingsError: peers are named of a role that there is not.
    """
    allow_descriptors()
    tune(os.environ)
    body: Role = load_object(spec.body)
    app = load_target(target) if spec.app else None
    bridge_structlog(log)
    listen = settings.listen
    sockets: tuple[socket.socket, ...] = ()
    endpoint = ""
    if spec.public:
        sockets = (bind(listen.host, listen.port, listen.backlog),)
        endpoint = "tcp:{}:{}".format(*address_of(sockets[0]))
    elif spec.serves:
        endpoint = f"tcp:{listen.host}:{listen.port}"
    office: socket.socket | None = None
    if admin and plan.admin is not None:
        office = bind(settings.admin.host, settings.admin.port, 128, setting="admin")
    heard = _Told(log)
    context = RoleContext(
        Post(spec.name, endpoint=endpoint),
        settings,
        log,
        app=app,
        boot_key=_key(settings, log),
        sockets=sockets,
        topology=TopologyFeed(_peers(settings, plan, spec, log)),
        unprinted=unprinted,
        tell=heard,
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(context, body, plan, spec, _Admin(plan, office, heard)))


async def _run(
    context: RoleContext, body: Role, plan: Plan, spec: RoleSpec, admin: "_Admin"
) -> int:
    loop = asyncio.get_running_loop()
    probe, watch = equip(context, loop), LogWatch(context)
    async with admin.open(context, probe) as beat:  # before a database that may have one wait
        looks = (watch.look, beat)
        looking = loop.create_task(_looking(looks, context.settings.supervisor.beat))
        preparing = loop.create_task(_prepare(context, plan, spec))
        work = loop.create_task(_work(context, body, preparing))
        for number in stops():
            loop.add_signal_handler(number, _drain, context, spec, preparing, work)
        try:
            return await work
        except asyncio.CancelledError:
            if preparing.cancelled():
                context.log.info("ended before it had begun, as asked")
                return 0
            context.log.warning("ended without draining, as asked twice")
            return 1
        finally:
            looking.cancel()
            watch.look(last=True)
            probe.stop()


async def _prepare(context: RoleContext, plan: Plan, spec: RoleSpec) -> None:
    offers: dict[str, str] = {}
    for auxiliary in plan.auxiliaries if spec.offers != () else ():
        await auxiliary.start()
        offers |= auxiliary.offers()
    wanted = spec.offers
    context.offers = {
        name: value for name, value in offers.items() if wanted is None or name in wanted
    }


async def _work(context: RoleContext, body: Role, preparing: asyncio.Task[None]) -> int:
    await preparing
    return await run_body(context, body)


async def _looking(looks: tuple[Callable[[], None], ...], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        for look in looks:
            look()


def _drain(
    context: RoleContext, spec: RoleSpec, preparing: asyncio.Task[None], work: asyncio.Task[int]
) -> None:
    timings = context.settings.supervisor
    if context.leaving or not preparing.done():
        context.leaving = True
        preparing.cancel()
        work.cancel()
        # Not everything can be cancelled: a thread goes on, and would be waited for, longer than
        # this loop lives. Then the stacks tell what it was, and the process ends.
        faulthandler.dump_traceback_later(timings.drain_least, exit=True)
        return
    after = timings.lame_duck if spec.public or spec.serves else 0.0
    # Two signals at one moment are one to the kernel: who sends another can tell by this line.
    context.log.info("asked to end", lame_duck=after)
    context.drain(timings.drain - after, after)


class _Told:
    """Takes what a role says to whoever hosts it."""

    def __init__(self, log: Log) -> None:
        self.ready = False
        self._log = log

    def __call__(self, message: Upward) -> None:
        if isinstance(message, Ready):
            if not self.ready:
                self.ready = True
                freeze()
            self._log.info("ready", address=message.address)
        elif isinstance(message, Degraded):
            self._log.warning("degraded", reasons=message.reasons)


class _Admin(NamedTuple):
    """The admin port of this process, if it is to have one."""

    plan: Plan
    sock: socket.socket | None
    heard: _Told

    @asynccontextmanager
    async def open(
        self, context: RoleContext, probe: LagProbe
    ) -> AsyncIterator[Callable[[], None]]:
        """Serve it; gives what takes the figures that it tells of.

        Raises StartError where its token cannot be kept, or trusted.
        """
        if self.sock is None or self.plan.admin is None:
            yield lambda: None
            return
        address = "http://{}:{}".format(*address_of(self.sock))
        with control_path() as path:
            single = Single(context, probe, address, path, lambda: self.heard.ready)
            try:
                served = self.plan.admin(single, self.sock)
            except OSError as error:
                raise StartError(
                    f"the admin port's token cannot be kept: {error.filename}: {told(error)}; "
                    "configure one (trust.admin_token), or a data folder that can be written"
                ) from None
            control = ControlServer(path, context.answers)
            await control.start()
            await served.start()
            context.log.info("admin port", address=address)
            try:
                yield single.beat
            finally:
                await served.stop()
                await control.stop()


def _key(settings: Settings, log: Log) -> bytes:
    """Return the 32 bytes that internal tokens are made with."""
    secret = settings.trust.internal_key
    if secret is not None:
        return hashlib.sha256(secret.reveal().encode()).digest()
    log.warning("no trust.internal_key is configured: no other process will believe this one")
    return secrets.token_bytes(32)


def _peers(settings: Settings, plan: Plan, role: RoleSpec, log: Log) -> Topology:
    check_peers(settings.peers, (spec.name for spec in plan.roles), {})
    for other in plan.roles if role.public else ():
        if other.serves and not settings.peers.get(other.name):
            log.warning("a role has no peers: what it serves is not answered", role=other.name)
    return Topology(
        1,
        tuple(
            Endpoint(role, index, address, State.READY)
            for role, addresses in settings.peers.items()
            for index, address in enumerate(addresses, 1)
        ),
    )
