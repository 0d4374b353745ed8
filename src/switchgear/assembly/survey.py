"""The survey: what an app consists of, found out in a process of its own.

The supervisor never imports the app: whatever its import does (threads, signals, memory) must not
touch what keeps everything else alive. A wrong app is found here, before anything is started.
"""

import os
import subprocess
import sys
from typing import Final

import msgspec

from switchgear.assembly.bound import bind_all
from switchgear.assembly.failures import StartError, ended
from switchgear.assembly.kernel import die_with, drop_to, scratch
from switchgear.assembly.messages import RunAs
from switchgear.assembly.routes import app_of, is_native, routes_of
from switchgear.assembly.target import Target, load_target
from switchgear.gateway.table import RouteEntry
from switchgear.http.settings import ServerSettings

__all__ = ["Survey", "survey"]

_PATIENCE: Final = 60.0


class Survey(msgspec.Struct, frozen=True):
    """What must be known of an app: is it one of ours, has it consumers, its folder, its routes."""

    native: bool = False
    consumers: bool = False
    folder: str = ""
    routes: tuple[RouteEntry, ...] = ()
    wrong: str = ""
    trace: str = ""


class _Question(msgspec.Struct, frozen=True):
    """What the other process is asked, by whom, and the descriptor that it answers on."""

    answer: int
    target: Target
    account: RunAs | None
    asker: int
    deadline: float


def survey(
    target: Target, account: RunAs | None = None, *, deadline: float = ServerSettings().deadline
) -> Survey:
    """Load the app elsewhere, as the account that its roles will run as, and say what it is.

    `deadline` is the configured one, of routes that say none of their own.

    Raises StartError for an app that cannot be imported or bound, in words of its own.
    """
    # A file, not a pipe: nobody reads before the process has ended, and a pipe holds only so much.
    with open(scratch("survey"), "r+b") as answer:
        asked = msgspec.json.encode(
            _Question(answer.fileno(), target, account, os.getpid(), deadline)
        ).decode()
        try:
            done = subprocess.run(
                # -P: no module of the working directory stands before ours.
                [sys.executable, "-P", "-m", __name__, asked],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
                pass_fds=(answer.fileno(),),
            )
        except subprocess.TimeoutExpired:
            raise StartError(
                f"the app {target.spec!r} is still importing after {_PATIENCE:g} s: if it runs"
                ' a server of its own, put that under `if __name__ == "__main__":`'
            ) from None
        answer.seek(0)
        found = _read(answer.read())
    if found is None:
        how = ended(done.returncode)
        trace = done.stderr.decode("utf-8", "replace").strip()
        raise StartError(f"the app {target.spec!r} ended its process while importing: {how}", trace)
    if found.wrong:
        raise StartError(found.wrong, found.trace)
    return found


def _read(answer: bytes) -> Survey | None:
    try:
        return msgspec.json.decode(answer, type=Survey)
    except msgspec.MsgspecError:
        return None


def _look(target: Target, deadline: float) -> Survey:
    try:
        loaded = load_target(target)
        app = app_of(loaded)
        routes = routes_of(loaded, deadline)
        bind_all(app)
    except StartError as error:
        return Survey(wrong=error.sentence, trace=error.trace)
    folder = str(app.folder) if is_native(loaded) else ""
    return Survey(is_native(loaded), bool(app.subscriptions), folder, tuple(routes))


def _main(asked: _Question) -> None:
    """Answer on a descriptor of its own: an app that prints at import must not spoil it."""
    os.set_inheritable(asked.answer, False)
    if asked.account is not None:
        drop_to(asked.account)
    die_with(asked.asker)  # an import may take its time, and nobody would be left to stop it
    found = msgspec.json.encode(_look(asked.target, asked.deadline))
    with open(asked.answer, "wb") as file:
        file.write(found)
    # At once: the threads that an import has left behind keep nobody waiting.
    os._exit(0)


if __name__ == "__main__":
    _main(msgspec.json.decode(sys.argv[1].encode(), type=_Question))
