"""The live table: every seat of a running system, drawn anew twice a second.

It is drawn by a thread of its own. A terminal may stop reading (Ctrl-S, a slow link), and the
supervisor must go on hearing and restarting its processes meanwhile.
"""

import threading
from collections import deque
from typing import Final, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from switchgear.assembly import events
from switchgear.assembly.status import Row, Status
from switchgear.assembly.topology import State
from switchgear.telemetry.logs import console_line

__all__ = ["LiveTable", "sentence", "table"]

Item = TypeVar("Item")
_EVERY: Final = 0.5
_MOST: Final = 200
_COLOURS: Final = {
    State.STARTING: "cyan",
    State.READY: "green",
    State.UNROUTABLE: "yellow",
    State.DRAINING: "blue",
    State.DOWN: "red",
}
# What is left of commands to the terminal once colours are read: each is shown as one that is none.
_TAMED: Final = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "\ufffd")
_QUIET: Final = (events.Spawned, events.ProcessReady)


class LiveTable:
    """An observer of the supervisor that shows what it sees. Feed it a status now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._news: deque[events.Event] = deque(maxlen=_MOST)
        self._output: deque[events.Output] = deque(maxlen=_MOST)
        self._printed = 0  # lines of output so far, the ones with no place included
        self._status: Status | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="live-table", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Draw a last time; a terminal that does not read is not waited for."""
        self._ended.set()
        self._thread.join(timeout)

    def put(self, status: Status) -> None:
        """Show this status from now on."""
        self._status = status

    def observe(self, event: events.Event) -> None:
        """Print what is worth a line above the table; the table shows the rest."""
        if isinstance(event, events.Output):
            self._printed += 1
            self._output.append(event)
        elif not _told_by_table(event):
            self._news.append(event)

    def _taken(self) -> list[Text]:
        """Take the latest output; a program that prints faster than it can be read is cut."""
        printed, self._printed = self._printed, 0
        found = _emptied(self._output)
        lost = printed - len(found)
        cut = [Text(f"... {lost} lines that nobody could read", style="dim")] if lost > 0 else []
        return cut + [sentence(one) for one in found]

    def _draw(self) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            ended = False
            while not ended:
                ended = self._ended.wait(_EVERY)
                lines = [*self._taken(), *map(sentence, _emptied(self._news))]
                if lines:  # printed as one: each print draws the table anew
                    self._console.print(Text("\n").join(lines))
                if self._status is not None:
                    live.update(table(self._status, "  (Ctrl-C drains)"), refresh=True)


def sentence(event: events.Event) -> Text:
    """Return the line that tells an event to a person."""
    if isinstance(event, events.SystemReady):
        admin = f" (admin {event.admin})" if event.admin else ""
        return Text(f"ready {event.url}{admin} in {event.seconds:.1f} s", style="bold green")
    if isinstance(event, events.Output):
        return Text.assemble((f"{event.label:<12} ", "dim"), _coloured(event.text))
    fields = event.fields()
    head = {"level": event.level, "event": event.name, "process": fields.pop("label", "")}
    return Text.from_ansi(console_line(head | fields).decode())


def _coloured(printed: str) -> Text:
    """Keep the colours and links of what a process printed, and no other command to a terminal."""
    text = Text.from_ansi(printed)
    text.plain = text.plain.translate(_TAMED)
    return text


def _told_by_table(event: events.Event) -> bool:
    return isinstance(event, _QUIET) or (isinstance(event, events.Ended) and event.wanted)


def _emptied(queue: deque[Item]) -> list[Item]:
    """Take what is in a queue now; what comes meanwhile waits for the next round."""
    return [queue.popleft() for _ in range(len(queue))]


def table(status: Status, hint: str = "") -> Group:
    """Return the table of a status, with a hint behind its heading."""
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    # Where there is too little room, only a column that may wrap gives way: that is the note.
    drawn.add_column("process", no_wrap=True)
    drawn.add_column("state", no_wrap=True)
    for name in ("pid", "restarts", "requests/s", "memory", "up"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("note")
    for row in status.rows:
        drawn.add_row(*_cells(row))
    for name, alive in status.auxiliaries.items():
        state = Text("up", "green") if alive else Text("down", "red")
        drawn.add_row(name, state, "", "", "", "", "", _note(status.troubles.get(name, "")))
    if own := status.troubles.get("supervisor"):
        drawn.add_row("supervisor", Text("up", "green"), "", "", "", "", "", _note(own))
    word = "draining" if status.draining else "ready" if status.ready else "starting"
    where = f"  {status.url}" if status.url else ""
    admin = f"  admin {status.admin}" if status.admin else ""
    return Group(Text(f"{word}{where}{admin}{hint}", style="dim"), drawn)


def _cells(row: Row) -> tuple[str | Text, ...]:
    figures = row.figures
    note = "; ".join(row.degraded) or row.last
    return (
        row.label,
        Text(row.state.value, _COLOURS[row.state]),
        str(row.pid) if row.pid else "",
        str(row.restarts) if row.restarts else "",
        f"{figures.rate:,.0f}" if figures.rate else "",
        f"{figures.resident_bytes / 1_048_576:.0f} MB" if figures.resident_bytes else "",
        _span(row.uptime) if row.pid else "",
        _note(note, "yellow" if row.degraded else "dim"),
    )


def _note(words: str, style: str = "yellow") -> Text:
    return Text(words.translate(_TAMED), style, no_wrap=True, overflow="ellipsis")


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
