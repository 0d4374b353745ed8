"""The loop of a role process: line to the supervisor, control socket, heartbeat, body."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from switchgear.assembly.control import ControlServer
from switchgear.assembly.failures import StartError
from switchgear.assembly.line import Line
from switchgear.assembly.messages import (
    Beat,
    Boot,
    Downward,
    Drain,
    Failed,
    Feed,
    Loaded,
    Ready,
    Start,
    Upward,
)
from switchgear.assembly.roles import Post, Role, RoleContext
from switchgear.assembly.running import UNSTARTABLE, LogWatch, equip, freeze, run_body
from switchgear.assembly.settings import Settings
from switchgear.telemetry.logs import Log
from switchgear.telemetry.process import LagProbe, resident_bytes

__all__ = ["Host"]


class Host:
    """Runs one role under a supervisor, from `Loaded` to its drained end."""

    def __init__(
        self,
        boot: Boot,
        settings: Settings,
        log: Log,
        app: Any,
        sockets: tuple[socket.socket, ...],
        unprinted: Callable[[], int],
    ) -> None:
        self._control = Path(boot.control)
        self._line: Line[Downward] = Line(Downward, self._take, on_lost=self._orphaned)
        self._start = asyncio.Event()
        self._ended = False
        self._frozen = False
        self.context = RoleContext(
            Post(boot.spec.name, boot.index, boot.generation, boot.endpoint),
            settings,
            log,
            app=app,
            boot_key=boot.boot_key,
            sockets=sockets,
            inside=boot.spec.inside,
            unprinted=unprinted,
            tell=self._tell,
        )
        self._watch = LogWatch(self.context)

    async def run(self, sock: socket.socket, body: Role) -> int:
        """Run the body; return the exit code of the process."""
        loop = asyncio.get_running_loop()
        context = self.context
        loop.add_signal_handler(signal.SIGTERM, self._drain, context.drain_within)
        probe = equip(context, loop)
        control = ControlServer(self._control, context.answers)
        await control.start()
        await self._line.open(sock)
        self._line.put(Loaded())
        self._beat(loop, probe)
        try:
            await self._start.wait()
            code = 0 if context.leaving else await run_body(context, body)
        except StartError as error:
            self._line.put(Failed(error.sentence, error.trace))
            code = UNSTARTABLE
        await control.stop()
        self._watch.look(last=True)
        self._ended = True
        self._line.close()
        probe.stop()
        return code

    def _tell(self, message: Upward) -> None:
        if isinstance(message, Ready) and not self._frozen:
            self._frozen = True
            freeze()
        self._line.put(message)

    def _take(self, message: Downward) -> None:
        if isinstance(message, Feed):
            self.context.topology.put(message.topology)
        elif isinstance(message, Start):
            self.context.offers = message.offers
            self._start.set()
        elif isinstance(message, Drain):
            self._drain(message.within, message.after)

    def _drain(self, within: float, after: float = 0.0) -> None:
        self.context.drain(within, after)
        self._start.set()

    def _beat(self, loop: asyncio.AbstractEventLoop, probe: LagProbe) -> None:
        if self._ended:
            return
        self._watch.look()
        self._line.send(
            Beat(resident_bytes(), time.process_time(), self.context.requests(), probe.take_worst())
        )
        loop.call_later(self.context.settings.supervisor.beat, self._beat, loop, probe)

    def _orphaned(self) -> None:
        """End at once when the supervisor has gone: whoever comes next starts its own roles."""
        if not self._ended:
            os.kill(os.getpid(), signal.SIGKILL)
