"""Around an entrance: what its deliveries did, and that nothing of it is left behind.

`Watch` stands around every dispatch, of servers and of consumers alike: it counts how each delivery
is settled, and strikes at one chosen wait of them all. `nothing_left` compares permits,
descriptors, tasks, timers and alarms with those from before.
"""

import asyncio
import os
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from types import coroutine
from typing import Any

import pytest

from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE
from switchgear.core.delivery import dispatch
from switchgear.core.drivers import Stepper, Wait, Work, working
from switchgear.core.outcome import Failed, Outcome
from switchgear.core.sweep import Sweep, sweep_of
from switchgear.http.exchange import Exchange
from switchgear.http.server import Run, Server
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.gate import Ask, Gate, Permit, Refused, Waiting
from switchgear.policy.verdict import Health, Verdict
from tests.integration.http.harness import Talk, listen

__all__ = [
    "Counted", "Overheard", "Strike", "Watch", "at_every_wait", "breaker", "bulkhead", "clocked",
    "nothing_left", "serving", "speaking", "until",
]  # fmt: skip

FEW = 200  # waits of one scene: one more, and it waits for ever


class Overheard:
    """A real gate; what it is told is written down in passing."""

    def __init__(self, gate: Gate) -> None:
        self.name = gate.name
        self.gate = gate
        self.verdicts: list[Verdict] = []

    def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        return self.gate.admit(ask, now)

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        self.verdicts.append(verdict)
        return self.gate.settle(permit, verdict, now)

    def abandon(self, waiting: Waiting, now: float) -> None:
        self.gate.abandon(waiting, now)

    def statistics(self) -> dict[str, float | str]:
        return self.gate.statistics()

    @property
    def out(self) -> float:
        """How many of its permits are out."""
        return float(self.statistics()["out"])

    @property
    def heard(self) -> list[Health]:
        """What every verdict said of the dependency's health."""
        return [verdict.health for verdict in self.verdicts]


def breaker(**settings: Any) -> Overheard:
    return Overheard(Breaker("breaker", BreakerSettings(**settings), jitter=lambda: 0.5))


def bulkhead(**settings: Any) -> Overheard:
    return Overheard(Bulkhead("bulkhead", BulkheadSettings(**settings)))


class Counted:
    """A delivery that remembers how it was settled."""

    def __init__(self, delivery: Any) -> None:
        self.delivery = delivery
        self.outcomes: list[Outcome[Any]] = []

    @property
    def call(self) -> Any:
        return self.delivery.call

    def begin(self, work: Work) -> None:
        self.delivery.begin(work)

    async def settle(self, outcome: Outcome[Any]) -> None:
        self.outcomes.append(outcome)
        await self.delivery.settle(outcome)


class Strike(Enum):
    """What happens at the chosen wait."""

    CALLED_OFF = "the work is called off while it waits"
    CALLED_OFF_AWAKE = "the work is called off in the very turn in which it would wake"
    LEFT = "whoever the work is for leaves"


class Watch:
    """Everything that was dispatched, and the one wait at which something happens.

    `leave` is what `Strike.LEFT` does: a scene sets it once it has somebody who can leave.
    """

    def __init__(self) -> None:
        self.deliveries: list[Counted] = []
        self.leave: Callable[[], Any] = lambda: None
        self.struck = False
        self._strike = Strike.CALLED_OFF
        self._at = 0
        self._waits = 0

    def arm(self, at: int, strike: Strike) -> None:
        """Begin anew, and strike at the wait number `at`."""
        self.deliveries = []
        self.leave = lambda: None
        self.struck = False
        self._strike, self._at, self._waits = strike, at, 0

    async def dispatch(self, handler: Any, delivery: Any) -> None:
        """Dispatch, watched."""
        counted = Counted(delivery)
        self.deliveries.append(counted)
        await self._passing(dispatch(handler, counted))

    def watched(self, server: Server) -> Run:
        """Return what answers the exchanges of a server as it would, watched."""

        async def run(exchange: Exchange) -> None:
            if not server.eager:
                ambient.set(exchange.call)
            await self.dispatch(server.handler, exchange)

        return run

    def settlements(self) -> list[int]:
        """How often each delivery was settled, in the order in which they were dispatched."""
        return [len(counted.outcomes) for counted in self.deliveries]

    def called_off(self) -> list[bool]:
        """Whether each delivery was settled as called off."""
        return [
            isinstance(outcome, Failed) and isinstance(outcome.error, CancelledError)
            for counted in self.deliveries
            for outcome in counted.outcomes
        ]

    @coroutine
    def _passing(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Pass on what `work` waits for, and strike when the time has come."""
        driver = working()
        thrown: BaseException | None = None
        while True:
            try:
                waited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration:
                return
            self._waits += 1
            if self._waits == self._at:
                self.struck = True
                self._hit(driver, waited)
            try:
                yield waited
            except BaseException as error:
                thrown = error
            else:
                thrown = None

    def _hit(self, driver: Work, waited: Any) -> None:
        loop = driver.get_loop()
        if self._strike is Strike.LEFT:
            loop.call_soon(self.leave)
        elif self._strike is Strike.CALLED_OFF or waited is None:
            loop.call_soon(driver.cancel)
        elif isinstance(waited, Wait):
            loop.call_soon(_before, waited, driver)
        else:  # before the driver's own callback
            waited.add_done_callback(lambda _: driver.cancel())


class _Struck:
    """Stands where a stepper sleeps, and has it called off as soon as it is woken."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    def _step(self) -> None:
        self._stepper.cancel()
        self._stepper._step()

    def _soon(self) -> None:
        self._stepper.cancel()
        self._stepper._soon()


def _before(waited: Wait, driver: Work) -> None:
    if waited.stepper is not None and not waited.done():
        sleeper: Any = _Struck(waited.stepper)
        waited.stepper = sleeper
    else:
        driver.cancel()


_watching: list[Watch] = []  # who watches the servers of the present test


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watching = Watch()
    monkeypatch.setattr("switchgear.core.consume.dispatch", watching.dispatch)
    _watching.append(watching)
    yield watching
    _watching.remove(watching)


async def at_every_wait(
    watch: Watch, scene: Callable[[], Awaitable[None]], *strikes: Strike, least: int
) -> None:
    """Play `scene` again and again, struck one wait later each time, at last undisturbed.

    Every delivery must be settled exactly once and nothing may be left; the rest is the scene's to
    ask. It must have waited at least `least` times.
    """
    for strike in strikes or Strike:
        for at in range(1, FEW):
            watch.arm(at, strike)
            try:
                async with nothing_left():
                    await scene()
                assert set(watch.settlements()) == {1}, watch.settlements()
            except BaseException as error:
                error.add_note(f"struck at wait {at}: {strike.value}")
                raise
            if not watch.struck:
                assert at > least, f"it waited {at - 1} times only"
                break
        else:
            raise AssertionError("it waits for ever")


# What may be left


def clocked(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Have a loop remember its timers; the sweep's one timer is no news (see `Sweep.armed`)."""
    timers: list[asyncio.TimerHandle] = []

    def kept(make: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        def call(when: float, callback: Any, *arguments: Any, **options: Any) -> Any:
            handle = make(when, callback, *arguments, **options)
            if not isinstance(getattr(callback, "__self__", None), Sweep):
                timers[:] = [old for old in timers if pending(loop, old)]
                timers.append(handle)
            return handle

        return call

    patched: Any = loop
    patched.timers = timers
    patched.call_later = kept(loop.call_later)
    patched.call_at = kept(loop.call_at)
    return loop


def pending(loop: asyncio.AbstractEventLoop, handle: asyncio.TimerHandle) -> bool:
    return not handle.cancelled() and handle.when() > loop.time()


def descriptors() -> set[tuple[int, int]]:
    """What this process has open, by device and inode: numbers are used again."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the one that listed the folder
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def remains() -> dict[str, set[Any]]:
    loop: Any = asyncio.get_running_loop()
    return {
        "descriptors": descriptors(),
        "tasks": asyncio.all_tasks(),
        "timers": {handle for handle in loop.timers if pending(loop, handle)},
        "alarms": set(sweep_of(loop).alarms()),
    }


@asynccontextmanager
async def nothing_left(*gates: Gate) -> AsyncIterator[None]:
    """Expect of the block that it leaves nothing open, running, armed or out."""
    before = remains()
    yield
    left: dict[str, set[Any]] = {}
    for _ in range(200):  # a closed transport gives its descriptor up some turns later
        left = {kind: gone for kind, now in remains().items() if (gone := now - before[kind])}
        if not left:
            break
        await asyncio.sleep(0.005)
    assert not left, f"left behind: {left}"
    for gate in gates:
        figures = gate.statistics()
        assert figures["out"] == 0, f"{gate.name}: {figures}"


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[int]:
    """Run a server on a free port of the loopback, watched where somebody watches."""
    for watching in _watching:
        server.run = watching.watched(server)
    await server.start(listen())
    try:
        yield server.port
    finally:
        await server.stop()


@asynccontextmanager
async def speaking(talk: Talk) -> AsyncIterator[int]:
    """Run somebody else's server on a free port: it says what `talk` writes, and then closes."""
    talks: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks[task] = writer
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del talks[task]

    server = await asyncio.start_server(serve, sock=listen(), backlog=256)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in talks.values():
            writer.transport.abort()
        if talks:
            await asyncio.wait(set(talks))


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Wait for something that others bring about; no test needs a machine so slow."""
    deadline = FINE() + within
    while not condition():
        assert FINE() < deadline, "it did not come to be"
        await asyncio.sleep(0.002)
