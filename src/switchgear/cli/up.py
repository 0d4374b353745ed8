"""`switchgear up`: claim the data folder, bind the socket, and run the supervisor."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from switchgear.assembly.failures import StartError, told
from switchgear.assembly.kernel import allow_descriptors
from switchgear.assembly.listen import address_of, bind
from switchgear.assembly.roles import Plan, Planner
from switchgear.assembly.runtime import Runtime, claim
from switchgear.assembly.settings import Settings
from switchgear.assembly.supervisor import Outlet, Site, Supervisor
from switchgear.assembly.target import Target, load_object
from switchgear.assembly.watch import FileWatch
from switchgear.cli.front import Front, open_front
from switchgear.cli.request import Request, configured

__all__ = ["Stand", "planned", "stand", "up"]


class Stand(NamedTuple):
    """What a system is to stand on. With `anew` its files are watched: see `FileWatch`."""

    plan: Plan
    settings: Settings
    target: Target
    front: Front
    anew: Callable[[list[str]], bool] | None = None


def up(request: Request) -> int:
    """Run the whole system until it is told to end; return the exit code.

    Raises:
        StartError: something outside must change first.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target()
    settings = configured(request, target).settings
    plan = planned(request, settings, target)
    runtime = claim(Path(settings.data))
    try:
        screen = sys.stdout.isatty() and settings.log.to == "auto" and settings.log.form == "auto"
        folder = _logs(plan, settings) if screen or settings.log.to == "files" else None
        front = _front(settings, folder, screen=screen)
        try:
            return asyncio.run(stand(Stand(plan, settings, target, front), runtime))
        finally:
            front.close()
    finally:
        runtime.release()


def planned(request: Request, settings: Settings, target: Target) -> Plan:
    """Ask the planner what the system consists of."""
    planner: Planner = load_object(request.planner, what="the planner")
    return planner(settings, target)


async def stand(given: Stand, runtime: Runtime) -> int:
    """Bind what must be bound, and run the supervisor to its end.

    Raises:
        StartError: a port is taken, a role cannot be loaded, an auxiliary does not start.
    """
    with ExitStack() as held:  # `dev` starts again in this process, and finds its ports free
        supervisor = _supervisor(given, runtime, held)
        with given.front.showing(supervisor.status):
            return await supervisor.run()


def _supervisor(given: Stand, runtime: Runtime, held: ExitStack) -> Supervisor:
    """Bind what must be bound, and make the supervisor; what was opened is closed with `held`."""
    allow_descriptors()
    plan, settings, front = given.plan, given.settings, given.front
    listen, admin = settings.listen, settings.admin
    listener = held.enter_context(bind(listen.host, listen.port, listen.backlog))
    office = None
    if plan.admin is not None:
        office = held.enter_context(bind(admin.host, admin.port, 128, setting="admin"))
    for account in {spec.run_as for spec in plan.roles if spec.run_as is not None}:
        runtime.share(account)
    log = os.dup(1)
    held.callback(os.close, log)
    site = Site(
        runtime,
        Outlet(log, str(front.folder or ""), capture=front.screen, trouble=front.trouble),
        (listener,),
        given.target,
        _url(listener),
        _url(office) if office is not None else "",
        given.anew is not None,
    )
    supervisor = Supervisor(plan, settings, site, front.observe)
    if plan.admin is not None and office is not None:
        try:
            supervisor.companions.append(plan.admin(supervisor, office))
        except OSError as error:
            raise StartError(f"cannot set up the admin port: {told(error)}") from None
    if given.anew is not None:
        supervisor.companions.append(FileWatch(given.target.folder, supervisor, given.anew))
    return supervisor


def _front(settings: Settings, folder: Path | None, *, screen: bool) -> Front:
    try:
        return open_front(settings.log, folder, screen=screen)
    except OSError as error:
        where = error.filename or settings.log.to
        raise StartError(f"cannot write the log to {where}: {told(error)}") from None


def _logs(plan: Plan, settings: Settings) -> Path:
    """Make the folder of the log files, and give it to the account that roles drop to."""
    folder = Path(settings.data) / "logs"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for spec in plan.roles:
            if spec.run_as is not None:
                os.chown(folder, spec.run_as.uid, spec.run_as.gid)
    except OSError as error:
        raise StartError(f"cannot make the folder {folder}: {told(error)}") from None
    return folder


def _url(sock: socket.socket) -> str:
    host, port = address_of(sock)
    return f"http://{host}:{port}"
