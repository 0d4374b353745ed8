"""The entry of a role process: `python -m switchgear.assembly.child DESCRIPTOR TITLE`.

Everything it must know comes as the first frame on the inherited descriptor. In order: register
the stack dump, give way where memory is out, drop to the role's account, die with the supervisor,
import the role and the application (whatever fails here is the operator's to repair, and told as
such), run the loop.
"""

import asyncio
import faulthandler
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from switchgear.assembly.failures import StartError
from switchgear.assembly.host import Host
from switchgear.assembly.kernel import DUMP_SIGNAL, die_with, drop_to, give_way
from switchgear.assembly.line import frame, receive_frame
from switchgear.assembly.messages import Boot, Failed, Upward
from switchgear.assembly.roles import Role
from switchgear.assembly.running import UNSTARTABLE, loop_factory
from switchgear.assembly.settings import Settings
from switchgear.assembly.target import load_object, load_target
from switchgear.telemetry.bridge import bridge, bridge_structlog
from switchgear.telemetry.logs import Log
from switchgear.telemetry.opening import open_log
from switchgear.telemetry.printed import Printed

__all__ = ["main"]


def main() -> None:
    """Become the role that the supervisor asked for."""
    line = socket.socket(fileno=int(sys.argv[1]))
    try:
        boot = msgspec.json.decode(receive_frame(line), type=Boot)
    except (EOFError, msgspec.MsgspecError) as error:
        raise SystemExit(f"this is started by `switchgear up`, not by hand: {error}") from None
    _register_dumps(boot.dump)
    give_way()
    if boot.spec.run_as is not None:
        drop_to(boot.spec.run_as)
    die_with(boot.supervisor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor drains us in order
    line.set_inheritable(False)
    settings = msgspec.json.decode(boot.settings, type=Settings)
    log = _open_log(boot, settings)
    printed = Printed()
    try:
        code = _run(boot, settings, line, log, printed)
    finally:
        # Whoever has closed its line is killed after `dump`, and neither may have a reader.
        log.writer.close(settings.supervisor.dump / 2)
        printed.close(settings.supervisor.dump / 4)
    sys.exit(code)


def _run(boot: Boot, settings: Settings, line: socket.socket, log: Log, printed: Printed) -> int:
    try:
        body: Role = load_object(boot.spec.body)
        app = load_target(boot.app) if boot.app is not None else None
    except StartError as error:
        return _refuse(line, error)
    bridge_structlog(log)
    sockets = tuple(socket.socket(fileno=number) for number in boot.listeners)
    for sock in sockets:
        sock.set_inheritable(False)
    host = Host(boot, settings, log, app, sockets, lambda: printed.dropped)
    with ExitStack() as held:
        for sock in sockets:  # of which the body may never come to take any
            held.callback(sock.close)
        runner = held.enter_context(asyncio.Runner(loop_factory=loop_factory()))
        return runner.run(host.run(line, body))


def _refuse(line: socket.socket, error: StartError) -> int:
    message: Upward = Failed(error.sentence, error.trace)
    line.setblocking(True)
    line.sendall(frame(msgspec.json.encode(message)))
    line.close()
    return UNSTARTABLE


def _register_dumps(descriptor: int) -> None:
    """Write all stacks to the dump file on our signal, and when a fatal one strikes."""
    os.set_inheritable(descriptor, False)
    faulthandler.enable(descriptor, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, descriptor, all_threads=True)


def _open_log(boot: Boot, settings: Settings) -> Log:
    label = f"{boot.spec.name}-{boot.index}"
    os.set_inheritable(boot.log, False)
    folder = Path(boot.logs) if boot.logs else None
    log = open_log(settings.log, label, descriptor=boot.log, folder=folder)
    bridge(log)
    return log


if __name__ == "__main__":
    main()
