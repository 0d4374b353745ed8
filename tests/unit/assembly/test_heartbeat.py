"""What silence means, and how long a death is waited out."""

import pytest

from switchgear.assembly.heartbeat import Health, Pulse
from switchgear.assembly.restart import Restarts
from switchgear.assembly.settings import Supervision

SETTINGS = Supervision(unroutable=3, hung=30, start=60)


def ready_pulse() -> Pulse:
    pulse = Pulse(SETTINGS, 100.0)
    pulse.ready = True
    return pulse


@pytest.mark.parametrize(
    ("silence", "health"),
    [
        (0, Health.WELL),
        (2.99, Health.WELL),
        (3, Health.LATE),
        (29.9, Health.LATE),
        (30, Health.HUNG),
    ],
)
def test_a_ready_process_is_late_and_then_hung(silence: float, health: Health) -> None:
    assert ready_pulse().judge(100 + silence) is health


def test_a_process_that_is_still_starting_has_the_start_time() -> None:
    pulse = Pulse(SETTINGS, 100.0)
    assert pulse.judge(159.9) is Health.WELL
    assert pulse.judge(160) is Health.HUNG


def test_a_beat_ends_the_silence() -> None:
    pulse = ready_pulse()
    pulse.beat(104)
    assert pulse.judge(106.9) is Health.WELL
    assert pulse.silence(106) == 2


def test_a_time_in_which_nobody_could_listen_does_not_count() -> None:
    pulse = ready_pulse()
    pulse.forgive(40)
    assert pulse.judge(141) is Health.WELL


def delays(deaths: int, well: float = 0.0, chance: float = 0.5) -> list[float]:
    restarts = Restarts(Supervision(restart_first=0.1, restart_most=10, stable=30))
    return [restarts.delay(well, chance) for _ in range(deaths)]


def test_the_first_restart_is_fast_and_later_ones_back_off_to_a_bound() -> None:
    assert delays(10) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])


def test_a_stable_time_forgives_earlier_deaths() -> None:
    restarts = Restarts(Supervision(restart_first=0.1, restart_most=10, stable=30))
    wanted = [(0.0, 0.1), (0.0, 0.2), (29.9, 0.1), (0.0, 0.8), (30.0, 0.1), (0.0, 0.2)]
    assert [restarts.delay(well, 0.5) for well, _ in wanted] == pytest.approx(
        [delay for _, delay in wanted]
    )


def test_the_time_in_which_it_was_well_counts_as_waited() -> None:
    assert delays(9, well=15.0) == pytest.approx([0.1] * 9), "it is killed, and serves in between"
    assert delays(9, well=1.0) == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6, 2.2, 5.4, 9, 9])


def test_jitter_spreads_by_a_quarter() -> None:
    assert delays(1, chance=0.0) == pytest.approx([0.075])
    assert delays(1, chance=1.0) == pytest.approx([0.125])


def test_it_never_gives_up_and_never_overflows() -> None:
    assert delays(5000)[-1] == 10


def test_deaths_are_counted_in_all_and_in_a_row() -> None:
    restarts = Restarts(Supervision(stable=30))
    for well in (0, 0, 31):
        restarts.delay(well, 0)
    assert (restarts.total, restarts.row) == (3, 1)
