"""`switchgear dev`: the whole system in one process, started anew when a file changes."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from switchgear.assembly.decode import Layer
from switchgear.assembly.messages import RoleSpec
from switchgear.assembly.roles import Plan
from switchgear.assembly.runtime import claim
from switchgear.assembly.together import BODY, WHOLE
from switchgear.cli.front import open_front
from switchgear.cli.request import Request, configured
from switchgear.cli.up import Stand, planned, stand

__all__ = ["dev", "gathered"]

# What a developer wants unless they say otherwise: answers with tracebacks, a quick restart.
_BASE: Final = Layer(
    {"debug": True, "supervisor": {"drain": 2.0, "drain_least": 0.5}}, lambda _: "dev"
)


def dev(request: Request) -> int:
    """Run everything in one process until told to end; return the exit code.

    Raises:
        StartError: something outside must change first.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target()
    settings = configured(request, target, _BASE).settings
    plan = gathered(planned(request, settings, target))
    runtime = claim(Path(settings.data))
    try:
        front = open_front(settings.log, None, screen=False)
        try:
            given = Stand(plan, settings, target, front, watched=True)
            return asyncio.run(stand(given, runtime))
        finally:
            front.close()
    finally:
        runtime.release()


def gathered(plan: Plan) -> Plan:
    """Return the plan with all its roles in one process."""
    inside = tuple(msgspec.structs.replace(spec, count=1) for spec in plan.roles)
    drops = [spec.run_as for spec in inside if spec.run_as is not None]
    host = RoleSpec(
        WHOLE,
        BODY,
        public=True,
        serves=True,
        run_as=drops[0] if drops else None,
        inside=inside,
    )
    return plan._replace(roles=(host,))
