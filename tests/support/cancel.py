"""Cancel at every await: run something again and again, each time called off one wait later.

`everywhere` runs a scene undisturbed only after it has called it off at its first, second, third
... wait, and after every run it asks the same questions: are all permits back, is nothing armed in
the sweep, is no task left, was each delivery settled exactly once.
"""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import Enum
from types import coroutine
from typing import Any

from switchgear.core.clock import FINE, Clock
from switchgear.core.drivers import Work, step, working
from switchgear.core.here import HERE
from switchgear.core.outcome import Failed, Outcome
from switchgear.core.sweep import sweep_of
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate

__all__ = ["Moment", "Receipt", "Scene", "driven", "everywhere", "turns"]

CALM = 10_000  # waits after which something is taken to wait for ever


class Moment(Enum):
    """When the work is called off, at a wait."""

    ASLEEP = "while it waits"
    WOKEN = "in the very turn in which what it waits for has come"
    CLOSED = "never: its coroutine is thrown away"


class Receipt:
    """A delivery that counts its settlements."""

    def __init__(self, call: Call[Any], settling: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.call = call
        self.work: Work | None = None
        self.outcomes: list[Outcome[Any]] = []
        self._settling = settling

    def begin(self, work: Work) -> None:
        self.work = work

    async def settle(self, outcome: Outcome[Any]) -> None:
        self.outcomes.append(outcome)
        await self._settling()


@dataclass
class Scene:
    """One run: what is run, and what must be whole afterwards."""

    work: Coroutine[Any, Any, Any]
    gates: Sequence[Gate] = ()
    receipts: Sequence[Receipt] = ()
    clock: Clock = FINE
    tidy: Callable[[], Coroutine[Any, Any, None]] | None = None
    check: Callable[["Scene"], None] | None = None
    ended: list[BaseException | None] = field(default_factory=list)


@coroutine
def _disturbed(
    work: Coroutine[Any, Any, Any], at: int, moment: Moment, hit: list[int]
) -> Generator[Any, Any, Any]:
    """Pass on what `work` waits for, and strike at the wait number `at`."""
    driver = working()
    send: Callable[[], Any] = lambda: work.send(None)  # noqa: E731 - replaced by a throw below
    for number in range(1, CALM):
        try:
            waited = send()
        except StopIteration as ended:
            return ended.value
        if number == at:
            hit.append(number)
            if moment is Moment.CLOSED:
                _thrown_away(work)
                return None
            if moment is Moment.ASLEEP or waited is None:
                driver.get_loop().call_soon(driver.cancel)
            else:  # before the driver's own callback: it is called off when it is about to wake
                waited.add_done_callback(lambda _: driver.cancel())
        try:
            yield waited
        except BaseException as error:
            thrown = error
            send = lambda: work.throw(thrown)  # noqa: E731, B023 - called before the next round
        else:
            send = lambda: work.send(None)  # noqa: E731 - as above
    raise AssertionError("it waits for ever")


def _thrown_away(work: Coroutine[Any, Any, Any]) -> None:
    """Close it as who has lost it does: not in the hands of what has driven it."""
    failed: list[BaseException] = []

    async def close() -> None:
        try:
            work.close()
        except BaseException as error:
            failed.append(error)

    step(close())
    if failed:
        raise failed[0]


async def turns(count: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def driven(work: Coroutine[Any, Any, Any], *, stepped: bool) -> BaseException | None:
    """Run to the end in a task or in a stepper; return what was raised."""
    loop = asyncio.get_running_loop()
    over: Future[BaseException | None] = loop.create_future()

    async def told() -> None:
        try:
            await work
        except BaseException as error:
            over.set_result(error)
        else:
            over.set_result(None)

    if stepped:
        # In Contexts of its own, as a task is: one that is thrown away leaves a deadline in them.
        HERE.place.bare = Context()  # where it wakes up
        copy_context().run(step, told())
        return await over
    task = loop.create_task(told())
    result = await over
    await task
    return result


async def everywhere(
    make: Callable[[], Scene], *, least: int = 1, moments: Iterable[Moment] = Moment
) -> None:
    """Call off what `make` makes at each of its waits, in every way; at least `least` waits."""
    for stepped in (False, True):
        for moment in moments:
            at = 1
            while await _once(make(), at, moment, stepped=stepped):
                at += 1
            assert at > least, f"it waited {at - 1} times only"


async def _once(scene: Scene, at: int, moment: Moment, *, stepped: bool) -> bool:
    before = asyncio.all_tasks()
    hit: list[int] = []
    error = await driven(_disturbed(scene.work, at, moment, hit), stepped=stepped)
    scene.ended.append(error)
    if scene.tidy is not None:
        await scene.tidy()
    await turns()
    where = f"struck at wait {at}, {moment.value}, {'stepped' if stepped else 'in a task'}"
    if not hit:
        assert error is None, f"undisturbed, it raised {error!r}"
    elif error is not None:
        assert isinstance(error, CancelledError), f"{where}: {error!r}"
    for gate in scene.gates:
        figures = gate.statistics()
        assert figures["out"] == 0, f"{where}: {gate.name} misses permits: {figures}"
        assert not figures.get("waiting"), f"{where}: {gate.name} has a waiter that left: {figures}"
    if moment is not Moment.CLOSED:
        for receipt in scene.receipts:
            assert len(receipt.outcomes) == 1, f"{where}: settled {receipt.outcomes}"
            if error is not None and isinstance(receipt.outcomes[0], Failed):
                assert isinstance(receipt.outcomes[0].error, CancelledError), where
    assert sweep_of(asyncio.get_running_loop(), scene.clock).armed == 0, f"{where}: still armed"
    assert asyncio.all_tasks() == before, f"{where}: a task is left"
    if scene.check is not None:
        scene.check(scene)
    return bool(hit)
