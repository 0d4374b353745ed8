"""`switchgear check`: decode and validate the configuration, import the app, start nothing."""

from switchgear.assembly.load import describe
from switchgear.assembly.target import load_target
from switchgear.cli.request import Request, configured

__all__ = ["check"]


def check(request: Request, *, every: bool) -> int:
    """Print each setting that is no default (`every`: all of them) and where it came from.

    Raises:
        StartError: the app cannot be imported.
        SettingsError: something in the configuration is wrong.
    """
    target = request.target() if request.app is not None else None
    loaded = configured(request, target)
    told = describe(loaded)
    shown = [line for line in told if every or line[2] != "default"]
    width = max((len(path) + len(value) + 3 for path, value, _ in shown), default=0)
    for path, value, source in shown:
        print(f"{f'{path} = {value}':<{width}}  # {source}")
    if target is not None:
        load_target(target)
    changed = sum(source != "default" for _, _, source in told)
    app = f", and {target.spec} can be imported" if target is not None else ""
    print(f"the configuration is good: {len(told)} settings, {changed} of them set{app}")
    return 0
