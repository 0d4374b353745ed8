"""The sweep against a list of alarms, for any arming, disarming and passing of time."""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.core.sweep import TICK, Sweep
from switchgear.testing import virtual
from switchgear.testing.virtual import clock


class Alarm:
    def __init__(self, at: float, again: float | None) -> None:
        self.at = at
        self.armed = clock()
        self.again = again
        self.rang: list[float] = []
        self.disarmed = False
        self.sweep: Sweep | None = None

    def ring(self) -> None:
        self.rang.append(clock())
        if self.again is not None and self.sweep is not None:
            self.at, self.armed, self.again = clock() + self.again, clock(), None
            self.sweep.arm(self.at, self)


steps = st.lists(
    st.tuples(st.just("arm"), st.floats(-0.05, 0.3), st.none() | st.floats(-0.02, 0.1))
    | st.tuples(st.just("disarm"), st.integers(0, 40), st.none())
    | st.tuples(st.just("pass"), st.floats(0.0, 0.2), st.none()),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(steps)
@example([("pass", 24.0, None), ("arm", 0.296875, 0.0)])  # 1024.31 / 0.01 rounds down
def test_alarms_ring_once_never_early_and_within_a_tick(
    script: list[tuple[str, float, float | None]],
) -> None:
    async def main() -> None:
        sweep = Sweep(asyncio.get_running_loop(), clock)
        alarms: list[tuple[Alarm, set[object]]] = []
        for what, number, again in script:
            if what == "arm":
                alarm = Alarm(clock() + number, again)
                alarm.sweep = sweep
                alarms.append((alarm, sweep.arm(alarm.at, alarm)))  # type: ignore[arg-type]  # a set
            elif what == "disarm" and alarms:
                alarm, slot = alarms[int(number) % len(alarms)]
                if not alarm.rang:
                    alarm.disarmed = True
                    slot.discard(alarm)
            else:
                await asyncio.sleep(number)
        await asyncio.sleep(1.0)
        for alarm, _ in alarms:
            if alarm.disarmed:
                assert alarm.rang == []
                continue
            assert len(alarm.rang) in (1, 2), "once, and once more where it armed itself again"
            rang = alarm.rang[-1]
            assert rang >= alarm.at, "early"
            assert rang <= max(alarm.at, alarm.armed) + TICK + 1e-6
        assert sweep.armed == 0

    virtual.run(main())
