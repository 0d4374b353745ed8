"""The queue under murder: workers, servers and connections die, and every effect is there once."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import msgspec
import pytest

from switchgear.core.consume import consume
from switchgear.core.outcome import Done
from switchgear.engines.postgres.bootstrap import Roles, bootstrap, role_names
from switchgear.engines.postgres.embedded import EmbeddedPostgres
from switchgear.engines.postgres.queue import PostgresQueue, QueueSettings, install
from switchgear.engines.postgres.queue.delivery import QueueDelivery
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.lane.once import once
from switchgear.policy.call import Call
from switchgear.policy.fault import Fault
from switchgear.ports.broker import Message, Reading, Received
from switchgear.ports.tables import Transaction
from tests.support.postgres import run

WORKER = Path(__file__).with_name("worker.py")
QUICK = QueueSettings(lease=1.0, heartbeat=0.2, poll=0.2, backoff=0.02, backoff_cap=0.05)
READING = Reading("orders", "shop", prefetch=8)


def soon(seconds: float = 10.0) -> float:
    return perf_counter() + seconds


async def prepare(roles: Roles) -> None:
    await install(roles.owner)
    await run(roles.owner, "CREATE TABLE effects (message text)")


@asynccontextmanager
async def opened(
    roles: Roles, settings: QueueSettings = QUICK
) -> AsyncIterator[tuple[PostgresQueue, PostgresTables]]:
    queue = PostgresQueue(roles.app, settings=settings)
    tables = PostgresTables(roles.app, outbox=queue)
    try:
        yield queue, tables
    finally:
        await queue.close()
        await tables.close()


async def publish(tables: PostgresTables, *bodies: object) -> list[str]:
    async with tables.transaction(soon()) as tx:
        return [await tx.publish("orders", body) for body in bodies]


async def column(roles: Roles, query: str) -> list[Any]:
    connection = await asyncpg.connect(**roles.owner.arguments())
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.02)


@asynccontextmanager
async def worker(
    roles: Roles, point: str = "never", number: int = 0, deaths: int = 3
) -> AsyncIterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), msgspec.json.encode(roles.app).decode(), point, str(number)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "DEATHS": str(deaths)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def died(process: "subprocess.Popen[str]") -> None:
    assert await asyncio.to_thread(process.wait, 30) == -signal.SIGKILL


def empty(queue: PostgresQueue) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = (await queue.depths(soon())).get("orders", {})
        return not found.keys() - {"dead"}

    return check


@pytest.mark.parametrize("point", ["received", "effect", "committed"])
async def test_a_worker_killed_at_a_point_leaves_every_effect_once(
    roles: Roles, point: str
) -> None:
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        sent = await publish(tables, *range(20))
        async with worker(roles, point, 5) as victim:
            await died(victim)
        async with worker(roles):
            await until(empty(queue))
        assert sorted(await column(roles, "SELECT message FROM effects")) == sorted(sent)
        assert await queue.dead("orders", soon()) == []


async def test_workers_killed_at_any_time_leave_every_effect_once(roles: Roles) -> None:
    await prepare(roles)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with opened(roles) as (queue, tables):
        sent = await publish(tables, *range(400))
        for _ in range(4):
            async with worker(roles, deaths=100) as victim:
                assert victim.stdout is not None
                await asyncio.to_thread(victim.stdout.readline)
                await asyncio.sleep(chance.uniform(0, 0.1))
                victim.kill()
        async with worker(roles, deaths=100):
            await until(empty(queue))
        assert sorted(await column(roles, "SELECT message FROM effects")) == sorted(sent)


async def test_a_message_that_kills_its_workers_is_quarantined_alone(roles: Roles) -> None:
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        sent = await publish(tables, *range(6), "poison", *range(6, 20))
        lives = 0
        while not await queue.dead("orders", soon()):
            lives += 1
            async with worker(roles) as process:  # as a supervisor would start it again

                async def decided(process: "subprocess.Popen[str]" = process) -> bool:
                    dead = await queue.dead("orders", soon())
                    return process.poll() is not None or bool(dead)

                await until(decided)
        async with worker(roles):
            await until(empty(queue))
        (letter,) = await queue.dead("orders", soon())
        assert letter.message.id == sent[6]
        assert (letter.deaths, letter.attempts) == (3, 0)
        assert letter.cause == "the process that held it died, 3 times"
        effects = await column(roles, "SELECT message FROM effects")
        assert sorted(effects) == sorted(set(sent) - {sent[6]})
        assert lives <= 4


async def test_a_paused_worker_cannot_do_what_another_took_over(roles: Roles) -> None:
    if not hasattr(os, "waitid"):
        pytest.skip("platform: not every Python of macOS has waitid")
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        sent = await publish(tables, *range(10))
        async with worker(roles, "pause", 3) as paused:
            await asyncio.to_thread(os.waitid, os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)
            async with worker(roles):
                await until(empty(queue))
            paused.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
            paused.terminate()
            out, _ = await asyncio.to_thread(paused.communicate, None, 10)
            assert '"lost":' in out
        assert sorted(await column(roles, "SELECT message FROM effects")) == sorted(sent)
        assert await queue.dead("orders", soon()) == []


async def test_a_stopped_worker_hands_back_at_once_and_uncounted(roles: Roles) -> None:
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        await publish(tables, *range(500))
        async with worker(roles) as process:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            process.terminate()
            await asyncio.to_thread(process.communicate, None, 10)
            assert process.returncode == 0
        assert "leased" not in (await queue.depths(soon()))["orders"]
        assert await column(roles, "SELECT DISTINCT deaths + attempts FROM switchgear.ready") == [0]
        assert await column(roles, "SELECT id FROM switchgear.holder") == []


class Shop:
    """Writes an effect, slowly enough to be interrupted."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, message: Message, tx: Transaction) -> None:
        await tx.execute("INSERT INTO effects (message) VALUES ($1)", message.id)
        self.begun.set()
        await asyncio.sleep(0.002)


async def test_a_killed_postmaster_loses_no_message_and_repeats_no_effect(
    data_folder: Path,
) -> None:
    server = EmbeddedPostgres(data_folder)
    passwords = dict.fromkeys(role_names(), "x")
    roles = await bootstrap(await server.start(), passwords)
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        sent = await publish(tables, *range(200))
        shop = Shop()
        intake = queue.source(READING)
        task = asyncio.create_task(consume(intake, once(tables, shop), lanes=4))
        for _ in range(2):
            shop.begun.clear()
            await shop.begun.wait()
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await server.wait()
            await asyncio.sleep(0.2)
            await server.start()
        await until(empty(queue))
        intake.drain()
        await task
        assert sorted(await column(roles, "SELECT message FROM effects")) == sorted(sent)
    await server.stop()


async def test_an_outage_longer_than_the_lease_is_nobodys_death(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder)
    roles = await bootstrap(await server.start(), dict.fromkeys(role_names(), "x"))
    await prepare(roles)
    cancelled = asyncio.Event()
    calls: list[Call[Received]] = []

    async def hang_at_first(call: Call[Received]) -> None:
        calls.append(call)
        if len(calls) == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    async with opened(roles) as (queue, tables), opened(roles) as (other, _):
        await publish(tables, 1)
        intakes = [queue.source(READING), other.source(READING)]
        tasks = [asyncio.create_task(consume(intake, hang_at_first)) for intake in intakes]
        while not calls:
            await asyncio.sleep(0.01)
        await server.stop("immediate")
        await cancelled.wait()  # nobody can renew: the work is called off
        await server.start()
        # Whoever is back first must not take the silence of the others for their death.
        await other._keeper._reclaim()
        assert not await column(
            roles, "SELECT id FROM switchgear.holder WHERE dead_at > '-infinity'"
        )
        await until(empty(queue))
        assert len(calls) == 2
        assert calls[1].attempt == 1
        for intake in intakes:
            intake.drain()
        await asyncio.gather(*tasks)
    assert await column(roles, "SELECT entry FROM switchgear.dead") == []
    await server.stop()


async def test_a_lease_whose_answer_was_lost_comes_back(roles: Roles) -> None:
    await prepare(roles)
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'switchgear queue'"
        " AND datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'leased'"
    )
    async with opened(roles) as (queue, tables):
        intake = queue.source(READING)
        await publish(tables, 1)
        first = await intake.take()
        assert first is not None
        app = await asyncpg.connect(**roles.app.arguments())
        # What the intake asks for is stopped halfway. Meanwhile there is a lease it knows nothing
        # of: as if its statement had committed, and the connection broken before the answer.
        admin = await asyncpg.connect(**roles.owner.arguments())
        stop = admin.transaction()
        await stop.start()
        await admin.execute("LOCK TABLE switchgear.ready IN SHARE MODE")
        while not (stuck := await app.fetchval(waiting)):
            await asyncio.sleep(0.01)
        await admin.execute(
            "INSERT INTO switchgear.ready (message, topic, body, holder)"
            " VALUES (gen_random_uuid(), 'orders', '2', $1)",
            intake.holder,
        )
        await app.execute("SELECT pg_terminate_backend($1)", stuck)
        await stop.commit()
        second = await intake.take()
        assert second is not None
        assert second.message.body == b"2"
        for delivery in (first, second):
            await delivery.settle(Done(None))
        await intake.close()
        assert intake.statistics()["finished"] == 2
        await app.close()
        await admin.close()


async def test_a_holder_that_was_declared_dead_leases_nothing(roles: Roles) -> None:
    await prepare(roles)
    unaware = QueueSettings(lease=60.0, heartbeat=30.0, poll=0.05)
    async with opened(roles, unaware) as (queue, tables):
        intake = queue.source(READING)
        await publish(tables, 1)
        delivery = await intake.take()
        assert delivery is not None
        await asyncio.sleep(1.0)  # the first renewal comes at once, and would notice; the next not
        await run(
            roles.owner,
            "WITH dead AS (UPDATE switchgear.holder SET dead_at = now()) "
            "UPDATE switchgear.ready SET holder = NULL, deaths = 0",
        )
        await asyncio.sleep(0.3)
        assert await queue.depths(soon()) == {"orders": {"ready": 1}}
        await delivery.settle(Done(None))
        await intake.close()
        assert await queue.depths(soon()) == {"orders": {"ready": 1}}


async def test_handlers_that_hold_every_connection_do_not_cost_the_lease(roles: Roles) -> None:
    await prepare(roles)
    small = QueueSettings(lease=0.6, heartbeat=0.2, poll=0.2, connections=1)
    async with opened(roles, small) as (queue, tables), opened(roles, small) as (other, _):
        await publish(tables, 1)
        seen: list[str] = []

        async def long(message: Message, tx: Transaction) -> None:
            seen.append(message.id)
            await tx.execute("SELECT pg_sleep(1.5)")

        intakes = [queue.source(READING), other.source(READING)]
        blocked = await queue._pool.take(soon())
        await queue._pool.give(blocked)
        tasks = [asyncio.create_task(consume(one, once(tables, long))) for one in intakes]
        await until(empty(queue))
        assert len(seen) == 1
        for intake in intakes:
            intake.drain()
        await asyncio.gather(*tasks)


async def test_a_bell_that_lost_its_connection_rings_again(roles: Roles) -> None:
    await prepare(roles)
    slow = QueueSettings(poll=30.0)
    async with opened(roles, slow) as (queue, tables):
        intake = queue.source(READING)
        taking = asyncio.create_task(intake.take())
        await asyncio.sleep(0.3)
        await run(
            roles.app,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'switchgear bell' AND datname = current_database()",
        )
        await asyncio.sleep(0.3)
        await publish(tables, 1)
        delivery = await asyncio.wait_for(taking, 5)
        assert delivery is not None
        await delivery.settle(Done(None))
        await intake.close()


async def test_what_was_rung_while_nobody_listened_is_found_without_polling(roles: Roles) -> None:
    await prepare(roles)
    slow = QueueSettings(poll=30.0)
    async with opened(roles, slow) as (queue, _):
        intake = queue.source(READING)
        taking = asyncio.create_task(intake.take())
        await asyncio.sleep(0.3)
        await run(
            roles.app,
            "INSERT INTO switchgear.ready (message, topic, body)"
            " VALUES (gen_random_uuid(), 'orders', '1')",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'switchgear bell' AND datname = current_database()",
        )
        delivery = await asyncio.wait_for(taking, 5)
        assert delivery is not None
        await delivery.settle(Done(None))
        await intake.close()


async def test_a_suspect_runs_alone(roles: Roles) -> None:
    await prepare(roles)
    async with opened(roles) as (queue, tables):
        await publish(tables, *range(20))
        await run(roles.owner, "UPDATE switchgear.ready SET deaths = 1 WHERE id % 3 = 0")
        intake = queue.source(READING)
        seen: list[tuple[int, float]] = []

        async def note(call: Call[Received]) -> None:
            assert isinstance(call.payload, QueueDelivery)
            seen.append((call.payload.leased.deaths, intake.statistics()["out"]))
            await asyncio.sleep(0.01)
            seen.append((call.payload.leased.deaths, intake.statistics()["out"]))

        task = asyncio.create_task(consume(intake, note, lanes=4))
        await until(empty(queue))
        intake.drain()
        await task
        assert len(seen) == 40
        assert {out for deaths, out in seen if deaths} == {1}
        assert max(out for deaths, out in seen if not deaths) > 1


async def test_the_tables_are_made_once_and_are_the_apps_to_use_only(roles: Roles) -> None:
    names = ["0001_queue.sql", "0002_lease.sql", "0003_idempotency.sql"]
    assert await install(roles.owner) == names
    assert await install(roles.owner) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(roles.app, "DROP TABLE switchgear.ready")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(roles.accounts, "SELECT * FROM switchgear.ready")


async def test_a_server_that_is_away_is_told_to_who_publishes(roles: Roles) -> None:
    nowhere = msgspec.structs.replace(roles.app, host="/nowhere")
    queue = PostgresQueue(nowhere)
    with pytest.raises(Fault, match="postgres"):
        await queue.publish(Message("0" * 32, "orders", b"1"), soon(1))
    await queue.close()


def test_a_heartbeat_that_is_too_slow_for_the_lease_is_refused() -> None:
    with pytest.raises(ValueError, match="at most half of the lease"):
        QueueSettings(lease=2.0, heartbeat=1.5)
