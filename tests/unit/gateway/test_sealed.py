"""Faults behind a gateway: believed where one of ours has sealed them, and nowhere else."""

import pytest

from switchgear.http.message import Request, Response
from switchgear.http.problem import FAULT_HEADER, problem_within
from switchgear.identity.seals import Seals
from switchgear.identity.shared import SharedKeys
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from tests.support.gateway import House, public

pytestmark = pytest.mark.virtual

WALL = 1_800_000_000.0
OURS = Seals(SharedKeys({"boot": b"k" * 32}, "boot"), "fault")
THEIRS = Seals(SharedKeys({"boot": b"x" * 32}, "boot"), "fault")
REFUSED = Fault(Code.UNAVAILABLE, "shed", effect=Effect.NONE, refusal=Refusal.SHED, origin="far")


def house(seals: Seals | None, fault: Fault) -> House:
    """A gateway before a service whose answers are sealed with `seals`, if at all."""

    async def serve(call: Call[Request]) -> Response:
        if seals is None:
            return problem_within(fault, "service")
        return problem_within(fault, "service", lambda text: seals.seal(text, WALL))

    return House(
        [public("POST")],
        {"service-1": serve},
        unseal=lambda text: OURS.unseal(text, WALL),
    )


async def tripped(house: House) -> bool:
    """Ask often, and say whether a breaker has opened."""
    for _ in range(9):
        answer = await house.ask("POST", "/a")
        assert answer.status == 503
        assert FAULT_HEADER not in answer.headers
    return bool(house.transitions)


async def test_a_sealed_refusal_opens_no_breaker() -> None:
    """Rule 7."""
    assert not await tripped(house(OURS, REFUSED))


@pytest.mark.parametrize("seals", [None, THEIRS], ids=["unsealed", "wrongly sealed"])
async def test_a_forged_refusal_opens_the_breaker_like_any_503(seals: Seals | None) -> None:
    """Rule 7."""
    assert await tripped(house(seals, REFUSED))


@pytest.mark.parametrize(
    ("seals", "told"), [(OURS, "shed"), (None, ""), (THEIRS, "")], ids=["ours", "none", "theirs"]
)
async def test_only_what_is_sealed_is_written_into_our_log(seals: Seals | None, told: str) -> None:
    gateway = house(seals, REFUSED)
    call = gateway.call("POST", "/a")
    await gateway.door.handler(call)
    assert call.trail.detail == told
