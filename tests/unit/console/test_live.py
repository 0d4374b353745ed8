"""The live table: what stands on an operator's terminal commands nothing there."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from switchgear.assembly.events import Output
from switchgear.assembly.status import Figures, Row, Status
from switchgear.assembly.topology import State
from switchgear.console.live import sentence, table


def shown(what: RenderableType, width: int = 200) -> str:
    """Return what a terminal gets, less its colours."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=width, legacy_windows=False)
    console.print(what)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())


EVIL = ["\x1bc", "\x1b[2J", "\x1b]0;mine\x07", "\x9b2J", "\x1bP1q\x1b\\", "\x7f", "\x1b"]


@pytest.mark.parametrize("evil", EVIL)
def test_what_a_process_prints_of_strangers_is_only_shown(evil: str) -> None:
    said = shown(sentence(Output("service-1", f"hello {evil} \x1b[31mAda\x1b[0m")))
    assert said.startswith("service-1    hello ")
    assert said.endswith(" Ada\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)


@pytest.mark.parametrize("evil", EVIL)
def test_a_note_is_only_shown(evil: str) -> None:
    row = Row("worker-1", "worker", State.READY, 7, 0, 1.0, Figures(), (f"database: {evil} no",))
    said = shown(table(Status(1, "", "", True, False, 1.0, [row], {})))
    assert "database: " in said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)


def test_colours_stay_where_a_process_put_them() -> None:
    text = sentence(Output("service-1", "\x1bc a \x1b[31mred\x1b[0m word"))
    assert [str(span.style) for span in text.spans if text.plain[span.start : span.end] == "red"]


def test_a_long_note_takes_no_room_from_what_is_told_of_each_process() -> None:
    away = "database: postgres: no connection to 127.0.0.1:5432 could be opened before the deadline"
    row = Row("service-1", "service", State.READY, 4711, 3, 8.0, Figures(48 << 20), (away,))
    said = shown(table(Status(1, "", "", True, False, 1.0, [row], {"database": True})), width=80)
    head, service, database = said.splitlines()[1:]
    assert head.split()[:4] == ["process", "state", "pid", "restarts"]
    assert service.split()[:8] == ["service-1", "ready", "4711", "3", "48", "MB", "8", "s"]
    assert "  database: " in service
    assert service.rstrip().endswith("\u2026")
    assert database.split() == ["database", "up"]


def test_what_is_wrong_with_what_runs_is_noted_beside_it() -> None:
    troubles = {"database": "its disk is full", "supervisor": "log: cannot be written: \x1bc"}
    said = shown(table(Status(1, "", "", True, False, 1.0, [], {"database": True}, troubles)))
    database, supervisor = said.splitlines()[2:]
    assert database.split() == ["database", "up", "its", "disk", "is", "full"]
    assert supervisor.split() == ["supervisor", "up", "log:", "cannot", "be", "written:", "\ufffdc"]
