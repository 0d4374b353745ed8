"""`switchgear dev`: what its files say holds soon after they are written, whichever they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running

APP = """
from msgspec import Struct

from switchgear import App, Transaction

app = App("notes")


class Note(Struct):
    text: str


@app.get("/notes", public=True)
async def notes(tx: Transaction) -> list[Note]:
    return await tx.fetch_all(Note, "select text from note order by text")
"""
CONSUMER = """

@app.post("/notes", scope="note:write")
async def write(note: Note, tx: Transaction) -> None:
    await tx.publish("note.written", note)


@app.consumer("note.written")
async def keep(note: Note, tx: Transaction) -> None:
    await tx.execute("insert into note values ($1)", note.text)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app" / "migrations").mkdir(parents=True)
    (tmp_path / "app" / "app.py").write_text(APP)
    return tmp_path / "app"


@pytest.fixture
def system(folder: Path) -> Iterator[Running]:
    with Running.started("dev", str(folder), folder.parent / "data") as started:
        yield started


def test_migrations_settings_and_a_first_consumer_hold_without_a_new_command(
    folder: Path, system: Running
) -> None:
    def rewritten(path: Path, text: str) -> None:
        ready = len(system.events("ready", process="supervisor"))
        path.write_text(text)
        system.until(lambda: len(system.events("ready", process="supervisor")) > ready)

    assert system.ask("GET", "/notes").status == 500, "there is no such table"

    first = folder / "migrations" / "0001_note.sql"
    first.write_text("create tabel note (text text);")
    system.until(lambda: f"{first}:1: syntax error" in system.text)
    assert not system.ended
    rewritten(first, "create table note (text text);")
    assert system.ask("GET", "/notes").json == []

    settings = folder / "switchgear.toml"
    settings.write_text('[accounts]\ndefault_scope = ["note:write"]\n')
    system.until(lambda: "did you mean 'default_scopes'?" in system.text)
    rewritten(settings, '[accounts]\ndefault_scopes = ["note:write"]\n')

    rewritten(folder / "app.py", APP + CONSUMER)
    bearer = {"authorization": f"Bearer {system.token()}"}
    assert system.ask("POST", "/notes", {"text": "hello"}, bearer).status == 204
    system.until(lambda: system.ask("GET", "/notes").json == [{"text": "hello"}])
