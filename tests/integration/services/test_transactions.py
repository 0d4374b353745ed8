"""Handlers in a transaction on a real server: what is answered was committed, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf, nan
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import Struct

from switchgear import Code, Fault, Request, Response, Transaction
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.dsn import Dsn
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.headers import Headers
from switchgear.http.message import StreamResponse
from switchgear.http.unwritable import UnwritableError
from switchgear.policy.call import Call, Principal
from switchgear.ports.broker import Reading
from switchgear.services.endpoint import Endpoint
from switchgear.services.host import Host
from switchgear.services.providers import http_providers
from tests.support.postgres import run

ADA = Principal("ada", "acme")
INSERT = "insert into item (id, name) values ($1, $2)"


class Item(Struct):
    id: UUID
    name: str


class Other:
    """What is not made for everybody."""

    def __init__(self, _: object) -> None:
        raise Fault(Code.UNAUTHENTICATED)


class House:
    """Endpoints on a database, and the eyes of somebody else on it."""

    def __init__(self, tables: PostgresTables, queue: PostgresQueue) -> None:
        self.tables = tables
        self.queue = queue

    async def ask(self, function: Callable[..., Any], *, within: float = 5.0) -> Response:
        host = Host(
            "service",
            [Endpoint("POST", "/a", function)],
            tables=self.tables,
            providers=http_providers(),
        )
        request = Request.of("POST", "/a")
        return await host(Call(request, time.perf_counter() + within, principal=ADA))

    async def names(self) -> list[str]:
        async with self.tables.transaction(time.perf_counter() + 5) as tx:
            return await tx.fetch_all(str, "select name from item order by name")


@asynccontextmanager
async def house(roles: Roles) -> AsyncIterator[House]:
    await install(roles.owner)
    await run(roles.owner, "create table item (id uuid primary key, name text not null unique)")
    queue = PostgresQueue(roles.app)
    tables = PostgresTables(roles.app, outbox=queue)
    try:
        yield House(tables, queue)
    finally:
        await tables.close()
        await queue.close()


async def test_what_is_answered_was_committed(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(tx: Transaction) -> Item:
            await tx.execute(INSERT, uuid4(), "lamp")
            assert await told.names() == []  # not before the handler is done
            return Item(uuid4(), "lamp")

        assert (await told.ask(make)).status == 201
        assert await told.names() == ["lamp"]


async def test_what_fails_leaves_nothing(roles: Roles) -> None:
    async with house(roles) as told:

        async def fault(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "fault")
            await tx.publish("item.made", 1)
            raise Fault(Code.NOT_FOUND)

        async def defect(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "defect")
            raise ZeroDivisionError

        async def unwritable(tx: Transaction) -> Item:
            await tx.execute(INSERT, uuid4(), "unwritable")
            return object()  # type: ignore[return-value]  # the defect under test

        async def endless(tx: Transaction) -> float:
            await tx.execute(INSERT, uuid4(), "endless")
            return inf

        async def published(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "published")
            await tx.publish("item.made", {"price": nan, "name": None})

        async def broken(tx: Transaction) -> Response:
            await tx.execute(INSERT, uuid4(), "broken")
            return Response(200, Headers({"x-name": "a\r\nset-cookie: b"}))

        async def late(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "late")
            await asyncio.sleep(10)

        for function, kind in (
            (fault, Fault),
            (defect, ZeroDivisionError),
            (unwritable, TypeError),
            (endless, TypeError),
            (published, TypeError),
            (broken, UnwritableError),
        ):
            with pytest.raises(kind):
                await told.ask(function)
        with pytest.raises(Fault) as overdue:
            await told.ask(late, within=0.3)
        assert overdue.value.code is Code.DEADLINE_EXCEEDED
        assert await told.names() == []
        assert await told.queue.depths(time.perf_counter() + 5) == {}


async def test_a_constraint_says_what_it_is(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "lamp")

        assert (await told.ask(make)).status == 204
        with pytest.raises(Fault) as twice:
            await told.ask(make)
        assert (twice.value.code, twice.value.origin) == (Code.ALREADY_EXISTS, "postgres")


async def test_a_message_goes_out_with_its_commit(roles: Roles) -> None:
    async with house(roles) as told:

        async def make(tx: Transaction) -> None:
            await tx.execute(INSERT, uuid4(), "lamp")
            await tx.publish("item.made", {"name": "lamp"})

        await told.ask(make)
        intake = told.queue.source(Reading("item.made", "test"))
        delivery = await asyncio.wait_for(intake.take(), 5)
        assert delivery is not None
        assert msgspec.json.decode(delivery.message.body) == {"name": "lamp"}
        await intake.close()


async def test_an_answer_of_ones_own_commits_like_any_other(roles: Roles) -> None:
    async with house(roles) as told:

        async def redirect(tx: Transaction) -> Response:
            await tx.execute(INSERT, uuid4(), "moved")
            return Response(303)

        async def stream(tx: Transaction) -> StreamResponse:
            await tx.execute(INSERT, uuid4(), "streamed")

            async def pieces() -> AsyncIterator[bytes]:
                for name in await told.names():
                    yield name.encode()

            return StreamResponse.of(pieces())

        assert (await told.ask(redirect)).status == 303
        assert await (await told.ask(stream)).read() == b"movedstreamed"


async def test_a_deadline_reaches_the_statement(roles: Roles) -> None:
    async with house(roles) as told:

        async def slow(tx: Transaction) -> None:
            await tx.execute("select pg_sleep(30)")

        began = time.perf_counter()
        with pytest.raises(Fault) as late:
            await told.ask(slow, within=0.5)
        assert late.value.code is Code.DEADLINE_EXCEEDED
        assert time.perf_counter() - began < 1.5

        async def idle(tx: Transaction) -> int:
            return await tx.fetch_one(
                int, "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%'"
                " and state = 'active' and pid <> pg_backend_pid()",
            )  # fmt: skip

        async with asyncio.timeout(5):
            while (await told.ask(idle)).body != b"0":
                await asyncio.sleep(0.05)


async def test_what_is_wrong_is_told_without_a_connection() -> None:
    """Else wrong requests would hold the connections of right ones, and be told 503 without any."""

    async def make(item: Item, tx: Transaction, other: Other) -> None:
        raise AssertionError("not called")

    async def ask(body: bytes) -> Fault:
        asked = Request.of("POST", "/a", body=body)
        with pytest.raises(Fault) as raised:
            await host(Call(asked, time.perf_counter() + 5, principal=ADA))
        return raised.value

    tables = PostgresTables(Dsn("127.0.0.1", 1))
    endpoints = [Endpoint("POST", "/a", make)]
    host = Host("service", endpoints, tables=tables, providers={Other: Other})
    assert (await ask(b'{"id":1}')).code is Code.INVALID_ARGUMENT
    right = b'{"id":"00000000-0000-0000-0000-000000000000","name":"a"}'
    assert (await ask(right)).code is Code.UNAUTHENTICATED
    nobody = {Other: lambda _: None}
    host = Host("service", endpoints, tables=tables, providers=nobody)
    assert (await ask(right)).code is Code.UNAVAILABLE
    await tables.close()
