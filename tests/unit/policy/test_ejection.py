"""Ejection, in situations."""

from dataclasses import dataclass

import pytest

from switchgear.policy.ejection import Ejection, EjectionSettings


@dataclass(eq=False)
class Process:
    """An endpoint as a gateway might keep it."""

    name: str
    well: bool = True

    def available(self, now: float) -> bool:
        return self.well


def processes(count: int, unwell: int = 0) -> list[Process]:
    return [Process(f"p{number}", number >= unwell) for number in range(count)]


@pytest.mark.parametrize(
    ("total", "unwell", "used", "panic"),
    [
        (1, 0, 1, False),
        (1, 1, 1, True),
        (2, 1, 1, False),
        (2, 2, 2, True),
        (3, 1, 2, False),
        (3, 2, 3, True),
        (4, 2, 2, False),
        (4, 3, 4, True),
        (10, 5, 5, False),
        (10, 6, 10, True),
    ],
)
def test_at_most_half_are_ejected_and_below_half_healthy_it_is_panic(
    total: int, unwell: int, used: int, panic: bool
) -> None:
    endpoints = processes(total, unwell)
    roster, panics = Ejection().roster(endpoints, 0.0)
    assert (len(roster), panics) == (used, panic)
    assert set(endpoints[unwell:]) <= set(roster)


def test_a_lower_bound_on_ejections_keeps_the_first_unwell_in() -> None:
    ejection = Ejection(EjectionSettings(most=0.25, panic_below=0.25))
    endpoints = processes(8, unwell=4)
    roster, panic = ejection.roster(endpoints, 0.0)
    assert [each.name for each in roster] == ["p4", "p5", "p6", "p7", "p0", "p1"]
    assert panic, "the gates of two of them are shut"


def test_none_is_ejected_where_there_is_none() -> None:
    assert Ejection().roster([], 0.0) == ([], False)


def test_a_share_means_what_it_says_and_not_what_floats_make_of_it() -> None:
    ejection = Ejection(EjectionSettings(most=0.29, panic_below=0.29))
    roster, panic = ejection.roster(processes(100, unwell=29), 0.0)
    assert (len(roster), panic) == (71, False), "29 of 100 may be ejected"
    ejection = Ejection(EjectionSettings(most=1.0, panic_below=0.55))
    roster, panic = ejection.roster(processes(100, unwell=45), 0.0)
    assert (len(roster), panic) == (55, False), "55 of 100 are not fewer than 55 %"


def test_statistics_tell_of_the_last_roster_and_of_all_panics() -> None:
    ejection = Ejection(EjectionSettings(most=0.25, panic_below=0.5))
    names = ("endpoints", "well", "used", "ejected", "panics")

    def figures() -> tuple[object, ...]:
        told = ejection.statistics()
        assert tuple(told) == names
        return tuple(told.values())

    assert figures() == (0, 0, 0, 0, 0)
    ejection.roster(processes(8), 0.0)
    assert figures() == (8, 8, 8, 0, 0)
    ejection.roster(processes(8, unwell=2), 0.0)
    assert figures() == (8, 6, 6, 2, 0)
    ejection.roster(processes(8, unwell=3), 0.0)
    assert figures() == (8, 5, 6, 2, 1)
    ejection.roster(processes(8, unwell=5), 0.0)
    assert figures() == (8, 3, 8, 0, 2)
    ejection.roster(processes(8, unwell=4), 0.0)
    assert figures() == (8, 4, 6, 2, 3)
    ejection.roster(processes(4), 0.0)
    assert figures() == (4, 4, 4, 0, 3)


def test_where_all_are_well_nothing_is_copied() -> None:
    endpoints = processes(3)
    assert Ejection().roster(endpoints, 0.0)[0] is endpoints


def test_settings_do_not_change_under_whoever_shares_them() -> None:
    settings = EjectionSettings()
    with pytest.raises(AttributeError):
        settings.most = 1  # type: ignore[misc]  # the point of the test
