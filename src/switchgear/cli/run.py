"""`switchgear run ROLE`: one role in the foreground."""

from switchgear.assembly.standalone import choose_role, run_alone
from switchgear.cli.request import Request, configured
from switchgear.cli.up import planned
from switchgear.telemetry.bridge import bridge
from switchgear.telemetry.opening import open_log
from switchgear.telemetry.printed import Printed

__all__ = ["run"]


def run(role: str, request: Request) -> int:
    """Run one role until it is told to end; return the exit code.

    Raises:
        StartError: something outside must change first.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target()
    loaded = configured(request, target)
    settings = loaded.settings
    plan = planned(request, settings, target)
    spec = choose_role(plan, role)
    log = open_log(settings.log, role, descriptor=1, folder=None)
    bridge(log)
    printed = Printed()
    try:
        told = any(path.startswith("admin.") for path in loaded.sources)
        return run_alone(plan, spec, settings, target, log, lambda: printed.dropped, admin=told)
    finally:
        log.writer.close()
        printed.close()
