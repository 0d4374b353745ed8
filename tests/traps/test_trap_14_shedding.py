"""Trap 14: priority shedding.

What is turned away must cost nothing, or the turning away is the overload; the cheapest traffic
goes first; and who is exempt is told by a signed claim or by where it came in, never by a header or
a path, which anybody can write.
"""

import asyncio

import pytest

from switchgear import Refusal
from switchgear.core.stack import INBOUND, Place
from switchgear.gateway.table import RouteEntry
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.identity.internal import InternalTokens, Vouched
from switchgear.identity.shared import SharedKeys
from switchgear.policy.fault import Fault
from switchgear.policy.gate import Ask, Permit, Refused
from switchgear.policy.shedder import Shedder
from switchgear.services.intake import Intake
from switchgear.testing import advance, clock
from tests.support.gateway import House, public

WALL = 1.7e9
TOKENS = InternalTokens(SharedKeys({"boot": b"k" * 32}, "boot"))


def overloaded(lag: float) -> Shedder:
    shedder = Shedder("gateway")
    for turn in range(200):
        shedder.observe_lag(lag, turn * 0.05)
    return shedder


def shed(shedder: Shedder, priority: int, asks: int = 1000) -> int:
    return sum(isinstance(shedder.admit(Ask("", 1, priority), 10.0), Refused) for _ in range(asks))


@pytest.mark.parametrize("lag", [0.0, 0.06, 0.1, 0.2, 0.3, 0.4, 0.499, 0.6, 60.0])
def test_trap_14_the_cheapest_goes_first_and_the_exempt_never(lag: float) -> None:
    shares = [shed(overloaded(lag), priority) for priority in range(10)]
    assert shares == sorted(shares, reverse=True)
    assert sum(0 < share < 1000 for share in shares) <= 1  # of one priority only a part
    assert shares[9] == 0
    if lag >= 0.5:
        assert shares[:9] == [1000] * 9
    if not lag:
        assert shares == [0] * 10


async def crushed(*routes: RouteEntry) -> House:
    doors = House(routes)
    for _ in range(200):
        doors.shedder.observe_lag(5.0, clock())
        await asyncio.sleep(0.05)
    doors.shedder.observe_lag(5.0, clock())
    return doors


def at_once(doors: House, *given: object) -> Response | None:
    """Take the one step of an answer that waits for nothing; None when it would wait."""
    work = doors.door.handler(doors.call(*given))  # type: ignore[arg-type]  # passed on
    try:
        work.send(None)
    except StopIteration as ended:
        answer: Response = ended.value
        return answer
    work.close()
    return None


@pytest.mark.virtual
async def test_trap_14_a_shed_answer_waits_for_nothing_and_does_no_work() -> None:
    doors = await crushed(RouteEntry("POST", "/a", "service", scope="write"))
    began = clock()
    for _ in range(100):
        answer = at_once(doors, "POST", "/a", {"authorization": "Bearer x"}, b"{}")
        assert answer is not None  # not one await: it takes as long as its few lines of code
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert clock() == began
    assert (doors.asked, doors.sent) == ([], [])  # no token was looked at, nothing was sent
    assert doors.out() == 0


def test_trap_14_shedding_stands_before_everything_that_costs() -> None:
    dear = {Place.ADDRESS_LIMIT, Place.ROUTE, Place.AUTHENTICATE, Place.AUTHORISE, Place.BIND,
            Place.IDEMPOTENCY, Place.TRANSACTION}  # fmt: skip
    assert dear <= set(INBOUND[INBOUND.index(Place.SHED) :])


@pytest.mark.virtual
@pytest.mark.parametrize("path", ["/health", "/healthz", "/health/live", "/admin", "/drill", "/a"])
async def test_trap_14_no_path_is_exempt(path: str) -> None:
    doors = await crushed(public("GET", path))
    answer = await doors.ask("GET", path)
    assert answer.status == 503


@pytest.mark.virtual
@pytest.mark.parametrize(
    "name",
    ["priority", "x-priority", "switchgear-priority", "switchgear-exempt", "switchgear-drill",
     "switchgear-token", "x-health-check", "x-admin"],
)  # fmt: skip
async def test_trap_14_no_header_is_exempt(name: str) -> None:
    doors = await crushed(public())
    assert (await doors.ask("GET", "/a", {name: "9"})).status == 503
    assert (await doors.ask("GET", "/a", {"user-agent": "kube-probe/1.31"})).status == 503


@pytest.mark.virtual
async def test_trap_14_what_a_route_is_worth_says_whether_it_goes_first() -> None:
    doors = House([public("GET", "/cheap", priority=1), public("GET", "/dear", priority=8)])
    for _ in range(200):
        doors.shedder.observe_lag(0.3, clock())
        await asyncio.sleep(0.05)
    assert (await doors.ask("GET", "/cheap")).status == 503
    assert (await doors.ask("GET", "/dear")).status == 200
    await advance()


def priority(claim: Vouched, **more: str) -> int:
    token = TOKENS.mint(claim, "stock", "GET", "/a", "an-id-of-it", WALL)
    headers = {"switchgear-token": token, "x-request-id": "an-id-of-it", **more}
    request = Request("GET", "/a", headers=Headers(headers), peer="unix")
    return Intake(TOKENS, "stock", wall=lambda: WALL)(request, 0.0).priority


def test_trap_14_a_signed_claim_exempts_and_a_header_beside_it_does_not() -> None:
    shedder = overloaded(60.0)
    exempt, plain = priority(Vouched(exempt=True)), priority(Vouched())
    assert isinstance(shedder.admit(Ask("", 1, exempt), 10.0), Permit)
    refused = shedder.admit(Ask("", 1, plain), 10.0)
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.SHED
    assert priority(Vouched(), **{"switchgear-exempt": "true", "x-priority": "9"}) == plain


def test_trap_14_a_claim_that_was_forged_is_no_claim() -> None:
    other = InternalTokens(SharedKeys({"boot": b"x" * 32}, "boot"))
    token = other.mint(Vouched(exempt=True), "stock", "GET", "/a", "an-id-of-it", WALL)
    headers = Headers({"switchgear-token": token, "x-request-id": "an-id-of-it"})
    with pytest.raises(Fault, match="its seal does not fit"):
        Intake(TOKENS, "stock", wall=lambda: WALL)(Request("GET", "/a", headers=headers), 0.0)
