"""The worker's process: ready while it consumes, and gone when it cannot."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import pytest

from switchgear import App, IdempotencyKey, Transaction
from switchgear.assembly.failures import StartError
from switchgear.assembly.settings import Settings
from switchgear.consumers.worker import Worker
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue, install
from switchgear.gateway.settings import GatewaySettings
from switchgear.ports.broker import Message
from tests.support.bodies import standing


def consuming(attempts: int = 10) -> App:
    app = App("toys")

    @app.consumer("item.made", attempts=attempts)
    async def take(item: int, key: IdempotencyKey) -> None: ...

    return app


async def test_it_says_what_it_consumes_until_it_is_drained(tmp_path: Path, roles: Roles) -> None:
    await install(roles.owner)
    async with standing(tmp_path, consuming(), "worker", roles=roles) as stand:
        (role,) = stand.running
        told = await role.context.answers["consumers"](None)
        assert told["item.made"]["taken"] == 0
        assert role.context.requests() == 0


async def test_a_worker_that_ends_by_itself_ends_its_process(
    tmp_path: Path, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle and ready for ever, it would look well."""

    async def broken(self: Worker) -> None:
        await asyncio.sleep(0.05)
        raise ZeroDivisionError("a defect of ours")

    await install(roles.owner)
    monkeypatch.setattr(Worker, "run", broken)
    with pytest.raises(ZeroDivisionError):
        async with standing(tmp_path, consuming(), "worker", roles=roles) as stand:
            await asyncio.wait_for(asyncio.shield(stand.running[0].task), 5)


async def test_attempts_that_nobody_can_keep_account_of_are_refused(
    tmp_path: Path, roles: Roles
) -> None:
    settings = Settings(gateway=GatewaySettings())
    with pytest.raises(StartError, match=r"cannot be bound: consumer .* 1000 attempts"):
        async with standing(tmp_path, consuming(1000), "worker", settings=settings, roles=roles):
            pass


async def test_its_own_handlers_do_not_make_the_database_look_away(
    tmp_path: Path, roles: Roles
) -> None:
    """They may hold every connection for as long as they run."""
    app = App("toys")
    busy = 0

    @app.consumer("item.made", lanes=16)
    async def take(item: int, tx: Transaction) -> None:
        nonlocal busy
        busy += 1
        await asyncio.sleep(4)

    await install(roles.owner)
    queue = PostgresQueue(roles.app)
    for number in range(16):
        body = str(number).encode()
        await queue.publish(Message(str(uuid4()), "item.made", body), time.perf_counter() + 5)
    async with standing(tmp_path, app, "worker", roles=roles) as stand:
        await asyncio.sleep(3)
        assert busy == 10
        assert stand.running[0].degraded == ()
    await queue.close()
