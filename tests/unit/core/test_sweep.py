"""The sweep: never early, at most once, one timer, and no slot kept for alarms that are gone."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from switchgear.core.sweep import TICK, Sweep, sweep_of
from switchgear.testing.virtual import START, clock

pytestmark = pytest.mark.virtual


class Alarm:
    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.rang: list[float] = []
        self.then = then

    def ring(self) -> None:
        self.rang.append(clock())
        self.then()


def make() -> Sweep:
    return Sweep(asyncio.get_running_loop(), clock)


async def test_alarms_ring_within_a_tick_after_their_instant_and_never_early() -> None:
    sweep = make()
    alarms = [(START + 0.0007 * number, Alarm()) for number in range(500)]
    for at, alarm in reversed(alarms):
        sweep.arm(at, alarm)
    await asyncio.sleep(1.0)
    for at, alarm in alarms:
        (rang,) = alarm.rang
        assert at <= rang <= at + TICK + 1e-6
    assert sweep.armed == 0


@pytest.mark.parametrize("hundredths", [29, 58, 117, 205])
async def test_an_instant_that_a_quotient_rounds_to_the_tick_before(hundredths: int) -> None:
    at = hundredths * TICK
    assert (int(at / TICK) + 1) * TICK <= at  # the trap: this tick would ring it early
    sweep = make()
    slot = sweep.slot_of(at)
    assert sweep.start <= at < sweep.end
    assert sweep.arm(at, Alarm()) is slot
    await asyncio.sleep(TICK * 2)


async def test_a_disarmed_alarm_never_rings() -> None:
    sweep = make()
    alarm, other = Alarm(), Alarm()
    slot = sweep.arm(START + 0.5, alarm)
    sweep.arm(START + 0.5, other)
    slot.discard(alarm)
    slot.discard(alarm)  # twice is no harm
    await asyncio.sleep(1.0)
    assert (alarm.rang, len(other.rang)) == ([], 1)


async def test_an_earlier_alarm_moves_the_timer() -> None:
    sweep = make()
    late, early = Alarm(), Alarm()
    sweep.arm(START + 10.0, late)
    sweep.arm(START + 0.5, early)
    await asyncio.sleep(1.0)
    assert (len(early.rang), len(late.rang)) == (1, 0)
    await asyncio.sleep(10.0)
    assert len(late.rang) == 1


async def test_an_instant_in_the_past_rings_in_the_next_turn() -> None:
    sweep = make()
    alarm = Alarm()
    sweep.arm(START - 5.0, alarm)
    assert alarm.rang == []
    await asyncio.sleep(0.001)
    assert len(alarm.rang) == 1


async def test_an_infinite_instant_arms_nothing() -> None:
    sweep = make()
    slot = sweep.arm(float("inf"), alarm := Alarm())
    slot.discard(alarm)
    assert (sweep.armed, alarm.rang) == (0, [])


async def test_an_alarm_that_arms_itself_for_the_past_does_not_stop_the_loop() -> None:
    sweep = make()
    alarm = Alarm()
    alarm.then = lambda: sweep.arm(START - 1.0, alarm) if len(alarm.rang) < 3 else None
    sweep.arm(START + 0.1, alarm)
    await asyncio.sleep(1.0)
    assert len(alarm.rang) == 3


async def test_an_alarm_that_disarms_another_of_its_slot_is_obeyed() -> None:
    sweep = make()
    first, second = Alarm(), Alarm()
    slot = sweep.arm(START + 0.1, first)
    sweep.arm(START + 0.1, second)
    first.then = lambda: slot.discard(second)
    second.then = lambda: slot.discard(first)
    await asyncio.sleep(1.0)
    assert len(first.rang) + len(second.rang) == 1


async def test_one_failing_alarm_does_not_keep_the_others_from_ringing() -> None:
    sweep = make()
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def fail() -> None:
        raise ValueError("broken")

    alarms = [Alarm(fail), Alarm(), Alarm(fail), Alarm()]
    for alarm in alarms:
        sweep.arm(START + 0.1, alarm)
    await asyncio.sleep(1.0)
    assert [len(alarm.rang) for alarm in alarms] == [1, 1, 1, 1]
    assert len(told) == 2


async def test_slots_whose_alarms_are_gone_set_no_timer() -> None:
    sweep = make()
    loop: Any = asyncio.get_running_loop()
    for number in range(300):
        alarm = Alarm()
        sweep.arm(START + 1.0 + number * TICK, alarm).discard(alarm)
    sweep.arm(START + 0.5, Alarm())
    await asyncio.sleep(0.6)
    assert sweep.armed == 0
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
    assert len(sweep._slots) == len(sweep._due) == 0


async def test_a_slot_that_emptied_while_others_rang_is_not_armed_again() -> None:
    sweep = make()
    passing, late = Alarm(), Alarm()
    first = Alarm(lambda: sweep.arm(START + 0.5, passing).discard(passing))
    sweep.arm(START + 0.1, first)
    await asyncio.sleep(0.2)
    sweep.arm(START + 0.5, late)
    await asyncio.sleep(0.5)
    assert (len(first.rang), passing.rang, len(late.rang)) == (1, [], 1)


async def test_a_slot_that_has_rung_is_not_armed_again() -> None:
    sweep = make()
    first, second = Alarm(), Alarm()
    sweep.arm(START + 0.1, first)
    await asyncio.sleep(0.2)
    sweep.arm(START + 0.1, second)
    await asyncio.sleep(0.2)
    assert (len(first.rang), len(second.rang)) == (1, 1)


async def test_there_is_one_sweep_for_a_loop_and_a_clock() -> None:
    loop = asyncio.get_running_loop()
    assert sweep_of(loop, clock) is sweep_of(loop, clock)
    assert sweep_of(loop, clock) is not sweep_of(loop)


@pytest.mark.filterwarnings("default")
async def test_a_closed_loop_is_let_go_when_another_one_comes() -> None:
    old = asyncio.new_event_loop()
    sweep_of(old).arm(0.0, Alarm())
    seen = weakref.ref(old)
    old.close()
    new = asyncio.new_event_loop()
    sweep_of(new)
    new.close()
    del old
    gc.collect()
    assert seen() is None


async def test_slots_that_are_empty_by_now_do_not_pile_up() -> None:
    """A call every 10 ms with an hour to spend leaves an empty slot each, for an hour."""
    sweep = make()
    alarm = Alarm()
    slot = sweep.arm(START + 1.0, alarm)
    for number in range(5000):
        other = Alarm()
        sweep.arm(START + 3600.0 + number * TICK, other).discard(other)
    assert len(sweep._slots) == len(sweep._due) <= 1024
    assert alarm in slot
    await asyncio.sleep(2.0)
    assert len(alarm.rang) == 1, "what is armed is not tidied away"


async def test_armed_slots_are_kept_however_many() -> None:
    sweep = make()
    alarms = [Alarm() for _ in range(3000)]
    for number, alarm in enumerate(alarms):
        sweep.arm(START + 1.0 + number * TICK, alarm)
    assert sweep.armed == 3000
    await asyncio.sleep(40.0)
    assert [len(alarm.rang) for alarm in alarms] == [1] * 3000


@pytest.mark.parametrize("at", [1e12, 1e300, 1.7e308, float("inf")])
async def test_an_instant_that_never_comes_has_no_slot(at: float) -> None:
    sweep = make()
    assert sweep.arm(at, alarm := Alarm()) == {alarm}
    assert sweep.armed == 0


async def test_what_ends_the_turn_takes_no_other_alarm_with_it() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    sweep = make()
    others = [Alarm() for _ in range(50)]
    for other in [*others[:25], Alarm(interrupt), *others[25:]]:
        sweep.arm(START + 0.5, other)
    late = Alarm()
    sweep.arm(START + 0.7, late)
    sweep._timer.cancel()  # type: ignore[union-attr]  # it is armed; Ctrl-C would end the test
    await asyncio.sleep(0.6)
    with pytest.raises(KeyboardInterrupt):
        sweep._run()
    await asyncio.sleep(0.5)
    assert [len(alarm.rang) for alarm in (*others, late)] == [1] * 51
