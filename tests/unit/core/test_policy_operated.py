"""What an operator does to a policy, and how it is used from where there is no event loop."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from switchgear import BreakerSettings, Fault, Policy, Refusal
from switchgear.core import portal as module
from switchgear.core.observe import CallEnded
from switchgear.policy.breaker import Transition
from switchgear.policy.verdict import GOOD
from switchgear.testing import EventRecorder
from switchgear.testing.virtual import clock


async def ok() -> str:
    await asyncio.sleep(0)
    return "ok"


async def reset() -> None:
    raise ConnectionResetError


@pytest.mark.virtual
async def test_an_operator_opens_closes_and_resets_the_breaker() -> None:
    recorder = EventRecorder()
    policy = Policy("mail", clock=clock, observe=recorder, breaker=BreakerSettings(consecutive=1))
    policy.force_open("mail is moving")
    with pytest.raises(Fault) as caught:
        await policy.call(ok)
    assert caught.value.refusal is Refusal.OPEN
    await asyncio.sleep(1000.0)
    with pytest.raises(Fault):
        await policy.call(ok)
    policy.force_closed("it has moved")
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            await policy.call(reset)
    assert policy.statistics()["breaker"]["state"] == "closed", "whatever comes of it"
    policy.reset("all is well")
    assert await policy.call(ok) == "ok"
    with pytest.raises(ConnectionResetError):
        await policy.call(reset)
    assert policy.statistics()["breaker"]["state"] == "open"
    why = [event.why for event in recorder.of(Transition)]
    assert why[:2] == ["mail is moving", "it has moved"]
    assert why[-1] == "1 failures in a row"


def test_the_operators_words_have_a_default() -> None:
    recorder = EventRecorder()
    policy = Policy("mail", observe=recorder)
    policy.force_open()
    policy.force_closed()
    policy.force_open()
    policy.reset()
    assert [event.why for event in recorder.of(Transition)] == [
        "forced by an operator",
        "forced by an operator",
        "forced by an operator",
        "reset by an operator",
    ]


@pytest.mark.parametrize(
    "options",
    [{"breaker": None}, {"mode": "observe"}, {"mode": "off"}, {"mode": {"breaker": "off"}}],
)
def test_where_no_breaker_is_enforced_there_is_nothing_to_force(options: Any) -> None:
    policy = Policy("mail", **options)
    assert policy.breaker is None
    for force in (policy.force_open, policy.force_closed, policy.reset):
        with pytest.raises(RuntimeError, match="policy 'mail' has no breaker that is enforced"):
            force()


def test_a_policy_anew_has_seen_nothing() -> None:
    recorder = EventRecorder()
    policy = Policy("mail", observe=recorder, deadline="2s", attempts=2)
    policy.force_open()
    other = policy.anew()
    assert other.describe() == policy.describe()
    assert other.statistics()["breaker"]["state"] == "closed"
    assert other.name == "mail"
    assert policy.anew(name="post", deadline=5.0).plan().deadline == 5.0
    recorder.events.clear()
    other.force_open()
    assert recorder.count(Transition) == 1, "it tells whom the first one told"


@pytest.fixture
def portal() -> Iterator[None]:
    """Leave no loop of the process behind for other tests."""
    yield
    module._portal.close()


def test_from_threads_without_a_loop_a_policy_is_shared(portal: None) -> None:
    recorder = EventRecorder()
    policy = Policy("mail", observe=recorder)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(policy.run(ok))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert got == ["ok"] * 4
    assert recorder.count(CallEnded, verdict=GOOD) == 4
    with pytest.raises(ConnectionResetError):
        policy.run(reset)
    figures = policy.statistics()
    assert figures["calls"]["good"] == 4
    assert figures["calls"]["failed"] == 1
    assert figures["bulkhead"]["out"] == 0
