"""Trap 8: breaker and ejection per endpoint, with a service breaker above.

One breaker for all lets one sick process close the service; ejection without a bound leaves the
last healthy one to carry everything; a retry that goes back to the same endpoint fails again.
"""

from typing import Any

import pytest

from switchgear.core.stack import OUTBOUND, Place
from switchgear.policy.balance import PeakEwma, PeakEwmaBalancer
from switchgear.policy.balancers import LeastLoaded, Rendezvous, RoundRobin
from switchgear.policy.ejection import Ejection
from switchgear.policy.fault import Code, Fault
from switchgear.testing import advance, clock
from tests.support.gateway import House, answer, failing, public

AWAY = failing(Fault(Code.UNAVAILABLE, "away"))


def house(*serving: Any) -> House:
    return House([public()], {f"service-{number}": one for number, one in enumerate(serving, 1)})


def states(doors: House) -> tuple[str, list[str]]:
    told = doors.upstream.statistics()["routes"]["GET /a"]
    return told["breaker"]["state"], [one["state"] for one in told["endpoints"].values()]


@pytest.mark.virtual
async def test_trap_08_one_sick_endpoint_is_left_out_alone() -> None:
    doors = house(AWAY, answer, answer, answer)
    for _ in range(600):  # it is asked every few seconds, until five failures in a row are enough
        assert (await doors.ask("GET", "/a")).status == 200
        await advance(0.1)
    service, (sick, *others) = states(doors)
    assert (service, set(others)) == ("closed", {"closed"})
    assert sick in ("open", "half_open")
    assert 5 <= doors.names().count("service-1") < 20


@pytest.mark.virtual
async def test_trap_08_where_all_are_sick_the_service_breaker_opens() -> None:
    doors = house(AWAY, AWAY, AWAY)
    for _ in range(40):
        await doors.ask("GET", "/a")
    assert states(doors)[0] == "open"
    sent = len(doors.sent)
    assert (await doors.ask("GET", "/a")).status == 503
    assert len(doors.sent) == sent


def test_trap_08_the_service_breaker_stands_above_the_balancer_and_the_endpoints_below() -> None:
    places = [
        place
        for place in OUTBOUND
        if place in (Place.SERVICE_BREAKER, Place.RETRY, Place.BALANCE, Place.BREAKER)
    ]
    assert places == [Place.SERVICE_BREAKER, Place.RETRY, Place.BALANCE, Place.BREAKER]


@pytest.mark.virtual
async def test_trap_08_a_retry_goes_to_another_endpoint() -> None:
    for _ in range(20):
        doors = house(AWAY, answer)
        assert (await doors.ask("GET", "/a")).status == 200
        assert doors.names() in (["service-2"], ["service-1", "service-2"])
    doors = house(AWAY, AWAY, AWAY)
    await doors.ask("GET", "/a")
    assert sorted(doors.names()) == ["service-1", "service-2", "service-3"]


class Stand:
    def __init__(self, number: int, well: bool) -> None:
        self.name = f"service-{number}"
        self.in_flight = 0
        self.ewma = PeakEwma()
        self.well = well

    def available(self, now: float) -> bool:
        return self.well


def among(total: int, well: int) -> list[Stand]:
    return [Stand(number, number >= total - well) for number in range(total)]


@pytest.mark.parametrize("total", range(1, 21))
def test_trap_08_at_most_half_are_ejected_and_below_half_it_is_a_panic(total: int) -> None:
    for well in range(total + 1):
        roster, panic = Ejection().roster(among(total, well), 0.0)
        assert total - len(roster) <= total / 2
        if well < total / 2:
            assert panic
            assert len(roster) == total
        else:
            assert not panic
            assert all(one.well for one in roster)
            assert len(roster) == well


@pytest.mark.parametrize("balancer", [
    PeakEwmaBalancer(random=lambda: 0.99), LeastLoaded(random=lambda: 0.99), RoundRobin(),
    Rendezvous()])  # fmt: skip
def test_trap_08_every_balancer_leaves_out_the_sick_and_those_tried_before(balancer: Any) -> None:
    endpoints = among(4, 3)
    sick, *well = (one.name for one in endpoints)
    picked = {balancer.pick(endpoints, 0.0).endpoint.name for _ in range(20)}
    assert sick not in picked
    for tried in well:
        others = [one for one in well if one != tried]
        assert balancer.pick(endpoints, 0.0, [tried], key="k").endpoint.name in others
    panic = among(4, 1)
    assert balancer.pick(panic, 0.0).panic


@pytest.mark.virtual
async def test_trap_08_in_a_panic_all_are_used_and_their_breakers_passed_by() -> None:
    doors = house(answer, answer, answer, answer)
    ways = doors.upstream.lane(public())._ways
    for shut, used in ((1, 3), (2, 2), (3, 4), (4, 4)):
        ways[shut - 1].breaker.force_open(clock())
        doors.sent.clear()
        for _ in range(60):
            assert (await doors.ask("GET", "/a")).status == 200
            await advance(1.0)
        assert len(set(doors.names())) == used
