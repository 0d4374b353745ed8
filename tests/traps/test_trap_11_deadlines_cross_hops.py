"""Trap 11: the deadline crosses hops as remaining milliseconds, never a wall-clock instant.

Clocks differ between machines, by minutes where one is wrong. And a stranger can only shorten what
he would get, else everybody asks for an hour.
"""

import asyncio
import re
import time

import pytest

from switchgear import Code, Effect, Refusal, within
from switchgear.gateway.hurry import asked_for
from switchgear.http.headers import Headers
from switchgear.http.pool import deadline_line
from switchgear.policy.remaining import FLOOR, HEADER, read_remaining, remaining_ms, shortened
from switchgear.testing import advance, clock
from tests.integration.http.harness import call as request
from tests.integration.http.harness import echo, pooled, serving
from tests.support.gateway import House, hang, public
from tests.traps.world import ended, make, slow, state


def test_trap_11_it_is_a_duration_whatever_the_clocks_say() -> None:
    for ours in (0.0, 5.0, 1e6, 1.7e9):
        assert remaining_ms(ours + 1.5, ours) == "1500"
        left = read_remaining({HEADER: remaining_ms(ours + 1.5, ours)}.get, trusted=True)
        assert left == 1.5  # on any clock of theirs
    assert remaining_ms(10.0, 12.0) == "0"


@pytest.mark.timeout(30)
async def test_trap_11_the_header_on_the_wire_is_what_remains() -> None:
    async with serving(echo) as server, pooled(server.port, stamp=deadline_line) as pool:
        answer = await pool(request(within=2.0))
        told = (await answer.body.read() if hasattr(answer.body, "read") else answer.body).decode()
    found = re.search(rf'"{HEADER}","(\d+)"', told.replace(" ", ""))
    assert found is not None
    assert 1000 < int(found[1]) <= 2000


def test_trap_11_what_is_left_on_the_way_in_is_what_is_given() -> None:
    line = deadline_line(12.0, 10.75).decode()
    assert line == f"{HEADER}: 1250\r\n"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, None), ({"grpc-timeout": "250m"}, 0.25), ({"grpc-timeout": "1S"}, 1.0),
     ({"grpc-timeout": "2M"}, 120.0), ({"grpc-timeout": "1H"}, 3600.0),
     ({"grpc-timeout": "500000u"}, 0.5), ({"grpc-timeout": "400000000n"}, None),
     ({"x-envoy-expected-rq-timeout-ms": "700"}, 0.7),
     ({"x-envoy-expected-rq-timeout-ms": "700", "grpc-timeout": "300m"}, 0.3),
     ({"x-envoy-expected-rq-timeout-ms": "1"}, FLOOR), ({"grpc-timeout": "1n"}, FLOOR),
     ({HEADER: "5"}, None)],
)  # fmt: skip
def test_trap_11_what_strangers_may_say(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_for(Headers(headers)) == seconds


def test_trap_11_the_floor_is_100_ms() -> None:
    assert FLOOR == 0.1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 2.0), ({"grpc-timeout": "1S"}, 1.0), ({"grpc-timeout": "1H"}, 2.0),
     ({"x-envoy-expected-rq-timeout-ms": "99999999"}, 2.0),
     ({"x-envoy-expected-rq-timeout-ms": "1"}, 0.1), ({HEADER: "3600000"}, 2.0),
     ({HEADER: "1"}, 2.0)],
)  # fmt: skip
@pytest.mark.virtual
async def test_trap_11_a_stranger_only_shortens(headers: dict[str, str], seconds: float) -> None:
    doors = House([public("POST", deadline=2.0)], {"service-1": hang})
    began = clock()
    assert (await doors.ask("POST", "/a", headers)).status == 504
    assert clock() - began == pytest.approx(seconds, abs=0.03)


def test_trap_11_nothing_left_is_not_taken_for_nothing_said() -> None:
    assert shortened(300.0, 0.0) == 0.0
    assert shortened(300.0, None) == 300.0
    assert shortened(300.0, 1e9) == 300.0


@pytest.mark.virtual
async def test_trap_11_less_than_the_observed_median_is_refused_at_once() -> None:
    mail = make()
    for _ in range(30):
        await mail.call(slow, 0.2)
    for left in (0.05, 0.15):
        began = clock()
        with within(left, clock=clock):
            refused = await ended(mail, slow, 0.2)
        assert (refused.code, refused.refusal, refused.effect) == (
            Code.DEADLINE_EXCEEDED, Refusal.HURRIED, Effect.NONE
        )  # fmt: skip
        assert clock() == began
    with within(0.5, clock=clock):
        assert await ended(mail, slow, 0.2) == "well"


@pytest.mark.virtual
async def test_trap_11_a_policy_inside_another_has_no_more_time_than_that_one() -> None:
    outer, inner = make("outer", deadline=0.5, attempts=1), make("inner", deadline=60.0)
    began = clock()
    assert (await ended(outer, inner.call, slow, 30.0)).code is Code.DEADLINE_EXCEEDED
    assert clock() - began < 0.6
    await advance()


def test_trap_11_no_wall_clock_dates_a_deadline() -> None:
    # A policy made and used while the wall clock jumps by an hour.
    async def main() -> None:
        mail = make(clock=time.perf_counter, deadline=5.0)
        assert await mail.call(asyncio.sleep, 0.0, "well") == "well"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 0.0)
        asyncio.run(main())


@pytest.mark.virtual
async def test_trap_11_a_repeatable_call_with_time_enough_is_answered() -> None:
    """0.19 s are left, the dependency takes 0.1: half of what remains is less than that."""
    mail = make(repeatable=True)
    for _ in range(40):
        await mail.call(slow, 0.1)
    with within(0.19, clock=clock):
        assert await ended(mail, slow, 0.1) == "well"
    assert state(mail).value == "closed"
