"""Durations as people write them."""

import pytest

from switchgear.policy.duration import seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("5min", 300.0),
        ("1h", 3600.0),
        (" 10 s ", 10.0),
        (3, 3.0),
        (0.1, 0.1),
    ],
)
def test_what_it_means(written: float | str, meant: float) -> None:
    value = seconds(written)
    assert value == pytest.approx(meant)
    assert type(value) is float


@pytest.mark.parametrize(
    "written", ["", "2", "s", "2 days", "2sec", "-1s", "1,5s", ".5s", "2s 3ms"]
)
def test_another_form_is_refused_with_what_would_be_right(written: str) -> None:
    with pytest.raises(ValueError) as refused:
        seconds(written)
    assert str(refused.value) == f"{written!r} is no duration: write 250ms, 2s, 5min or 1h"


HUGE = 10**309  # no float can be made of it


@pytest.mark.parametrize(
    "written", ["0s", "0.0ms", 0, -1, float("inf"), float("nan"), pytest.param(HUGE, id="huge")]
)
def test_a_duration_is_more_than_nothing_and_ends(written: float | str) -> None:
    with pytest.raises(ValueError) as refused:
        seconds(written)
    assert str(refused.value) == (
        f"{written!r} is no duration: it must be more than nothing, and have an end"
    )


@pytest.mark.parametrize("written", [None, True, [1], b"2s"])
def test_what_is_no_duration_at_all_is_refused_too(written: object) -> None:
    with pytest.raises(TypeError) as refused:
        seconds(written)  # type: ignore[arg-type]  # the point
    assert str(refused.value) == (
        f"{written!r} is no duration: seconds as a number or '2s' would be right"
    )
