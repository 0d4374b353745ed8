"""Answers that stream what the database holds, on a real server, to clients who take them."""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from switchgear import Code, Effect, Fault, Refusal, Request, Response, Snapshot, Transaction
from switchgear.binding.parameters import Unbindable
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.snapshot_settings import SnapshotSettings
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.exchanged import Exchanged
from switchgear.http.message import StreamResponse
from switchgear.http.server import Server
from switchgear.policy.call import Call
from switchgear.services.endpoint import Endpoint
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from tests.integration.http.harness import Raw, ask, reluctant, serving
from tests.support.postgres import run, value

GET = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OPEN = (
    "select count(*) from pg_stat_activity where application_name = 'house snapshots'"
    " and xact_start is not null"
)
ENDLESS = "select a.n, repeat('x', 200) as name from item a, item b, item c"  # 1e9 rows


class Item(Struct):
    n: int
    name: str


class House:
    """An endpoint on a database, as a handler and behind a server."""

    def __init__(self, database: Dsn, tables: PostgresTables) -> None:
        self.database = database
        self.tables = tables
        self.seen: list[Exchanged] = []

    def host(self, function: Callable[..., Any], **options: Any) -> Host:
        return Host(
            "service",
            [Endpoint("GET", "/a", function, public=True, **options)],
            tables=self.tables,
            providers=http_providers(),
        )

    async def ask(self, function: Callable[..., Any], *, within: float = 5.0) -> Response:
        call = Call(Request.of("GET", "/a"), time.perf_counter() + within)
        return await self.host(function)(call)

    @asynccontextmanager
    async def serving(self, function: Callable[..., Any], **options: Any) -> AsyncIterator[Server]:
        def saw(event: Any) -> None:
            if isinstance(event, Exchanged):
                self.seen.append(event)

        async with serving(self.host(function, **options), observer=saw) as server:
            yield server

    async def given_back(self) -> None:
        """Wait until the server has no snapshot open, and all connections are idle."""
        async with asyncio.timeout(20):
            while await value(self.database, OPEN) != 0:
                await asyncio.sleep(0.02)
            while self.figures["idle"] != self.figures["size"]:
                await asyncio.sleep(0.02)

    @property
    def figures(self) -> dict[str, float]:
        return self.tables.snapshots.statistics()


@asynccontextmanager
async def house(database: Dsn, **bounds: Any) -> AsyncIterator[House]:
    await run(
        database,
        "create table item (n int primary key, name text not null)",
        "insert into item select n, 'name' from generate_series(1, 1000) n",
    )
    tables = PostgresTables(database, name="house", snapshots=SnapshotSettings(**bounds))
    try:
        yield House(database, tables)
    finally:
        await tables.close()


async def lines(snapshot: Snapshot, sql: str, **options: Any) -> AsyncIterator[bytes]:
    async for item in snapshot.rows(Item, sql, **options):
        yield f"{item.n},{item.name}\n".encode()


async def test_rows_stream_as_they_were_at_one_instant(database: Dsn) -> None:
    async with house(database) as told:

        async def export(snapshot: Snapshot) -> StreamResponse:
            async def pieces() -> AsyncIterator[bytes]:
                async for item in snapshot.rows(Item, "select * from item where n > $1", 0):
                    if item.n == 1:
                        await run(database, "insert into item values (1001, 'late')")
                    yield f"{item.n},{item.name}\n".encode()
                yield b"%d" % await snapshot.fetch_one(int, "select count(*) from item")

            return StreamResponse.of(pieces())

        async with told.serving(export) as server:
            (answer,) = await ask(server.port, GET)
        wanted = [f"{n},name" for n in range(1, 1001)]
        assert answer.body.decode().splitlines() == [*wanted, "1000"]
        assert await value(database, "select count(*) from item") == 1001
        await told.given_back()


async def test_what_is_not_taken_is_not_read_and_ends_when_the_client_leaves(
    database: Dsn,
) -> None:
    async with house(database) as told:
        made = 0

        async def export(snapshot: Snapshot) -> StreamResponse:
            async def pieces() -> AsyncIterator[bytes]:
                nonlocal made
                async for line in lines(snapshot, ENDLESS):
                    made += 1
                    yield line

            return StreamResponse.of(pieces())

        async with told.serving(export) as server:
            client = reluctant(server.port)
            client.sendall(GET)
            before = -1
            while made != before or not made:
                before = made
                await asyncio.sleep(0.2)
            assert made < 100_000, "of a billion: what a socket's buffers hold"
            assert await value(database, OPEN) == 1
            client.close()
            await told.given_back()
        assert [event.left for event in told.seen] == [True]


async def test_it_ends_though_a_statement_is_under_way_when_the_client_leaves(
    database: Dsn,
) -> None:
    async with house(database) as told:

        async def export(snapshot: Snapshot) -> StreamResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"first\n"
                await snapshot.execute("select pg_sleep(60)")

            return StreamResponse.of(pieces())

        async with told.serving(export) as server:
            client = await Raw.to(server.port)
            await client.send(GET)
            await client.until(b"first\n")
            while await value(database, f"{OPEN} and state = 'active'") != 1:
                await asyncio.sleep(0.02)
            await client.close()
            await told.given_back()


async def test_its_time_ends_it_however_slowly_it_is_taken_and_the_answer_is_cut(
    database: Dsn,
) -> None:
    async with house(database, total=1.0) as told:

        async def export(snapshot: Snapshot) -> StreamResponse:
            return StreamResponse.of(lines(snapshot, ENDLESS))

        async with told.serving(export) as server:
            client = await Raw.to(server.port)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's has it
            await client.send(GET)
            while await value(database, OPEN) != 1:
                await asyncio.sleep(0.02)
            await told.given_back()
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
            rest = await client.rest()
            await client.close()
        assert rest.startswith(b"HTTP/1.1 200 ")
        assert not rest.endswith(b"\r\n0\r\n\r\n"), "it must not look complete"
        (event,) = told.seen
        assert (event.cut, event.fault) == (True, "deadline_exceeded")
        assert "as long as one may be (database.snapshots.total)" in event.detail


async def test_it_outlives_the_deadline_of_its_call(database: Dsn) -> None:
    async with house(database) as told:

        async def export(snapshot: Snapshot) -> StreamResponse:
            async def pieces() -> AsyncIterator[bytes]:
                for n in range(2):
                    yield b"%d" % await snapshot.fetch_one(int, f"select {n} from pg_sleep(0.8)")

            return StreamResponse.of(pieces())

        async with told.serving(export, deadline=0.5) as server:
            (answer,) = await ask(server.port, GET)
        assert answer.body == b"01"


async def test_how_many_there_are_is_bounded_apart_from_transactions(database: Dsn) -> None:
    async with house(database, connections=1) as told:

        async def export(snapshot: Snapshot) -> StreamResponse:
            return StreamResponse.of(lines(snapshot, ENDLESS))

        async def count(tx: Transaction) -> int:
            return await tx.fetch_one(int, "select count(*) from item")

        first = await told.ask(export)
        with pytest.raises(Fault) as full:
            await told.ask(export, within=0.3)
        fault = full.value
        assert (fault.code, fault.effect) == (Code.UNAVAILABLE, Effect.NONE)
        assert fault.refusal is Refusal.FULL
        assert (await told.ask(count)).body == b"1000"
        assert isinstance(first, StreamResponse)
        first.abandon()
        second = await told.ask(export)
        assert isinstance(second, StreamResponse)
        second.abandon()
        assert told.figures["size"] == 1
        await told.given_back()


async def test_what_does_not_stream_gives_it_back_at_once(database: Dsn) -> None:
    async with house(database, connections=1) as told:
        kept: list[Snapshot] = []

        async def whole(snapshot: Snapshot) -> list[int]:
            kept.append(snapshot)
            return [n async for n in snapshot.rows(int, "select n from item where n < 4", batch=2)]

        async def failing(snapshot: Snapshot) -> None:
            raise Fault(Code.NOT_FOUND)

        async def wrong(snapshot: Snapshot) -> Response:
            return Response(200, body="no bytes")

        assert (await told.ask(whole)).body == b"[1,2,3]"
        for function, kind in ((failing, Fault), (wrong, TypeError)):
            with pytest.raises(kind):
                await told.ask(function)
        assert (await told.ask(whole)).body == b"[1,2,3]"
        with pytest.raises(RuntimeError, match="after the end of its answer"):
            await kept[0].fetch_all(int, "select 1")
        async with told.serving(_streaming) as server:
            head = await Raw.to(server.port)
            await head.send(GET.replace(b"GET", b"HEAD"))
            assert (await head.rest()).startswith(b"HTTP/1.1 200")
            await head.close()
        await told.given_back()


async def _streaming(snapshot: Snapshot) -> StreamResponse:
    return StreamResponse.of(lines(snapshot, ENDLESS))


async def test_it_is_only_read_from(database: Dsn) -> None:
    async with house(database) as told:

        async def write(snapshot: Snapshot) -> None:
            await snapshot.execute("insert into item values (0, 'mine')")

        async def both(snapshot: Snapshot, tx: Transaction) -> None:
            pass

        with pytest.raises(
            RuntimeError, match="writes, and a snapshot is only read from"
        ) as raised:
            await told.ask(write)
        assert isinstance(raised.value.__cause__, asyncpg.ReadOnlySQLTransactionError)
        with pytest.raises(Unbindable, match="takes a Transaction and a Snapshot"):
            told.host(both)
        await told.given_back()


async def test_one_that_has_ended_is_held_by_nothing(database: Dsn) -> None:
    async with house(database) as told:
        snapshot = await told.tables.snapshot(time.perf_counter() + 5)
        snapshot.outlive()
        snapshot.end()
        ended = weakref.ref(snapshot)
        del snapshot
        await told.given_back()
        assert ended() is None
