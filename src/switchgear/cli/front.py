"""How a running system shows itself: a live table on a terminal, log lines anywhere else."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from switchgear.assembly.events import Event, Observer
from switchgear.assembly.status import Status
from switchgear.telemetry.logs import Log
from switchgear.telemetry.opening import open_log
from switchgear.telemetry.settings import LogSettings

__all__ = ["Front", "open_front"]

_EVERY = 0.5


class Front:
    """Writes every event of the supervisor to its log; `folder` is where log files go, if any."""

    screen = False

    def __init__(self, log: Log, folder: Path | None) -> None:
        self.folder = folder
        self._log = log

    def observe(self, event: Event) -> None:
        """Take note of an event."""
        self._log.write(event.level, event.name, **event.fields())

    def trouble(self) -> str:
        """Say what keeps the log from being written, and try again to write it."""
        writer = self._log.writer
        why = writer.trouble()
        if not why:
            return ""
        self._log.warning("lines of the log were lost", lost=writer.dropped)
        return f"log: {why}"

    @contextmanager
    def showing(self, status: Callable[[], Status]) -> Iterator[None]:
        """Show what there is to see while the system runs."""
        del status  # lines tell changes; whoever wants the present state asks for it
        yield

    def close(self) -> None:
        """Write what is left."""
        self._log.writer.close()


class Screen(Front):
    """A front that shows a live table as well."""

    screen = True

    def __init__(self, log: Log, folder: Path | None) -> None:
        super().__init__(log, folder)
        from rich.console import Console

        from switchgear.console.live import LiveTable

        self._table = LiveTable(Console(highlight=False))
        self._show: Observer = self._table.observe

    def observe(self, event: Event) -> None:
        """Take note of an event, and print it if it is worth a line."""
        super().observe(event)
        self._show(event)

    @contextmanager
    def showing(self, status: Callable[[], Status]) -> Iterator[None]:
        """Draw the table while the system runs."""
        self._table.start()
        feeding = asyncio.ensure_future(self._feed(status))
        try:
            yield
        finally:
            feeding.cancel()
            self._table.stop()

    async def _feed(self, status: Callable[[], Status]) -> None:
        while True:
            self._table.put(status())
            await asyncio.sleep(_EVERY)


def open_front(settings: LogSettings, folder: Path | None, *, screen: bool) -> Front:
    """Open the supervisor's log, and the screen if there is one."""
    log = open_log(settings, "supervisor", descriptor=1, folder=folder if screen else None)
    return Screen(log, folder) if screen else Front(log, folder)
