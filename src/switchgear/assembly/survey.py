"""The survey: what an app consists of, found out in a process of its own.

The supervisor never imports the app: whatever its import does (threads, signals, memory) must not
touch what keeps everything else alive. A wrong app is found here, before anything is started.
"""

import subprocess
import sys
from typing import Final

import msgspec

from switchgear.assembly.bound import bind_all
from switchgear.assembly.failures import StartError
from switchgear.assembly.routes import app_of, is_native, routes_of
from switchgear.assembly.target import Target, load_target
from switchgear.binding.parameters import Unbindable

__all__ = ["Survey", "survey"]

_PATIENCE: Final = 60.0


class Survey(msgspec.Struct, frozen=True):
    """What the supervisor must know: is it an App of ours, has it consumers, where it stands."""

    native: bool = False
    consumers: bool = False
    folder: str = ""
    wrong: str = ""
    trace: str = ""


def survey(target: Target) -> Survey:
    """Load the app elsewhere and say what it is.

    Raises StartError for an app that cannot be imported or bound, in words of its own.
    """
    command = [sys.executable, "-m", __name__, msgspec.json.encode(target).decode()]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise StartError(
            f"the app {target.spec!r} is still importing after {_PATIENCE:g} s"
        ) from None
    told = done.stdout.rpartition(b"\x1e")[2]
    try:
        found = msgspec.json.decode(told, type=Survey)
    except msgspec.MsgspecError:
        trace = done.stderr.decode("utf-8", "replace").strip()
        raise StartError(
            f"the app {target.spec!r} ended its process while importing", trace
        ) from None
    if found.wrong:
        raise StartError(found.wrong, found.trace)
    return found


def _look(target: Target) -> Survey:
    try:
        loaded = load_target(target)
        app = app_of(loaded)
        routes_of(loaded)
        bind_all(app)
    except StartError as error:
        return Survey(wrong=error.sentence, trace=error.trace)
    except Unbindable as error:
        return Survey(wrong=f"the app cannot be bound: {error}")
    folder = str(app.folder) if is_native(loaded) else ""
    return Survey(is_native(loaded), bool(app.subscriptions), folder)


if __name__ == "__main__":
    found = _look(msgspec.json.decode(sys.argv[1].encode(), type=Target))
    # Behind a record separator: an app that prints at import must not spoil the answer.
    sys.stdout.write("\x1e" + msgspec.json.encode(found).decode())
    sys.stdout.flush()
