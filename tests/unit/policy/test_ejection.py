"""Ejection within bounds, in situations."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from switchgear.policy.ejection import Ejection, EjectionSettings
from tests.unit.policy.settings import accepts, refuses, stays


@dataclass
class Endpoint:
    name: str
    shut_until: float = 0.0

    def available(self, now: float) -> bool:
        return now >= self.shut_until


def endpoints(states: str) -> list[Endpoint]:
    """Make an endpoint for each letter: capital is well, small is unwell until 100."""
    return [Endpoint(letter, 100.0 if letter.islower() else 0.0) for letter in states]


def used(
    states: str, settings: EjectionSettings | None = None, now: float = 0.0
) -> tuple[str, bool]:
    ejection = Ejection(settings) if settings else Ejection()
    roster, panic = ejection.roster(endpoints(states), now)
    return "".join(each.name for each in roster), panic


def test_all_are_used_while_all_are_well() -> None:
    everyone = endpoints("ABCD")
    roster: Sequence[Endpoint]
    roster, panic = Ejection().roster(everyone, 0.0)
    assert roster is everyone
    assert panic is False
    assert used("") == ("", False)


def test_the_unwell_are_left_out() -> None:
    assert used("AbCd") == ("AC", False)
    assert used("Abcd", now=100.0) == ("Abcd", False)


def test_below_half_well_all_are_used_whatever_their_state() -> None:
    assert used("ab") == ("ab", True)
    assert used("Abc") == ("Abc", True)
    assert used("aBcDe") == ("aBcDe", True)
    assert used("aBcD") == ("BD", False)


def test_no_more_are_left_out_than_may_be_and_the_first_of_the_others_stay() -> None:
    settings = EjectionSettings(most=0.25, panic_below=0.0)
    assert used("abCd", settings) == ("Cab", True)
    assert used("aBCD", settings) == ("BCD", False)
    assert used("abCDEFGH", settings) == ("CDEFGH", False)
    assert used("abcDEFGH", settings) == ("DEFGHa", True)


def test_a_share_of_endpoints_is_rounded_down() -> None:
    settings = EjectionSettings(most=0.5, panic_below=0.0)
    assert used("abC", settings) == ("Ca", True)
    assert used("aBC", settings) == ("BC", False)


def test_none_may_be_left_out() -> None:
    assert used("aB", EjectionSettings(most=0.0)) == ("Ba", True)


def test_where_all_may_be_left_out_none_is_used() -> None:
    assert used("ab", EjectionSettings(most=1.0, panic_below=0.0)) == ("", False)


@pytest.mark.parametrize("share", ["most", "panic_below"])
def test_settings(share: str) -> None:
    accepts(EjectionSettings, **{share: 0})
    accepts(EjectionSettings, **{share: 1})
    refuses(EjectionSettings, **{share: -0.1})
    refuses(EjectionSettings, **{share: 1.1})
    stays(EjectionSettings())
