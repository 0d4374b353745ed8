"""Endpoints that record outcomes by idempotency keys, on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from switchgear import Code, Fault, Principal, Request, Response, Transaction
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.engines.postgres.records import PostgresRecords
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.http.problem import FAULT_HEADER, problem, problem_within
from switchgear.policy.call import Call
from switchgear.policy.crossing import declared
from switchgear.services.endpoint import Endpoint
from switchgear.services.host import Host
from switchgear.services.keyed import OUTCOMES, Keeping
from switchgear.services.providers import http_providers
from tests.support.postgres import run

__all__ = ["ADA", "BOB", "Held", "House", "Item", "New", "house", "same", "until"]

INSERT = "insert into item (id, name) values ($1, $2)"
ADA, BOB = Principal("ada", "acme"), Principal("bob", "acme")


class Item(Struct):
    id: UUID
    name: str


class New(Struct):
    name: str


class House:
    """Endpoints on a database that records outcomes, and the eyes of somebody else on it."""

    def __init__(self, roles: Roles, keep: float, answer_bytes: int) -> None:
        self.roles = roles
        self.queue = PostgresQueue(roles.app)
        self.tables = PostgresTables(roles.app, outbox=self.queue)
        self.records = PostgresRecords(keep)
        self.keeping = Keeping(
            self.records, answer_bytes, lambda fault: problem_within(fault, "service"), self._count
        )
        self.runs = 0
        self.counts = dict.fromkeys(OUTCOMES, 0)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1

    def counted(self) -> dict[str, int]:
        """Say what has been counted since this was asked last."""
        found = {outcome: count for outcome, count in self.counts.items() if count}
        self.counts = dict.fromkeys(OUTCOMES, 0)
        return found

    def host(self, function: Callable[..., Any], path: str = "/items", **options: Any) -> Host:
        return Host(
            "service",
            [Endpoint("POST", path, function, **options)],
            tables=self.tables,
            providers=http_providers(),
            keeping=self.keeping,
        )

    async def ask(
        self,
        host: Host,
        name: str = "lamp",
        key: str | None = "k1",
        *,
        who: Principal = ADA,
        target: str = "/items",
        body: bytes | None = None,
        within: float = 5.0,
    ) -> Response:
        """Ask once; a failure is answered as a server answers it."""
        headers = {} if key is None else {"idempotency-key": key}
        sent = msgspec.json.encode({"name": name}) if body is None else body
        request = Request.of("POST", target, headers=headers, body=sent)
        try:
            return await host(Call(request, time.perf_counter() + within, principal=who))
        except Exception as error:
            return problem(declared(error) or Fault(Code.INTERNAL))

    async def rows(self, sql: str = "select name from item order by name") -> list[str]:
        async with self.tables.transaction(time.perf_counter() + 5) as tx:
            return await tx.fetch_all(str, sql)

    async def kept(self) -> int:
        (count,) = await self.rows("select count(*)::text from switchgear.idempotency")
        return int(count)

    async def make(self, new: New, tx: Transaction) -> Item:
        self.runs += 1
        item = Item(uuid4(), new.name)
        await tx.execute(INSERT, item.id, item.name)
        await tx.publish("item.made", item.id)
        return item


class Held:
    """A handler that waits before its work: `inside` says that it was called, `go` lets it on."""

    def __init__(self, told: House) -> None:
        self.inside, self.go = asyncio.Event(), asyncio.Event()
        self._told = told

    async def make(self, new: New, tx: Transaction) -> Item:
        self.inside.set()
        await self.go.wait()
        return await self._told.make(new, tx)


@asynccontextmanager
async def house(
    roles: Roles, *, keep: float = 86400.0, answer_bytes: int = 1 << 20
) -> AsyncIterator[House]:
    await install(roles.owner)
    await run(roles.owner, "create table item (id uuid primary key, name text not null unique)")
    told = House(roles, keep, answer_bytes)
    try:
        yield told
    finally:
        await told.tables.close()
        await told.queue.close()


def same(first: Response, again: Response) -> bool:
    """Say whether `again` is `first`, repeated: byte for byte, and it says so."""
    repeated = first.headers.also({"idempotency-replayed": "true"})
    assert "idempotency-replayed" not in first.headers
    headers = again.headers.without(FAULT_HEADER)  # which is for gateways
    return (again.status, headers, again.body) == (first.status, repeated, first.body)


async def until(ask: Callable[[], Awaitable[Response]]) -> Response:
    """Ask until nobody else has the key."""
    async with asyncio.timeout(5):
        while True:
            answer = await ask()
            if answer.status != 409:
                return answer
            await asyncio.sleep(0.02)
