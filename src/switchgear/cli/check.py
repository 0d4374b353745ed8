"""`switchgear check`: validate the configuration, import and bind the app, read its migrations."""

from typing import Final

from switchgear.assembly.build import roles_of
from switchgear.assembly.database import check_migrations, check_url
from switchgear.assembly.doubtful import doubtful
from switchgear.assembly.load import describe
from switchgear.assembly.named import misnamed
from switchgear.assembly.peers import check_peers
from switchgear.assembly.routes import DESCRIPTION, SERVICE
from switchgear.assembly.survey import Survey, survey
from switchgear.cli.request import Request, configured
from switchgear.gateway.patience import given_up, plan_of
from switchgear.policy.lint import lint

__all__ = ["check"]

_WHOLE: Final = Survey(native=True, consumers=True)  # an app with everything, where none is given


def check(request: Request, *, every: bool) -> int:
    """Print each setting that is no default (`every`: all of them) and where it came from.

    Then what contradicts in the app's routes, and what is named that the app has not, which is
    served all the same.

    Raises:
        StartError: the app cannot be imported or bound, its migrations are not in order, or the
            database's URL is none.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target() if request.app is not None else None
    loaded = configured(request, target)
    told = describe(loaded)
    shown = [line for line in told if every or line[2] != "default"]
    width = max((len(path) + len(value) + 3 for path, value, _ in shown), default=0)
    for path, value, source in shown:
        print(f"{f'{path} = {value}':<{width}}  # {source}")
    check_url(loaded.settings)
    doubts = list(doubtful(loaded.settings))
    deadline = loaded.settings.http.deadline
    found = _WHOLE if target is None else survey(target, deadline=deadline)
    roles = [spec.name for spec in roles_of(loaded.settings, found)]
    check_peers(loaded.settings.peers, roles, loaded.sources)
    app = ""
    if target is not None:
        app = f", and {target.spec} can be imported and bound"
        if found.native:
            own = [one for one in found.routes if one.service == SERVICE and one != DESCRIPTION]
            migrations = check_migrations(found.folder)
            app += f": {_counted(len(own), 'route')}, {_counted(migrations, 'migration')}"
            if not own and not found.consumers:
                doubts.append("the app declares nothing: it has to import the modules that do")
        doubts += misnamed(loaded.settings, found.routes)
        if not found.native and "http.deadline" in loaded.sources:
            doubts += filter(None, [given_up(deadline, loaded.settings.gateway)])
        for route in found.routes:
            plan = plan_of(route, loaded.settings.gateway)
            doubts += (f"{route.name}: {finding}" for finding in lint(plan))
    changed = sum(source != "default" for _, _, source in told)
    for doubt in doubts:
        print(f"! {doubt}")
    print(f"the configuration is good: {len(told)} settings, {changed} of them set{app}")
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
