"""Trap 2: a permit is held until the work has really ended, not until the caller gave up.

Given back early, it lets more and more work into a dependency that is still busy with the old.
"""

import asyncio
import threading
from collections.abc import Callable

import pytest

from switchgear import BulkheadSettings, Code, Refusal, Verdict
from switchgear.core.observe import Overran
from switchgear.policy.verdict import GOOD
from switchgear.testing import EventRecorder, advance
from tests.traps.world import answer, ended, make

ONE = BulkheadSettings(permits=1, queue=0)


async def deaf(seconds: float) -> None:
    """Go on for so long, however often it is called off."""
    until = asyncio.get_running_loop().time() + seconds
    while (left := until - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


@pytest.mark.virtual
async def test_trap_02_work_past_its_deadline_is_counted_and_keeps_its_permit() -> None:
    seen = EventRecorder()
    mail = make(deadline=1.0, attempts=1, bulkhead=ONE, observe=seen)
    call = asyncio.ensure_future(ended(mail, deaf, 5.0))
    await advance(2.0)
    figures = mail.statistics()
    assert figures["calls"]["zombies"] == 1
    assert figures["bulkhead"]["out"] == 1
    assert seen.count(Overran) == 1
    assert (await ended(mail, answer)).refusal is Refusal.FULL
    assert mail.statistics()["bulkhead"]["overdue"] == 1  # as of the last full moment
    await call
    figures = mail.statistics()
    assert figures["calls"]["zombies"] == figures["bulkhead"]["out"] == 0
    assert figures["calls"]["overran"] == 1
    assert await ended(mail, answer) == "well"


@pytest.mark.virtual
async def test_trap_02_a_caller_who_gives_up_frees_no_place_while_the_work_goes_on() -> None:
    mail = make(attempts=1, bulkhead=ONE)
    call = asyncio.ensure_future(ended(mail, deaf, 2.0))
    await advance(0.5)
    call.cancel()
    await advance(0.5)
    assert mail.statistics()["bulkhead"]["out"] == 1
    await advance(2.0)
    assert mail.statistics()["bulkhead"]["out"] == 0
    await asyncio.wait([call])


async def test_trap_02_a_thread_keeps_its_permit_until_its_end() -> None:
    # In real time: a virtual loop waits for its threads.
    go = threading.Event()
    files = make("files", deadline=0.05, attempts=1, bulkhead=ONE, clock=_real)
    try:
        with pytest.raises(Exception, match="no answer within") as caught:
            await files.call_in_thread(go.wait)
        assert getattr(caught.value, "code", None) is Code.DEADLINE_EXCEEDED
        figures = files.statistics()
        assert figures["bulkhead"]["out"] == figures["calls"]["zombies"] == 1
        assert (await ended(files, answer)).refusal is Refusal.FULL
    finally:
        go.set()
    while files.statistics()["bulkhead"]["out"]:
        await asyncio.sleep(0.005)
    assert files.statistics()["calls"]["zombies"] == 0
    assert await ended(files, answer) == "well"


def _real() -> float:
    return asyncio.get_running_loop().time()


class Answer:
    """An answer that streams until it is told to end."""

    def __init__(self) -> None:
        self.done: list[Callable[[Verdict], None]] = []

    def on_end(self, done: Callable[[Verdict], None], /) -> None:
        self.done.append(done)

    def abandon(self) -> None:
        raise AssertionError("somebody takes it")


@pytest.mark.virtual
async def test_trap_02_an_answer_that_streams_keeps_its_permit_until_its_end() -> None:
    mail = make(bulkhead=ONE)
    streamed = Answer()

    async def begin() -> Answer:
        return streamed

    await mail.call(begin)
    assert mail.statistics()["bulkhead"]["out"] == 1
    assert (await ended(mail, answer)).refusal is Refusal.FULL
    for done in streamed.done:
        done(GOOD)
    assert mail.statistics()["bulkhead"]["out"] == 0
