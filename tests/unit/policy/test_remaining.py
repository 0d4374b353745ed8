"""Deadlines across hops (rule 11)."""

from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.policy.remaining import (
    FLOOR,
    HEADER,
    grpc_timeout,
    read_remaining,
    remaining_ms,
    shortened,
)

GRPC, ENVOY = "grpc-timeout", "x-envoy-expected-rq-timeout-ms"
NOTHING: Mapping[str, str] = {}


def test_the_names_and_figures_that_others_hold_us_to() -> None:
    assert (FLOOR, HEADER) == (0.1, "switchgear-deadline-ms")


@pytest.mark.parametrize(
    ("deadline", "now", "written"),
    [
        (12.5, 10.0, "2500"),
        (10.0009, 10.0, "0"),
        (10.0, 10.0, "0"),
        (9.0, 10.0, "0"),
        (1e6 + 10.0, 10.0, "999999999"),
        (inf, 10.0, "999999999"),
        (-inf, 10.0, "0"),
    ],
)
def test_what_is_left_is_written_in_whole_milliseconds(
    deadline: float, now: float, written: str
) -> None:
    assert remaining_ms(deadline, now) == written


def test_a_wall_clock_that_differs_by_a_day_changes_nothing() -> None:
    """Rule 11: an instant that crossed a hop would be a day off; a duration is not."""
    day = 86_400.0
    sent = remaining_ms(deadline=1000.0 + 2.0, now=1000.0)
    left = read_remaining({HEADER: sent}.get, trusted=True)
    assert left == 2.0
    assert (5000.0 + day + left) - (5000.0 + day) == 2.0


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 3000))
def test_a_deadline_is_cut_down_at_each_hop_and_never_grows(spent: list[int], given: int) -> None:
    """Rule 11: each hop has its own clock, and takes what it used from what it was left."""
    deadline, now, left = given / 1000, 0.0, given / 1000
    for number, used in enumerate(spent):
        now += used / 1000
        told = read_remaining({HEADER: remaining_ms(deadline, now)}.get, trusted=True)
        assert told is not None
        assert told <= left
        assert told <= max(0.0, (given - sum(spent[: number + 1])) / 1000) + 1e-9
        left = told
        now = 1e5 * number  # the next hop's clock says something else
        deadline = now + shortened(3.0, told)
    assert left <= given / 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({GRPC: "2S"}, 2.0),
        ({GRPC: "1500m"}, 1.5),
        ({GRPC: "2M"}, 120.0),
        ({GRPC: "1H"}, 3600.0),
        ({GRPC: "500000u"}, 0.5),
        ({GRPC: "99999999n"}, FLOOR),
        ({GRPC: "99999999H"}, 99999999 * 3600.0),
        ({GRPC: "0S"}, FLOOR),
        ({ENVOY: "250"}, 0.25),
        ({ENVOY: "1"}, FLOOR),
        ({ENVOY: "100"}, 0.1),
        ({ENVOY: "101"}, 0.101),
        ({ENVOY: "999999999"}, 999999.999),
        ({ENVOY: "0"}, None),  # Envoy's word for none
        ({GRPC: "2S", ENVOY: "700"}, 0.7),
        ({GRPC: "200m", ENVOY: "700"}, 0.2),
        ({GRPC: "200m", ENVOY: "0"}, 0.2),
        ({GRPC: "x", ENVOY: "700"}, 0.7),
    ],
)
def test_what_strangers_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    assert read_remaining(headers.get) == seconds
    assert read_remaining(headers.get, trusted=True) == seconds


@pytest.mark.parametrize(
    "value", ["", "S", "1", "-1S", "1.5S", "1s", "123456789S", "1S, 1S", "\u0661S", "1e3S", " 1S"]
)
def test_what_cannot_be_read_is_passed_over(value: str) -> None:
    assert read_remaining({GRPC: value}.get) is None
    assert read_remaining({ENVOY: value.replace("1", "x")}.get) is None


@pytest.mark.parametrize(
    "value", ["", "x", "-1", "1.5", "9999999999", "2000, 1", "\u0661", "1e3", " 1", "1\n"]
)
def test_our_own_header_that_cannot_be_read_is_passed_over(value: str) -> None:
    assert read_remaining({HEADER: value}.get, trusted=True) is None
    assert read_remaining({HEADER: value, ENVOY: "700"}.get, trusted=True) == 0.7
    assert read_remaining({ENVOY: value}.get) is None


def test_a_stranger_cannot_speak_as_one_of_our_hops() -> None:
    assert read_remaining({HEADER: "5"}.get) is None
    assert read_remaining({HEADER: "5", GRPC: "2S"}.get) == 2.0


def test_our_own_hop_is_believed_to_the_millisecond_and_alone() -> None:
    assert read_remaining({HEADER: "5"}.get, trusted=True) == 0.005
    assert read_remaining({HEADER: "0"}.get, trusted=True) == 0.0
    # The client's header is older: the gateway has taken account of it.
    assert read_remaining({HEADER: "900", GRPC: "200m"}.get, trusted=True) == 0.9


def test_who_asks_for_more_gets_no_more() -> None:
    assert shortened(3.0, None) == 3.0
    assert shortened(3.0, 99.0) == 3.0
    assert shortened(3.0, 2.0) == 2.0
    assert shortened(3.0, 3.0) == 3.0


def test_nothing_left_is_not_everything() -> None:
    assert shortened(3.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0n"),
        (-1.0, "0n"),
        (1e-9, "1n"),
        (0.0625, "62500000n"),
        (0.09999999995, "99999999n"),
        (0.1, "100000u"),
        (0.25, "250000u"),
        (64.0, "64000000u"),
        (100.0, "100000m"),
        (99_999.0, "99999000m"),
        (100_000.0, "100000S"),
        (99_999_999.0, "99999999S"),
        (120_000_000.0, "2000000M"),
        (7_200_000_000.0, "2000000H"),
        (99_999_999 * 3600.0, "99999999H"),
        (1e30, "99999999H"),
        (inf, "99999999H"),
    ],
)
def test_a_duration_in_grpcs_words(seconds: float, written: str) -> None:
    assert grpc_timeout(seconds) == written


@given(st.floats(0.0, 1e13))
def test_what_is_said_in_grpcs_words_is_never_more_and_hardly_less(seconds: float) -> None:
    written = grpc_timeout(seconds)
    units = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}
    said = int(written[:-1]) * units[written[-1]]
    assert len(written) <= 9
    assert said <= seconds * (1 + 1e-9)
    if seconds < 1e8 * 3600:
        assert said >= seconds * (1 - 1e-4) - 1e-9
    assert (read_remaining({"grpc-timeout": written}.get) or 0.0) == pytest.approx(max(FLOOR, said))
