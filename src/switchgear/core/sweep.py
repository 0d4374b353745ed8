"""The sweep: one coarse timer for every deadline of an event loop.

A timer per request costs a microsecond and a heap entry; a deadline that is nearly always
disarmed needs neither. Alarms sit in the set of the tick in which they are due: arming and
disarming are one set operation each, and the loop's one timer stands at the earliest tick.
"""

import asyncio
from contextvars import Context
from heapq import heappop, heappush
from math import inf
from typing import Final, Protocol

from switchgear.core.clock import FINE, Clock
from switchgear.core.per_loop import PerLoop

__all__ = ["Alarm", "Sweep", "sweep_of"]

TICK: Final = 0.01  # seconds; alarms ring up to this much late, never early
_NEVER: Final = 1e12  # seconds, of which ticks cannot be told apart any more
_FEW: Final = 1024  # slots that are not worth looking through


class Alarm(Protocol):
    """What can be armed: hashable by identity, and told when its instant has come.

    (One with a true `idle` waits for nothing: it is armed only because nobody has disarmed it.)
    """

    def ring(self) -> None: ...


class Sweep:
    """Ring alarms at their instants on one event loop.

    `arm` returns the slot, a set; `slot.discard(alarm)` disarms. An alarm is rung at most
    once, within a tick after its instant. (For an instant from `start` to before `end`, adding an
    alarm to `slot` is all that arming comes to; for another, `slot_of` finds the slot. Some do so
    by hand.)
    """

    __slots__ = ("_clock", "_due", "_loop", "_most", "_next", "_slots", "_tick", "_timer", "end",
                 "slot", "start")  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock = FINE, tick: float = TICK
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._tick = tick
        self._slots: dict[int, set[Alarm]] = {}
        self._due: list[int] = []  # a heap of the slots' ticks
        self._most = _FEW
        self._next: float = inf
        self._timer: asyncio.TimerHandle | None = None
        # The slot of the last alarm, and the instants that fall into it: calls that come one after
        # the other, with the same time to spend, nearly always share it.
        self.slot: set[Alarm] = set()
        self.start, self.end = inf, -inf

    def arm(self, at: float, alarm: Alarm) -> set[Alarm]:
        """Ring `alarm` once at the instant `at`, unless it is discarded from the slot before."""
        slot = self.slot if self.start <= at < self.end else self.slot_of(at)
        slot.add(alarm)
        return slot

    def alarms(self) -> list[Alarm]:
        """Return what is armed now, and waits."""
        alarms = (alarm for slot in self._slots.values() for alarm in slot)
        return [alarm for alarm in alarms if not getattr(alarm, "idle", False)]

    @property
    def armed(self) -> int:
        """How many alarms are armed now."""
        return len(self.alarms())

    def now(self) -> float:
        """Return the instant by the clock that alarms ring by."""
        return self._clock()

    def clear(self) -> None:
        """Forget all alarms: their loop was closed, and they are never to ring."""
        for slot in self._slots.values():
            slot.clear()  # those who were armed hold on to it
        self._slots.clear()
        self._due.clear()
        self.slot, self.start, self.end = set(), inf, -inf

    def slot_of(self, at: float) -> set[Alarm]:
        """Return the slot of an instant, which is that of all instants up to `end` from now on."""
        if at >= _NEVER:
            return set()
        due = int(at / self._tick) + 1
        if due * self._tick <= at:  # by the rounding of the quotient
            due += 1
        slot = self._slots.get(due)
        if slot is None:
            if len(self._slots) >= self._most:
                self._tidy()
            slot = self._slots[due] = set()
            heappush(self._due, due)
            if due < self._next:
                self._plan(due)
        self.slot, self.start, self.end = slot, (due - 1) * self._tick, due * self._tick
        return slot

    def _tidy(self) -> None:
        """Drop the slots that are empty by now: of long deadlines, each tick would leave one."""
        for due in [due for due, slot in self._slots.items() if not slot]:
            del self._slots[due]
        self._due[:] = sorted(self._slots)  # which is a heap
        self._most = max(_FEW, 2 * len(self._slots))

    def _plan(self, due: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = float(due)
        # Rounding may have the timer fire a hair before its tick: a wait of that hair is one that
        # virtual time cannot add to its clock, and it would be planned again for ever.
        wait = max(self._tick / 100, due * self._tick - self._clock())
        # An empty Context: the timer outlives the call that happened to arm it.
        self._timer = self._loop.call_later(wait, self._run, context=Context())

    def _run(self) -> None:
        self._timer = None
        self._next = inf
        self.start, self.end = inf, -inf  # that slot may be gone when this is over
        # The product, as `_plan` computes it: a quotient may round to the tick before, for ever.
        now, tick = self._clock(), self._tick
        due = self._due
        slots = []  # taken first: an alarm that arms itself for a past instant gets the next turn
        while due and due[0] * tick <= now:
            slots.append(self._slots.pop(heappop(due)))
        try:
            for slot in slots:
                self._ring(slot)
        finally:
            for slot in slots:
                if slot:  # something ended the whole turn, as Ctrl-C does: they ring in the next
                    self.slot_of(now).update(slot)
            self.start, self.end = inf, -inf  # an alarm may have armed another
            # Most deadlines are disarmed long before: no timer for a slot that is empty by now.
            while due and not self._slots[due[0]]:
                del self._slots[heappop(due)]
            if due and due[0] < self._next:
                self._plan(due[0])

    def _ring(self, slot: set[Alarm]) -> None:
        while slot:
            alarm = slot.pop()
            try:
                alarm.ring()
            except Exception as error:  # noqa: BLE001 - one alarm's defect is not the others'
                self._loop.call_exception_handler(
                    {"message": f"an alarm failed: {alarm!r}", "exception": error}
                )


_sweeps: Final[PerLoop[dict[Clock, Sweep]]] = PerLoop(lambda _: {})


def sweep_of(loop: asyncio.AbstractEventLoop, clock: Clock = FINE) -> Sweep:
    """Return the one sweep of a loop (and clock), made at first use."""
    made = _sweeps.of(loop)
    sweep = made.get(clock)
    if sweep is None:
        sweep = made[clock] = Sweep(loop, clock)
    return sweep
