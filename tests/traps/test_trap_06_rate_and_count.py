"""Trap 6: the rate over a time window and the consecutive count, both.

A count alone is reset by every lucky success; a rate alone never has calls enough on a quiet route.
"""

import pytest

from switchgear import BreakerSettings, Policy
from switchgear.policy.breaker import State
from switchgear.testing import advance
from tests.traps.world import answer, away, ended, make

pytestmark = pytest.mark.virtual


def state(mail: Policy) -> State:
    assert mail.breaker is not None
    return mail.breaker.state


async def pattern(mail: Policy, letters: str, gap: float) -> None:
    """Call once for each letter: F fails, S succeeds."""
    for letter in letters:
        await ended(mail, away if letter == "F" else answer)
        await advance(gap)


async def test_trap_06_one_success_in_ten_does_not_hide_ninety_percent_failure() -> None:
    mail = make(attempts=1, breaker=BreakerSettings(consecutive=1000))
    await pattern(mail, "SFFFFFFFF", 0.1)
    assert state(mail) is State.CLOSED  # nine calls are not enough to judge by
    await pattern(mail, "F", 0.1)
    assert state(mail) is State.OPEN


async def test_trap_06_by_default_a_success_in_five_hides_nothing() -> None:
    mail = make(attempts=1)
    await pattern(mail, "FFFFSFFFFS", 0.1)  # never five in a row
    await pattern(mail, "F", 0.1)
    assert state(mail) is State.OPEN


async def test_trap_06_a_quiet_route_trips_too() -> None:
    mail = make(attempts=1)
    await pattern(mail, "FFFF", 60.0)  # the window never holds more than one call
    assert state(mail) is State.CLOSED
    await pattern(mail, "F", 0.0)
    assert state(mail) is State.OPEN


async def test_trap_06_the_window_is_of_time_not_of_calls() -> None:
    mail = make(attempts=1)
    await pattern(mail, "FFFFSFFFF", 0.1)  # eight failures of nine calls
    await advance(11.0)
    await pattern(mail, "SFFFF", 0.1)  # of which nothing is left by now
    assert state(mail) is State.CLOSED


async def test_trap_06_less_than_half_failing_does_not_open() -> None:
    mail = make(attempts=1)
    await pattern(mail, "SFSFS" * 40, 0.05)
    assert state(mail) is State.CLOSED
