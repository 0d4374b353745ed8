"""Program 6, over a real socket: lanes run ahead, the checkpoint does not."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.policy.call import Call
from switchgear.policy.checkpoint import Checkpoint
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import Health
from tests.entrances.log import LogSource, Record
from tests.support.entrance import (
    Overheard,
    Strike,
    Watch,
    at_every_wait,
    breaker,
    nothing_left,
    speaking,
    until,
)

pytestmark = pytest.mark.usefixtures("loop_factory")

mark: ContextVar[str] = ContextVar("mark", default="none")


class Log:
    """A server that sends its lines from where it is asked to, and perhaps not all of them."""

    def __init__(self, records: int, keys: int, cut_at: int | None = None) -> None:
        chance = random.Random(7)
        self.keys = [f"key{chance.randrange(keys)}" for _ in range(records)]
        self.asked: list[int] = []
        self.cut_at = cut_at

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = int((await reader.readline()).split()[1])
        self.asked.append(first)
        for offset in range(first, len(self.keys)):
            if offset == self.cut_at:
                self.cut_at = None
                writer.write(b"key")
                return
            writer.write(f"{self.keys[offset]} text {offset}\n".encode())
            await writer.drain()


class Work:
    """Does records, and writes down what was begun and done; it knows which checkpoint to watch."""

    def __init__(self, checkpoint: Checkpoint, gate: Overheard) -> None:
        self.checkpoint = checkpoint
        self.gate = gate
        self.begun: list[tuple[str, int]] = []
        self.done: list[tuple[str, int]] = []
        self.most = 0
        self.behind = 0
        self._running = 0
        self._chance = random.Random(11)

    async def record(self, call: Call[Record]) -> None:
        offset = call.payload.offset
        assert call.payload.text == f"text {offset}"
        self.begun.append((call.key, offset))
        self._running += 1
        self.most = max(self.most, self._running)
        self.behind = max(self.behind, self.checkpoint.pending)
        try:
            await self.effort(call)
        finally:
            self._running -= 1
            self.look()
        self.done.append((call.key, offset))

    async def effort(self, call: Call[Record]) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)

    def look(self) -> None:
        """See that nothing is missing up to the checkpoint."""
        offsets = {offset for _, offset in self.done}
        assert offsets.issuperset(range(self.checkpoint.reached + 1))

    async def off(self, port: int) -> None:
        """Work the log off from the checkpoint."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"from %d\n" % (self.checkpoint.reached + 1))
            handler = stack("log", INBOUND, [Part(Place.SHED, self.gate)], self.record).run
            await LogSource(reader, self.checkpoint).run(handler)
        finally:
            writer.close()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
            self.look()

    def again(self) -> None:
        """Start anew from what was committed, as a process that comes up does."""
        self.checkpoint = Checkpoint(self.checkpoint.reached)

    def in_order(self) -> bool:
        """Whether every key's records were first done in their order."""
        of_key: dict[str, list[int]] = {}
        for key, offset in dict.fromkeys(self.done):
            of_key.setdefault(key, []).append(offset)
        return all(offsets == sorted(offsets) for offsets in of_key.values())


class Failing(Work):
    """Fails at one record, once, when later ones of other keys are done."""

    def __init__(self, *arguments: Any, at: int, when: Callable[[], Awaitable[None]]) -> None:
        super().__init__(*arguments)
        self.at = at
        self.when = when
        self.failed = False

    async def effort(self, call: Call[Record]) -> None:
        await super().effort(call)
        if call.payload.offset == self.at and not self.failed:
            await self.when()
            self.failed = True
            raise Fault(Code.UNAVAILABLE, "the store is away")


async def test_lanes_run_side_by_side_and_every_key_in_its_order(watch: Watch) -> None:
    log, gate = Log(200, keys=7), breaker()
    async with nothing_left(gate), speaking(log.talk) as port:
        work = Work(Checkpoint(), gate)
        await work.off(port)
    assert (work.checkpoint.reached, work.checkpoint.pending) == (199, 0)
    assert work.most == 4
    assert sorted(offset for _, offset in work.done) == list(range(200))
    assert [offset for _, offset in work.done] != list(range(200))
    assert work.in_order()
    assert gate.heard == [Health.GOOD] * 200
    assert watch.settlements() == [1] * 200


async def test_a_failing_record_holds_the_checkpoint_and_a_restart_begins_with_it(
    watch: Watch,
) -> None:
    log, gate = Log(100, keys=7), breaker()

    async def others_are_done() -> None:
        await until(
            lambda: work.checkpoint.reached == 49 and max(number for _, number in work.done) >= 55
        )

    async with nothing_left(gate), speaking(log.talk) as port:
        work = Failing(Checkpoint(), gate, at=50, when=others_are_done)
        with pytest.raises(Fault, match="the store is away"):
            await work.off(port)
        assert work.checkpoint.reached == 49
        assert Counter(gate.heard)[Health.BAD] == 1
        assert set(watch.settlements()) == {1}
        first = set(work.done)
        ahead = {offset for _, offset in first if offset > 50}
        assert ahead, "other lanes went on"
        # Nothing of its key has begun behind it.
        assert max(offset for key, offset in work.begun if key == log.keys[50]) == 50
        work.again()
        work.begun.clear()
        await work.off(port)
    assert log.asked == [0, 50]
    assert min(offset for _, offset in work.begun) == 50
    assert (work.checkpoint.reached, work.checkpoint.pending) == (99, 0)
    times = Counter(offset for _, offset in work.done)
    assert set(times) == set(range(100))
    assert {offset for offset, count in times.items() if count > 1} == ahead
    assert work.in_order()


async def test_a_log_that_is_cut_is_not_at_its_end() -> None:
    log, gate = Log(40, keys=5, cut_at=23), breaker()
    async with nothing_left(gate), speaking(log.talk) as port:
        work = Work(Checkpoint(), gate)
        with pytest.raises(ConnectionError, match="cut within record 23"):
            await work.off(port)
        assert work.checkpoint.reached < 23
        work.again()
        await work.off(port)
    assert work.checkpoint.reached == 39
    assert work.in_order()
    assert set(gate.heard) <= {Health.GOOD, Health.NEUTRAL}


async def test_no_more_is_taken_than_the_lanes_and_what_may_wait() -> None:
    log, gate = Log(500, keys=1), breaker()

    async def filled() -> None:
        await until(lambda: work.checkpoint.pending == 20)
        await asyncio.sleep(0.02)

    async with nothing_left(gate), speaking(log.talk) as port:
        work = Failing(Checkpoint(), gate, at=3, when=filled)
        with pytest.raises(Fault):
            await work.off(port)
    assert (work.most, work.behind, work.checkpoint.reached) == (1, 20, 2)
    assert [offset for _, offset in work.begun] == [0, 1, 2, 3]


async def test_no_context_of_a_record_is_seen_by_another() -> None:
    seen: list[str] = []

    class Marking(Work):
        async def effort(self, call: Call[Record]) -> None:
            seen.append(mark.get())
            mark.set(str(call.payload.offset))
            await asyncio.sleep(0)
            assert mark.get() == str(call.payload.offset)

    log, gate = Log(200, keys=50), breaker()
    async with nothing_left(gate), speaking(log.talk) as port:
        await Marking(Checkpoint(), gate).off(port)
    assert seen == ["none"] * 200


async def test_every_wait_can_be_the_last(watch: Watch) -> None:
    async def scene() -> None:
        log, gate = Log(6, keys=3), breaker()
        async with nothing_left(gate), speaking(log.talk) as port:
            work = Work(Checkpoint(), gate)
            running = asyncio.create_task(work.off(port))
            watch.leave = running.cancel
            await asyncio.wait([running])
            assert running.cancelled() or running.result() is None
            alone = watch.struck and not running.cancelled()
            if watch.struck:
                work.again()
                await work.off(port)
            assert work.checkpoint.reached == 5
            # A record that is called off alone is passed by others of its key, and comes again.
            assert alone or work.in_order()
        assert set(gate.heard) <= {Health.GOOD, Health.NEUTRAL}
        assert (Health.NEUTRAL in gate.heard) <= watch.struck

    await at_every_wait(watch, scene, *Strike, least=6)
