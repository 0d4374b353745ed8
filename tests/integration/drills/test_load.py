"""The open-loop load against servers that answer, stall, break and lie."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from switchgear.drills.account import reconcile
from switchgear.drills.address import Address, Listener
from switchgear.drills.ledger import LedgerServer, read
from switchgear.drills.load import Load, Plan, Same
from switchgear.drills.pipe import reset
from switchgear.drills.process import Process
from switchgear.drills.scribe import Scribe
from switchgear.drills.summary import Record, summarise
from tests.integration.drills.writes import Writes

Answer = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[bytes]]
HERE = Path(__file__).parent


class Scripted:
    """A server that answers the n-th request that it sees as the script says."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        return len(self.tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1]
                self.seen.append(path)
                data = await self.answer(len(self.seen), path, writer)
                if writer.is_closing():
                    return
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[tuple[Scripted, Address]]:
    script = Scripted(answer)
    listener = Listener(Address("127.0.0.1"), script.accept)
    await listener.open()
    try:
        yield script, listener.address
    finally:
        listener.close()
        for task in script.tasks:
            task.cancel()
        await asyncio.gather(*script.tasks, return_exceptions=True)


async def loaded(plan: Plan) -> list[Record]:
    records: list[Record] = []
    start = time.perf_counter()
    await Load(plan, Writes(), records.append).run(start)
    assert all(one.scheduled == start + one.sequence / plan.rate for one in records)
    return sorted(records, key=lambda record: record.sequence)


def ok(path: bytes) -> bytes:
    return b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path)


async def well(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
    return ok(path)


@pytest.mark.usefixtures("loop_factory")
async def test_every_request_is_sent_once_over_kept_connections() -> None:
    async with scripted(well) as (server, address):
        records = await loaded(Plan(address, rate=1000, seconds=0.3, connections=4))
    assert [record.sequence for record in records] == list(range(300))
    assert all(record.good for record in records)
    assert Counter(server.seen) == {b"/write/w%d" % number: 1 for number in range(300)}
    assert server.connections <= 4


async def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile() -> None:
    async def stall(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        if number == 10:
            await asyncio.sleep(0.5)
        return ok(path)

    async with scripted(stall) as (_, address):
        records = await loaded(Plan(address, rate=200, seconds=1, connections=1))
    assert all(record.good for record in records)
    # One request took long to serve, but some 80 more were due during that half second.
    assert sum(record.latency > 0.1 for record in records) >= 60
    late = [record for record in records if record.sent and record.sent - record.scheduled > 0.1]
    assert len(late) >= 50


@pytest.mark.usefixtures("loop_factory")
@pytest.mark.parametrize("failure", ["reset", "cut", "before", "malformed", "wrong", "timeout"])
async def test_each_way_to_fail_is_told_and_the_next_request_goes_well(failure: str) -> None:
    async def fail(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        if number % 5:
            return ok(path)
        if failure == "reset":
            reset(writer)
        elif failure == "cut":
            writer.write(ok(path)[:-2])
            writer.close()
        elif failure == "before":
            writer.close()
        elif failure == "timeout":
            await asyncio.sleep(3600)
        elif failure == "wrong":
            return ok(path[:-1] + b"?")
        return b"HTTP/1.1 20 OK\r\n\r\n"

    async with scripted(fail) as (server, address):
        patience = 0.25 if failure == "timeout" else 20.0
        plan = Plan(address, rate=200, seconds=0.2, connections=1, timeout=patience)
        records = await loaded(plan)
    errors = {b"/write/w%d" % record.sequence: record.error for record in records}
    if failure == "timeout":
        assert set(errors.values()) == {"", "timeout"}
    else:
        kind = "cut" if failure == "before" else failure
        told = [errors[path] for path in server.seen]
        assert told == ([""] * 4 + [kind]) * 8
    assert max(Counter(server.seen).values()) == 1, "no request is sent twice"


async def test_a_late_reply_never_answers_another_request() -> None:
    async def late(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        if number % 5 == 0:
            await asyncio.sleep(0.1)
        return ok(path)

    async with scripted(late) as (_, address):
        plan = Plan(address, rate=50, seconds=1, connections=2, timeout=0.08)
        records = await loaded(plan)
    assert {record.error for record in records} == {"", "timeout"}


@pytest.mark.parametrize("broken", [False, True])
async def test_the_ledger_hears_what_surely_was_not_done_and_what_nobody_knows(
    tmp_path: Path, broken: bool
) -> None:
    async def resets(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        reset(writer)
        return b""

    server = LedgerServer(Address(path=str(tmp_path / "l")), tmp_path / "ledger.jsonl")
    await server.start()
    async with scripted(resets) as (_, address):
        target = address if broken else Address(path=str(tmp_path / "nobody"))
        with Scribe(server.address) as scribe:
            plan = Plan(target, rate=200, seconds=0.1)
            await Load(plan, Writes(), lambda _: None, scribe=scribe).run(time.perf_counter())
            await asyncio.to_thread(scribe.sync)
    await server.close()
    account = reconcile(read(tmp_path / "ledger.jsonl"))
    assert account.intended == 20
    assert len(account.unknown_absent) == (20 if broken else 0)


async def test_a_refused_connection_is_told_and_the_request_is_not_said_to_be_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        address = Address("127.0.0.1", bound.getsockname()[1])
    records = await loaded(Plan(address, rate=100, seconds=0.1))
    assert {(record.error, record.sent) for record in records} == {("refused", None)}
    gone = Address(path="/nowhere/at/all")
    records = await loaded(Plan(gone, rate=100, seconds=0.1))
    assert {record.error for record in records} == {"unreachable"}


async def test_bytes_between_responses_end_the_connection_unused() -> None:
    async def doubled(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        asyncio.get_running_loop().call_later(0.01, writer.write, ok(b"/of-another"))
        return ok(path)

    async with scripted(doubled) as (server, address):
        records = await loaded(Plan(address, rate=20, seconds=0.25, connections=1))
    assert all(record.good for record in records)
    assert server.connections == len(records)


async def test_a_load_that_is_stopped_waits_for_what_is_under_way() -> None:
    records: list[Record] = []

    async def slow(number: int, path: bytes, writer: asyncio.StreamWriter) -> bytes:
        load.stop()
        await asyncio.sleep(0.05)
        return ok(path)

    async with scripted(slow) as (_, address):
        load = Load(Plan(address, rate=100, seconds=3600), Writes(), records.append)
        await load.run(time.perf_counter())
    assert records
    assert all(record.good for record in records)


async def test_a_load_process_tells_the_ledger_and_sums_up(tmp_path: Path) -> None:
    store, lines, out = tmp_path / "store", tmp_path / "ledger", tmp_path / "out"
    async with (
        await Process.start(str(HERE / "toy.py"), "--file", str(store)) as toy,
        await Process.start("switchgear.drills.ledger", "--file", str(lines)) as ledger,
    ):
        load = await Process.start(
            "switchgear.drills.load",
            *("--to", f"127.0.0.1:{toy.facts['port']}", "--rate", "300", "--seconds", "1"),
            *("--factory", "tests.integration.drills.writes:Writes"),
            *("--arguments", json.dumps({"prefix": "x", "reads": 3})),
            *("--ledger", ledger.facts["listening"], "--out", str(out)),
        )
        summary = await load.line()
        assert await load.ended() == 0
    assert (summary["requests"], summary["good"]) == (300, 300)
    assert summary["statuses"] == {"200": 100, "201": 200}
    records = [msgspec.json.decode(line, type=Record) for line in out.read_bytes().splitlines()]
    assert summarise(records).requests == 300
    account = reconcile(read(lines))
    assert (account.intended, account.acknowledged) == (200, 200)
    assert len(account.lost) == 200, "nobody told the ledger of the effects yet"
    assert len(store.read_text().split()) == 200


def test_a_plan_without_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Plan(Address("127.0.0.1"), rate=0, seconds=1)
    assert Plan(Address("127.0.0.1"), rate=10, seconds=2, count=5).total == 5
    assert Same("POST", "/x", "{}").request(3).encode("h").endswith(b"\r\n\r\n{}")
