"""The ledger as a process of its own, and the deaths around it."""

import asyncio
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from switchgear.drills.account import Kind, reconcile
from switchgear.drills.address import Address, dial
from switchgear.drills.ledger import LedgerServer, read
from switchgear.drills.process import Process
from switchgear.drills.scribe import Scribe

CLIENT = """
import os, signal, sys
from switchgear.drills.address import Address
from switchgear.drills.scribe import Scribe
scribe = Scribe(Address.parse(sys.argv[1]), by="doomed")
for number in range(1000):
    scribe.intent(str(number))
scribe._socket.sendall(b'{"kind": "intent", "id": "to')
os.kill(os.getpid(), signal.SIGKILL)
"""


@asynccontextmanager
async def ledger(folder: Path, listen: str = "") -> AsyncIterator[tuple[Process, Address, Path]]:
    file = folder / "ledger.jsonl"
    asked = listen or f"unix:{folder / 'l'}"
    async with await Process.start(
        "switchgear.drills.ledger", "--file", str(file), "--listen", asked
    ) as process:
        yield process, Address.parse(process.facts["listening"]), file


@pytest.mark.parametrize("listen", ["", "127.0.0.1:0"])
async def test_what_is_synced_is_on_the_disk(tmp_path: Path, listen: str) -> None:
    async with ledger(tmp_path, listen) as (_, address, file):
        with Scribe(address, by="one") as one, Scribe(address, by="two") as two:
            for number in range(500):
                one.intent(str(number), "mark")
                one.acknowledged(str(number))
                two.observed(str(number), "mark")
            one.sync()
            two.sync()
            account = reconcile(read(file))
            assert (account.intended, account.acknowledged, account.observed) == (500, 500, 500)
            assert account.sound
            assert not account.lost
            assert not account.mismatched
            assert Counter(entry.by for entry in read(file)) == {
                "ledger": 1,
                "one": 1000,
                "two": 500,
            }


async def test_a_sync_is_answered_after_the_write_and_its_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    write, fsync = os.write, os.fsync

    def slow_fsync(file: int) -> None:
        time.sleep(0.02)
        fsync(file)
        events.append("fsync")

    def seen_write(file: int, data: bytes) -> int:
        events.append("write " + "".join(re.findall(r'"id":"(\d+)"', bytes(data).decode())))
        return write(file, data)

    server = LedgerServer(Address("127.0.0.1"), tmp_path / "ledger.jsonl")
    await server.start()
    reader, writer = await dial(server.address)
    writer.write(b'{"kind":"sync","id":"opened"}\n')
    await reader.readline()
    monkeypatch.setattr(os, "write", seen_write)
    monkeypatch.setattr(os, "fsync", slow_fsync)
    for number in (1, 2):
        line = b'{"kind":"intent","id":"%d"}\n{"kind":"sync","id":"%d"}\n' % (number, number)
        writer.write(line)
        events.append((await reader.readline()).decode().strip())
    monkeypatch.undo()
    assert events == [
        "write 1", "fsync", '{"synced":"1"}', "write 2", "fsync", '{"synced":"2"}'
    ]  # fmt: skip
    writer.close()
    await server.close()


async def test_it_outlives_a_client_that_is_killed_in_the_middle_of_a_line(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (process, address, file):
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", CLIENT, str(address)], check=False
        )
        assert ended.returncode == -9
        with Scribe(address) as scribe:
            while reconcile(read(file)).torn == 0:
                scribe.sync()
        account = reconcile(read(file))
        assert account.intended == 1000, "every line that was said before the kill"
        assert account.torn == 1
        assert account.sound
        assert process.alive


async def test_a_line_that_is_no_entry_makes_it_unsound(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (_, address, file):
        with Scribe(address) as scribe:
            scribe._socket.sendall(b'{"kind": "opened", "id": "forged"}\nnonsense\n')
            scribe.sync()
        account = reconcile(read(file))
        assert account.malformed == 2
        assert account.opened == 1
        assert not account.sound


async def test_an_orderly_end_takes_in_what_was_said_and_says_closed(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (process, address, file):
        scribe = Scribe(address)
        for number in range(2000):
            scribe.intent(str(number))
        assert await process.stop() == 0
        scribe.close()
        entries = list(read(file))
        assert entries[-1].kind is Kind.CLOSED
        assert reconcile(entries).intended == 2000


async def test_a_killed_ledger_is_missed_and_its_file_is_not_opened_again(tmp_path: Path) -> None:
    async with ledger(tmp_path) as (process, address, file):
        scribe = Scribe(address)
        scribe.intent("1")
        scribe.sync()
        await process.kill()
        assert not process.alive
        with pytest.raises(OSError):
            scribe.sync()
        scribe.close()
        before = file.read_bytes()
        with pytest.raises(RuntimeError, match="ended with 1"):
            await Process.start("switchgear.drills.ledger", "--file", str(file))
        assert file.read_bytes() == before


async def test_a_file_that_takes_no_more_ends_it_loudly(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("platform: prlimit is Linux's")
    async with ledger(tmp_path) as (process, address, _):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
        with Scribe(address) as scribe, pytest.raises(OSError):
            while True:
                scribe.intent("x" * 100)
                scribe.sync()
        # 120 where its standard error is a file too: the limit keeps that from being flushed.
        assert await process.ended() in (1, 120)


def test_a_torn_last_line_of_the_file_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(b'{"kind":"intent","id":"1"}\n{"kind":"intent","id"')
    assert [entry.id for entry in read(file)] == ["1"]
