"""`switchgear dev`: the whole system in one process, started anew when a file changes.

For a handler, a fresh process is enough. A migration, a setting and an app's first consumer hold
only in a system that is planned and started with them: there all of it begins again.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec

from switchgear.assembly.decode import Layer
from switchgear.assembly.failures import StartError
from switchgear.assembly.load import FILE
from switchgear.assembly.messages import RoleSpec
from switchgear.assembly.roles import Plan
from switchgear.assembly.runtime import claim
from switchgear.assembly.target import Target
from switchgear.assembly.together import BODY, WHOLE
from switchgear.assembly.watch import Stamp, stamps
from switchgear.cli.front import open_front
from switchgear.cli.request import WRONG, Request, configured, guarded
from switchgear.cli.up import Stand, planned, stand

__all__ = ["dev", "gathered"]

# What a developer wants unless they say otherwise: a quick restart.
_BASE: Final = Layer({"supervisor": {"drain": 2.0, "drain_least": 0.5}}, lambda _: "dev")

_AGAIN: Final = -1  # instead of an exit code: another system is to follow
_PAUSE: Final = 0.5  # between two looks for a repair, in seconds


def dev(request: Request) -> int:
    """Run everything in one process until told to end; return the exit code.

    Raises:
        StartError: something outside must change first.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target()
    code = _once(request, target)
    while code == _AGAIN:
        before = stamps(target.folder)
        code = guarded(lambda: _once(request, target))
        if code == WRONG:
            _repaired(target.folder, before)
            code = _AGAIN
    return code


def _once(request: Request, target: Target) -> int:
    """Run a system to its end; return the exit code, or `_AGAIN`."""
    settings = configured(request, target, _BASE).settings
    plan = gathered(planned(request, settings, target))
    again = False

    def anew(paths: list[str]) -> bool:
        nonlocal again
        again = again or any(map(_at_the_start, paths)) or _differs()
        return again

    def _differs() -> bool:
        try:
            return gathered(planned(request, settings, target)).roles != plan.roles
        except StartError:  # the fresh process will find the same, and say it
            return False

    runtime = claim(Path(settings.data))
    try:
        front = open_front(settings.log, None, screen=False)
        try:
            code = asyncio.run(stand(Stand(plan, settings, target, front, anew), runtime))
        finally:
            front.close()
    finally:
        runtime.release()
    return _AGAIN if again else code


def _at_the_start(path: str) -> bool:
    """Say whether a file is read only when a system starts: a migration, the configuration."""
    return path.endswith(".sql") or Path(path).name == FILE


def _repaired(folder: Path, before: dict[str, Stamp]) -> None:
    """Wait until a file is another than when the attempt began that failed."""
    while stamps(folder) == before:
        time.sleep(_PAUSE)


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
