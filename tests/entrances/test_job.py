"""Program 5, on a real PostgreSQL: who has lost its lease is called off, and settles nothing."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import msgspec
import pytest

from switchgear.core.consume import consume
from switchgear.core.outcome import Done
from switchgear.drills.address import Address
from switchgear.drills.injection import Hang
from switchgear.drills.proxy import Proxy
from switchgear.engines.postgres.bootstrap import Roles
from switchgear.engines.postgres.queue import PostgresQueue
from switchgear.engines.postgres.tables import PostgresTables
from switchgear.policy.call import Call
from switchgear.policy.verdict import Health
from switchgear.ports.broker import Intake, Message, Received
from tests.conformance.conftest import QUICK, Bench, Opened
from tests.entrances.job import Digest, Press, digests_of, run_press
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    nothing_left,
    until,
)  # fmt: skip
from tests.support.postgres import run

pytestmark = [pytest.mark.usefixtures("loop_factory"), pytest.mark.timeout(30)]

Pressing = tuple[Intake, "asyncio.Task[None]"]
mark: ContextVar[str] = ContextVar("mark", default="none")


@pytest.fixture
def bench(postgres_bench: Opened, roles: Roles) -> Opened:
    asyncio.run(run(roles.owner, "CREATE TABLE digests (day text)"))
    return postgres_bench


def soon() -> float:
    return perf_counter() + 10.0


async def order(on: Bench, day: str = "monday", pages: int = 1, pause: float = 0.0) -> None:
    body = msgspec.json.encode(Digest(day, pages, pause))
    await on.broker.publish(Message(str(uuid4()), "digest", body), soon())


async def depths(on: Bench) -> dict[str, int]:
    return (await on.broker.depths(soon())).get("digest", {})


async def published(on: Bench) -> list[str]:
    async with on.tables.transaction(soon()) as tx:
        return await tx.fetch_all(str, "SELECT day FROM digests ORDER BY day")


async def gone(on: Bench) -> None:
    while await depths(on):
        await asyncio.sleep(0.01)


@asynccontextmanager
async def pressing(on: Bench, press: Press, gate: Overheard) -> AsyncIterator[Pressing]:
    intake = digests_of(on.broker)
    task = asyncio.create_task(run_press(intake, press, gate))
    try:
        yield intake, task
    except BaseException:
        task.cancel()
        raise
    finally:
        intake.drain()
        await asyncio.wait([task])
        assert task.cancelled() or task.result() is None


class Stubborn(Press):
    """Does not let itself be called off, and needs no transaction to have its effect."""

    async def write(self, call: Call[Received]) -> None:
        self.called_off = False
        while not self.called_off:
            self.written += 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.called_off = True


@asynccontextmanager
async def remote(roles: Roles) -> AsyncIterator[tuple[Bench, Proxy]]:
    """Open a second process's way to the database: all of it hangs when the proxy is told so."""
    folder = Path(tempfile.mkdtemp(prefix="sg-"))  # short: a socket's path has 107 bytes
    dsn = msgspec.structs.replace(roles.app, host=str(folder))
    listening = Address(path=dsn.place)
    try:
        async with Proxy(listening, Address(path=roles.app.place)) as proxy:
            queue = PostgresQueue(dsn, name="remote", settings=QUICK)
            tables = PostgresTables(dsn, outbox=queue)
            try:
                yield Bench(queue, tables, queue.close), proxy
            finally:
                await queue.close()
                await tables.close()
    finally:
        shutil.rmtree(folder)


async def test_a_heartbeat_keeps_the_lease_of_a_job_that_outlasts_it(
    bench: Opened, watch: Watch
) -> None:
    gate = breaker()
    async with nothing_left(gate), bench() as on, bench() as rival:
        await order(on, pages=12, pause=QUICK.lease / 5)
        press, idle = Press(on.tables), Press(rival.tables)
        async with pressing(on, press, gate) as (intake, _), pressing(rival, idle, gate):
            await gone(on)
            assert (press.written, idle.written) in ((12, 0), (0, 12))
        assert await published(on) == ["monday"]
        assert intake.statistics()["lost"] == 0
    assert gate.heard == [Health.GOOD]
    assert watch.settlements() == [1]


async def test_a_job_whose_process_is_cut_off_loses_its_lease_and_its_settlement(
    bench: Opened, watch: Watch, roles: Roles
) -> None:
    gate, other = breaker(), breaker()
    async with nothing_left(gate, other), remote(roles) as (far, way), bench() as on:
        await order(on, pages=1000, pause=QUICK.lease / 10)
        press = Press(far.tables)
        async with pressing(far, press, gate) as (intake, _):
            await until(lambda: press.written >= 2)
            hung = await way.inject(Hang())
            # Nobody can renew the lease: the work is called off, though no answer has come.
            await until(lambda: gate.verdicts)
            assert gate.heard == [Health.NEUTRAL]
            assert watch.called_off() == [True]
            written = press.written
            successor = Press(on.tables)
            async with pressing(on, successor, other) as (second, _):
                await until(lambda: successor.written >= 2)
                assert watch.deliveries[1].call.attempt == 1  # a death is no attempt
                # The one that was cut off comes back, and settles what is another's by now.
                await way.heal(hung)
                await until(lambda: intake.statistics()["lost"] >= 1)
                assert await depths(on) == {"leased": 1}
                assert (press.written, other.verdicts) == (written, [])
                second.drain()
                await on.lose()  # it is long; nobody needs to see its end
                await until(lambda: other.verdicts)
        assert await published(on) == []
    assert watch.settlements()[:2] == [1, 1]


@pytest.mark.parametrize("kind", [Press, Stubborn])
async def test_the_settlement_of_a_lost_lease_is_refused(
    bench: Opened, watch: Watch, kind: type[Press]
) -> None:
    gate, other = breaker(), breaker()
    async with nothing_left(gate, other), bench() as on, bench() as rival:
        await order(on, pages=1, pause=60.0)
        press = kind(on.tables)
        waiting = Stubborn(rival.tables)
        async with pressing(on, press, gate) as (intake, task):
            await until(lambda: gate.out)
            intake.drain()  # it takes no other: whoever comes next is the rival
            await on.lose()
            async with pressing(rival, waiting, other) as (second, rivals):
                await until(lambda: waiting.written)
                await until(lambda: gate.verdicts)
                await asyncio.wait([task])
                # Called off it is nobody's fault; the stubborn one says that it is done.
                usual = Health.GOOD if kind is Stubborn else Health.NEUTRAL
                assert gate.heard == [usual]
                assert intake.statistics()["lost"] == 1
                assert intake.statistics()["finished"] == 0
                assert await depths(on) == {"leased": 1}
                assert other.out == 1
                second.drain()
                rivals.cancel()
        assert watch.settlements() == [1, 1]
        # What the rival settled counts: it has the lease.
        assert await depths(on) == {}
        assert isinstance(watch.deliveries[1].outcomes[0], Done)
        assert second.statistics()["finished"] == 1


async def test_draining_lets_a_job_end_and_calling_off_hands_it_back(
    bench: Opened, watch: Watch
) -> None:
    gate = breaker()
    async with nothing_left(gate), bench() as on:
        await order(on, pages=3, pause=0.05)
        await order(on, "tuesday", pages=1, pause=60.0)
        press = Press(on.tables)
        async with pressing(on, press, gate) as (intake, task):
            await until(lambda: press.written)
            intake.drain()
            await asyncio.wait([task])
        assert await published(on) == ["monday"]
        assert (gate.heard, await depths(on)) == ([Health.GOOD], {"ready": 1})
        async with pressing(on, press, gate) as (_, task):
            await until(lambda: gate.out)
            task.cancel()
        assert (gate.heard[1:], await depths(on)) == ([Health.NEUTRAL], {"ready": 1})
    assert watch.settlements() == [1, 1]
    assert watch.called_off() == [False, True]
    assert watch.deliveries[1].call.attempt == 1


async def test_no_context_of_a_job_is_seen_by_another(bench: Opened) -> None:
    seen: list[str] = []

    async def marking(call: Call[Received]) -> None:
        seen.append(mark.get())
        mark.set(call.payload.message.id)
        await asyncio.sleep(0.001)
        assert mark.get() == call.payload.message.id

    async with nothing_left(), bench() as on:
        async with on.tables.transaction(soon()) as tx:
            for number in range(200):
                await tx.publish("digest", number)
        intake = digests_of(on.broker)
        task = asyncio.create_task(consume(intake, marking, lanes=8))
        await gone(on)
        intake.drain()
        await task
        await intake.close()
    assert seen == ["none"] * 200


async def test_every_wait_can_be_the_last(bench: Opened, watch: Watch) -> None:
    days: list[str] = []

    async def scene() -> None:
        gate = breaker()
        async with nothing_left(gate), bench() as on:
            days.append(f"day {len(days):03}")
            await order(on, days[-1], pages=1, pause=0.001)
            async with pressing(on, Press(on.tables), gate) as (_, task):
                watch.leave = task.cancel
                while not task.done() and await depths(on):
                    if watch.struck and all(watch.settlements()):
                        break
                    await asyncio.sleep(0.002)
            assert not (await depths(on)).get("leased")
            if watch.struck:
                async with pressing(on, Press(on.tables), gate):
                    await gone(on)
            assert await published(on) == days
        allowed = {Health.GOOD, Health.NEUTRAL} if watch.struck else {Health.GOOD}
        assert set(gate.heard) <= allowed

    await at_every_wait(watch, scene, *Strike, least=5)
