"""Tables behind a watch: who waits for a database that is away, and who is told at once."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

import pytest

from switchgear.assembly.bodies.database import Guarded, watch
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import NEUTRAL_AGAIN, judge
from switchgear.ports.tables import OpenSnapshot, Transaction


class Server:
    """Tables whose server answers, or not, as the test says."""

    def __init__(self) -> None:
        self.away = False
        self.opened = 0
        self.probed: list[float] = []

    def transaction(self, deadline: float) -> AbstractAsyncContextManager[Transaction]:
        self.opened += 1
        return nullcontext(cast(Transaction, self))

    async def snapshot(self, deadline: float) -> OpenSnapshot:
        self.opened += 1
        return cast(OpenSnapshot, self)

    async def probe(self, deadline: float) -> None:
        self.probed.append(asyncio.get_running_loop().time())
        if self.away:
            raise Fault(Code.UNAVAILABLE, "nobody there", effect=Effect.NONE)

    async def close(self) -> None:
        pass


class Context:
    """Hears what a role says of its dependencies."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str | None]] = []

    def degraded(self, dependency: str, reason: str | None) -> None:
        if not self.said or self.said[-1] != (dependency, reason):
            self.said.append((dependency, reason))


def test_one_failed_look_shuts_nobody_out_and_two_do() -> None:
    server = Server()
    tables = Guarded(server)
    tables.looked("no answer")
    tables.transaction(1.0)
    tables.looked(None)
    tables.looked("no answer")
    tables.transaction(1.0)
    assert server.opened == 2
    tables.looked("still no answer")
    with pytest.raises(Fault, match="the database is away: still no answer") as refused:
        tables.transaction(1.0)
    fault = refused.value
    assert (fault.code, fault.effect, fault.refusal) == (
        Code.UNAVAILABLE,
        Effect.NONE,
        Refusal.OPEN,
    )
    assert judge(fault).health is NEUTRAL_AGAIN.health
    assert server.opened == 2
    tables.looked(None)
    tables.transaction(1.0)
    assert server.opened == 3


@pytest.mark.virtual
async def test_the_watch_looks_closer_while_the_server_is_away() -> None:
    server, context = Server(), Context()
    heard: list[str | None] = []
    watching = asyncio.create_task(watch(cast(Any, context), server, heard.append))
    await asyncio.sleep(2.5)
    server.away = True
    await asyncio.sleep(1.1)
    server.away = False
    await asyncio.sleep(1.5)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    times = [round(at - server.probed[0], 2) for at in server.probed]
    assert times == [0, 1, 2, 3, 3.25, 3.5, 3.75, 4.75]
    assert heard == [None, None, None, *["nobody there"] * 3, None, None]
    assert context.said == [
        ("database", None),
        ("database", "nobody there"),
        ("database", None),
    ]


@pytest.mark.virtual
async def test_what_is_wrong_with_a_server_that_answers_is_told_and_shuts_nobody_out() -> None:
    server, context = Server(), Context()
    heard: list[str | None] = []
    trouble = iter(["", "its disk is full", "its disk is full", ""])
    watching = asyncio.create_task(
        watch(cast(Any, context), server, heard.append, lambda: next(trouble))
    )
    await asyncio.sleep(3.5)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert context.said == [
        ("database", None),
        ("database", "its disk is full"),
        ("database", None),
    ]
    assert heard == [None] * 4


@pytest.mark.virtual
async def test_the_watch_outlives_whatever_a_look_raises() -> None:
    """Its last word would else stand for good: that the server is away, and nobody is served."""

    class Odd(Server):
        async def probe(self, deadline: float) -> None:
            await super().probe(deadline)
            if len(self.probed) == 2:
                raise ZeroDivisionError("of a driver")

    server, context = Odd(), Context()
    heard: list[str | None] = []
    watching = asyncio.create_task(watch(cast(Any, context), server, heard.append))
    await asyncio.sleep(1.5)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert heard == [None, "ZeroDivisionError: of a driver", None]


async def test_a_probe_asks_the_server_even_while_others_are_refused() -> None:
    server = Server()
    tables = Guarded(server)
    tables.looked("no")
    tables.looked("no")
    await tables.probe(1.0)
    assert len(server.probed) == 1


async def test_snapshots_are_refused_as_transactions_are() -> None:
    server = Server()
    tables = Guarded(server)
    await tables.snapshot(1.0)
    tables.looked("no")
    tables.looked("no")
    with pytest.raises(Fault, match="the database is away: no"):
        await tables.snapshot(1.0)
    assert server.opened == 1
