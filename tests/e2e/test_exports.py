"""What streams out of the database through a whole system, to who takes it and who does not."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running

APP = """
from collections.abc import AsyncIterator

from switchgear import App, Snapshot, Transaction
from switchgear.http.message import StreamResponse

app = App("exports")


@app.get("/notes", public=True)
async def notes(snapshot: Snapshot) -> StreamResponse:
    return StreamResponse.of(lines(snapshot, "select n from notes order by n"))


@app.get("/pairs", public=True)
async def pairs(snapshot: Snapshot) -> StreamResponse:
    return StreamResponse.of(lines(snapshot, "select a.n from notes a, notes b"))


@app.get("/count", public=True)
async def count(tx: Transaction) -> int:
    return await tx.fetch_one(int, "select count(*) from notes")


@app.get("/leaves", public=True)
async def leaves() -> None:
    raise GeneratorExit("of its own")


async def lines(snapshot: Snapshot, sql: str) -> AsyncIterator[bytes]:
    async for n in snapshot.rows(int, sql):
        yield b"%050d\\n" % n
"""
TABLE = "create table notes as select n from generate_series(1, 20000) n;"
ONE = ("--set=processes.services=1", "--set=database.snapshots.connections=1")


@pytest.fixture(scope="module")
def exports(home: Path) -> Iterator[Running]:
    folder = home / "exports"
    (folder / "migrations").mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    (folder / "migrations/0001_notes.sql").write_text(TABLE)
    with Running.started("up", str(folder), home / "exports-data", *ONE) as running:
        yield running


def test_all_of_it_comes(exports: Running) -> None:
    answer = exports.ask("GET", "/notes")
    assert answer.status == 200
    assert [int(line) for line in answer.body.splitlines()] == [*range(1, 20001)]


def test_who_does_not_take_it_keeps_others_from_streaming_alone_until_he_leaves(
    exports: Running,
) -> None:
    with socket.create_connection(("127.0.0.1", exports.port)) as reluctant:
        reluctant.sendall(b"GET /pairs HTTP/1.1\r\nHost: a\r\n\r\n")
        assert reluctant.recv(16).startswith(b"HTTP/1.1 200")
        refused = exports.ask("GET", "/notes")
        assert (refused.status, refused.json["effect"]) == (503, "none")
        for _ in range(20):
            assert exports.ask("GET", "/count").body == b"20000"
    exports.until(lambda: exports.ask("GET", "/notes").status == 200)


def test_what_ends_as_no_handler_should_is_answered_and_told(exports: Running) -> None:
    assert exports.ask("GET", "/leaves").status == 500
    (told,) = exports.until(lambda: exports.events("defect", request="GET /leaves"))
    assert "GeneratorExit: of its own" in told["traceback"]
