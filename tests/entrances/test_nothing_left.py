"""What the other tests lean on: that something left behind is seen, and every wait is struck."""

import asyncio
import socket
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from switchgear.core.clock import FINE
from switchgear.core.drivers import Work
from switchgear.core.outcome import Outcome
from switchgear.core.sweep import sweep_of
from switchgear.policy.call import Call
from switchgear.policy.gate import ANYONE, Permit
from switchgear.policy.verdict import GOOD
from tests.support.entrance import Strike, Watch, at_every_wait, bulkhead, nothing_left

pytestmark = pytest.mark.usefixtures("loop_factory")


class Alarm:
    def ring(self) -> None: ...


class Item:
    """A delivery that is settled as often as it is told to."""

    def __init__(self, times: int = 1) -> None:
        self.call: Call[Any] = Call(None, FINE() + 10.0)
        self.times = times

    def begin(self, work: Work) -> None: ...

    async def settle(self, outcome: Outcome[Any]) -> None: ...


@contextmanager
def an_open_socket() -> Iterator[None]:
    with socket.socket():
        yield


@contextmanager
def a_task() -> Iterator[None]:
    task = asyncio.ensure_future(asyncio.Event().wait())
    yield
    task.cancel()


@contextmanager
def a_timer() -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(60, print)
    yield
    timer.cancel()


@contextmanager
def an_alarm() -> Iterator[None]:
    alarm = Alarm()
    slot = sweep_of(asyncio.get_running_loop()).arm(FINE() + 60, alarm)
    yield
    slot.discard(alarm)


@pytest.mark.parametrize(
    ("remains", "said"),
    [(an_open_socket, "descriptors"), (a_task, "tasks"), (a_timer, "timers"), (an_alarm, "alarms")],
)
async def test_what_is_left_is_named(remains: Callable[[], Any], said: str) -> None:
    left = remains()
    with pytest.raises(AssertionError, match=f"left behind: .'{said}'"):
        async with nothing_left():
            left.__enter__()
    left.__exit__(None, None, None)
    async with nothing_left():
        with remains():
            pass


async def test_a_permit_that_is_out_is_named() -> None:
    gate = bulkhead()
    permit = gate.admit(ANYONE, 0.0)
    assert isinstance(permit, Permit)
    with pytest.raises(AssertionError, match="bulkhead"):
        async with nothing_left(gate):
            pass
    gate.settle(permit, GOOD, 0.0)


async def test_each_wait_of_handler_and_settlement_is_struck_once(watch: Watch) -> None:
    struck: list[int] = []

    async def scene() -> None:
        waits = 0

        async def wait() -> None:
            nonlocal waits
            waits += 1
            await asyncio.sleep(0)

        class Waiting(Item):
            async def settle(self, outcome: Outcome[Any]) -> None:
                await wait()

        async def handler(call: Call[Any]) -> None:
            for _ in range(3):
                await wait()

        task = asyncio.create_task(watch.dispatch(handler, Waiting()))
        await asyncio.wait([task])
        assert task.cancelled() is watch.struck
        struck.append(waits)

    await at_every_wait(watch, scene, Strike.CALLED_OFF, least=4)
    # Called off in the handler, it is settled all the same: one wait more.
    assert struck == [2, 3, 4, 4, 4]


async def test_a_delivery_that_is_not_settled_once_is_named(watch: Watch) -> None:
    async def scene() -> None:
        watch.arm(0, Strike.CALLED_OFF)
        await watch.dispatch(handler, Item())
        await watch.deliveries[0].settle(watch.deliveries[0].outcomes[0])

    async def handler(call: Call[Any]) -> None: ...

    with pytest.raises(AssertionError, match=r"\[2\]"):
        await at_every_wait(watch, scene, least=0)


async def test_a_cancellation_from_elsewhere_is_no_strike(watch: Watch) -> None:
    async def handler(call: Call[Any]) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        await watch.dispatch(handler, Item())
    assert (watch.struck, watch.settlements(), watch.called_off()) == (False, [1], [True])
