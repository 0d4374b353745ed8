"""The live table: what stands on an operator's terminal commands nothing there."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from switchgear.assembly.events import Output
from switchgear.assembly.status import Figures, Row, Status
from switchgear.assembly.topology import State
from switchgear.console.live import sentence, table


def shown(what: RenderableType) -> str:
    """Return what a terminal gets, less its colours."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200, legacy_windows=False)
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
