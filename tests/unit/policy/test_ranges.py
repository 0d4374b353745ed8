"""The range checks: where each begins and ends, and what is said of a value beyond."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from switchgear.policy import ranges

HUGE = 10**309  # no float can be made of it


@dataclass
class Tank:
    level: float
    valves: int = 1
    pumps: int | None = None


@pytest.mark.parametrize("value", [2.001, 3, sys.float_info.max])
def test_above_takes_what_is_above(value: float) -> None:
    ranges.above(Tank(value), "level", 2)


@pytest.mark.parametrize(
    "value", [2, 1.9, -5, float("inf"), float("-inf"), float("nan"), pytest.param(HUGE, id="huge")]
)
def test_above_refuses_the_bound_itself_what_is_below_and_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError) as refused:
        ranges.above(Tank(value), "level", 2)
    assert str(refused.value) == (
        f"Tank.level is {value!r}, where a finite number above 2 would be right"
    )


@pytest.mark.parametrize("value", [2, 2.001, sys.float_info.max])
def test_at_least_takes_the_bound_and_what_is_above(value: float) -> None:
    ranges.at_least(Tank(value), "level", 2)


@pytest.mark.parametrize(
    "value", [1.9, -5, float("inf"), float("-inf"), float("nan"), pytest.param(HUGE, id="huge")]
)
def test_at_least_refuses_what_is_below_and_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError) as refused:
        ranges.at_least(Tank(value), "level", 2)
    assert str(refused.value) == (
        f"Tank.level is {value!r}, where a finite number of at least 2 would be right"
    )


@pytest.mark.parametrize("value", [2, 2.5, 3])
def test_between_takes_both_bounds_and_what_is_between(value: float) -> None:
    ranges.between(Tank(value), "level", 2, 3)


@pytest.mark.parametrize("value", [1.9, 3.1, float("inf"), float("-inf"), float("nan")])
def test_between_refuses_what_is_beyond_and_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError) as refused:
        ranges.between(Tank(value), "level", 2, 3)
    assert str(refused.value) == (
        f"Tank.level is {value!r}, where a number from 2 to 3 would be right"
    )


@pytest.mark.parametrize("value", [1e-9, 0.5, 1])
def test_a_share_is_above_nothing_and_at_most_all(value: float) -> None:
    ranges.share(Tank(value), "level")


@pytest.mark.parametrize("value", [0, -0.1, 1.001, 50, float("inf"), float("nan")])
def test_a_share_of_nothing_or_of_more_than_all_is_told_both_bounds(value: float) -> None:
    with pytest.raises(ValueError) as refused:
        ranges.share(Tank(value), "level")
    assert str(refused.value) == (
        f"Tank.level is {value!r}, where a number above 0 and up to 1 would be right"
    )


@pytest.mark.parametrize("value", ["5s", None, True, [1]])
@pytest.mark.parametrize(
    ("check", "bounds", "right"),
    [
        ("share", (), "a number above 0 and up to 1"),
        ("above", (2,), "a finite number above 2"),
        ("at_least", (2,), "a finite number of at least 2"),
        ("between", (0, 2), "a number from 0 to 2"),
    ],
)
def test_what_is_not_a_number_at_all_is_refused_in_the_same_words(
    check: str, bounds: tuple[float, ...], right: str, value: object
) -> None:
    tank = Tank(value)  # type: ignore[arg-type]  # the point
    with pytest.raises(TypeError) as refused:
        getattr(ranges, check)(tank, "level", *bounds)
    assert str(refused.value) == f"Tank.level is {value!r}, where {right} would be right"


@pytest.mark.parametrize(
    ("check", "bounds", "right"),
    [
        ("above", (2,), "a whole number above 2"),
        ("at_least", (2,), "a whole number of at least 2"),
        ("between", (0, 2), "a whole number from 0 to 2"),
        ("above", (1_048_577,), "a whole number above 1048577"),
        ("at_least", (1_048_577,), "a whole number of at least 1048577"),
        ("between", (1_048_577.0, 2_000_001.0), "a whole number from 1048577 to 2000001"),
    ],
)
@pytest.mark.parametrize("field", ["valves", "pumps"])
def test_what_counts_is_a_whole_number(
    check: str, bounds: tuple[float, ...], right: str, field: str
) -> None:
    def checked(value: object) -> None:
        tank: Any = Tank(0.5)
        setattr(tank, field, value)
        getattr(ranges, check)(tank, field, *bounds)

    checked(int(bounds[0]) + (check == "above"))
    for wrong in (1.5, -1):
        with pytest.raises(ValueError) as refused:
            checked(wrong)
        assert str(refused.value) == f"Tank.{field} is {wrong}, where {right} would be right"
    with pytest.raises(TypeError) as caught:
        checked(True)
    assert str(caught.value) == f"Tank.{field} is True, where {right} would be right"


def test_a_field_is_of_its_kind() -> None:
    ranges.kind(Tank(2.0), "level", float)
    with pytest.raises(TypeError) as refused:
        ranges.kind(Tank("high"), "level", float)  # type: ignore[arg-type]  # the point
    assert str(refused.value) == "Tank.level is 'high', where a float(...) would be right"


def test_a_field_may_have_to_be_a_function() -> None:
    ranges.function(Tank(len), "level")  # type: ignore[arg-type]  # the point
    with pytest.raises(TypeError) as refused:
        ranges.function(Tank(3), "level")
    assert str(refused.value) == "Tank.level is 3, where a function would be right"
