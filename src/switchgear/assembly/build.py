"""The planner: what a system consists of. With `database`, the only file that names engines."""

from functools import partial
from pathlib import Path
from typing import Final

from switchgear.assembly.admin import Admin
from switchgear.assembly.database import Database, check_url, run_as
from switchgear.assembly.messages import RoleSpec, RunAs
from switchgear.assembly.roles import Plan
from switchgear.assembly.routes import ACCOUNTS, SERVICE
from switchgear.assembly.settings import Settings
from switchgear.assembly.survey import Survey, survey
from switchgear.assembly.target import Target

__all__ = ["plan", "roles_of"]

_BODIES: Final = "switchgear.assembly.bodies"


def plan(settings: Settings, target: Target) -> Plan:
    """Plan the whole system for an app.

    An App of ours gets a database, accounts and workers; any other ASGI application gets gateways
    and services. Drained by rank: first who takes requests, last who serves the others.

    Raises StartError for an app that cannot be imported or bound, and for a wrong `database.url`.
    """
    account = run_as(settings, Path(target.root))
    found = survey(target, account, deadline=settings.http.deadline)
    roles = tuple(roles_of(settings, found, account))
    if not found.native:
        return Plan(roles, admin=partial(Admin, settings))
    check_url(settings)
    return Plan(roles, (Database(settings, found.folder),), partial(Admin, settings))


def roles_of(settings: Settings, found: Survey, account: RunAs | None = None) -> list[RoleSpec]:
    """Return the roles of a system for an app, each to run as `account`."""
    counts = settings.processes
    roles = [
        RoleSpec(
            "gateway",
            f"{_BODIES}.gateway:gateway",
            counts.gateways,
            rank=0,
            public=True,
            offers=(),
            run_as=account,
        ),
        RoleSpec(
            SERVICE,
            f"{_BODIES}.service:service",
            counts.services,
            rank=1,
            serves=True,
            offers=("app",) if found.native else (),
            run_as=account,
        ),
    ]
    if not found.native:
        return roles
    if found.consumers and counts.workers:
        roles.append(
            RoleSpec(
                "worker",
                f"{_BODIES}.worker:worker",
                counts.workers,
                rank=2,
                offers=("app",),
                run_as=account,
            )
        )
    roles.append(
        RoleSpec(
            ACCOUNTS,
            f"{_BODIES}.accounts:accounts",
            rank=2,
            serves=True,
            app=False,
            offers=("accounts",),
            run_as=account,
        )
    )
    return roles
