"""A row that somebody keeps locked: the route that waits for it fails, and no other does."""

import asyncio
from pathlib import Path

import pytest

from switchgear.assembly.bodies.database import FOR_REQUESTS
from tests.drills.system import fetch, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

APP = """
from switchgear import App, Transaction

app = App("locked")


@app.post("/hot", public=True, deadline="20s")
async def hot(tx: Transaction) -> int:
    return await tx.fetch_one(int, "update hot set n = n + 1 returning n")


@app.get("/cold", public=True)
async def cold(tx: Transaction) -> int:
    return await tx.fetch_one(int, "select 1")
"""
STUCK = "select count(distinct pid) from pg_locks where not granted"
PROCESSES = 2
ALONE = PROCESSES * (FOR_REQUESTS.connections - 1)  # what one route can hold


async def test_a_route_that_waits_for_a_lock_leaves_a_connection_to_others(
    data_folder: Path,
) -> None:
    folder = data_folder / "app"
    (folder / "migrations").mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    table = "create table hot (n int not null); insert into hot values (0);"
    (folder / "migrations" / "0001_hot.sql").write_text(table)
    async with running(data_folder / "data", app=str(folder)) as system:
        holder, witness = await system.owner(), await system.owner()
        async with holder.transaction():
            await holder.execute("select * from hot for update")
            asked = [
                asyncio.create_task(fetch(system.address, "POST", "/hot", within=40.0))
                for _ in range(6 * ALONE)
            ]
            while await witness.fetchval(STUCK) < ALONE:
                await asyncio.sleep(0.05)
            for _ in range(10):
                assert (await fetch(system.address, "GET", "/cold"))[0] == 200, system.told()
            assert await witness.fetchval(STUCK) == ALONE
        answered = [status for status, _ in await asyncio.gather(*asked)]
        assert set(answered) <= {201, 503}, answered
        assert answered.count(201) >= ALONE
        assert await witness.fetchval("select n from hot") == answered.count(201)
        assert (await fetch(system.address, "POST", "/hot"))[0] == 201
        await holder.close()
        await witness.close()
