"""Ejection against exact fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from switchgear.policy.ejection import Ejection, EjectionSettings

hundredths = st.integers(0, 100)


class Process:
    """An endpoint that is well or not, and is asked at one instant only."""

    def __init__(self, well: bool) -> None:
        self.well = well

    def available(self, now: float) -> bool:
        assert now == 7.0
        return self.well

    def __eq__(self, other: object) -> bool:
        return True  # balancers tell endpoints apart by identity alone

    __hash__ = None  # type: ignore[assignment]  # nor need they be hashable


@given(st.lists(st.booleans(), max_size=40), hundredths, hundredths)
def test_never_more_are_ejected_than_may_be_and_in_a_panic_none(
    well: list[bool], most: int, panic_below: int
) -> None:
    endpoints = [Process(each) for each in well]
    ejection = Ejection(EjectionSettings(most=most / 100, panic_below=panic_below / 100))
    roster, panic = ejection.roster(endpoints, 7.0)
    count, total = sum(well), len(well)
    used = [id(each) for each in roster]
    assert len(set(used)) == len(used)
    assert set(used) >= {id(each) for each in endpoints if each.well}
    left_out = [each for each in endpoints if id(each) not in used]
    unwell = [each for each in endpoints if not each.well]
    if Fraction(count) < Fraction(panic_below, 100) * total:
        assert not left_out
    else:
        may = int(Fraction(most, 100) * total)
        assert len(left_out) == min(may, len(unwell))
        kept = unwell[: len(unwell) - len(left_out)]
        assert {id(each) for each in kept} <= set(used), "the first of the unwell stay"
    assert panic is any(not each.well for each in roster)
    figures = ejection.statistics()
    assert (figures["ejected"], figures["panics"]) == (len(left_out), panic)
