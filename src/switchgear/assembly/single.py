"""A process that runs singly, as its admin port sees it: what a supervisor tells of all of them."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from switchgear.assembly.roles import RoleContext
from switchgear.assembly.status import Figures, Row, Status
from switchgear.assembly.topology import State
from switchgear.telemetry.process import LagProbe, resident_bytes

__all__ = ["Single", "control_path"]


class Single:
    """Tells of one process, which serves once it is `ready`. `beat` takes its figures anew."""

    def __init__(
        self,
        context: RoleContext,
        probe: LagProbe,
        admin: str,
        control: Path,
        ready: Callable[[], bool],
    ) -> None:
        self._context = context
        self._ready = ready
        self._probe = probe
        self._admin = admin
        self._control = control
        self._began = self._beaten = time.monotonic()
        self._figures = Figures()

    def beat(self) -> None:
        """Take its figures."""
        now, requests = time.monotonic(), self._context.requests()
        rate = (requests - self._figures.requests) / max(1e-3, now - self._beaten)
        self._beaten = now
        self._figures = Figures(
            resident_bytes(), time.process_time(), requests, rate, self._probe.take_worst()
        )

    def status(self) -> Status:
        """Return what there is to tell of it."""
        context = self._context
        state = State.READY if self._ready() else State.STARTING
        row = Row(
            context.label,
            context.name,
            State.DRAINING if context.leaving else state,
            os.getpid(),
            0,
            time.monotonic() - self._began,
            self._figures,
            context.complaints,
        )
        return Status(
            os.getpid(),
            context.post.endpoint,
            self._admin,
            self._ready(),
            context.leaving,
            row.uptime,
            [row],
            {},
        )

    def sockets(self) -> Mapping[str, Path]:
        """Return its control socket."""
        return {self._context.label: self._control}


@contextmanager
def control_path() -> Iterator[Path]:
    """Make a folder that nobody else enters, for a control socket; it is gone afterwards."""
    folder = mkdtemp(prefix="switchgear-")
    try:
        yield Path(folder, "control")
    finally:
        rmtree(folder, ignore_errors=True)
