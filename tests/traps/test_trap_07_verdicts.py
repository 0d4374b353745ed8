"""Trap 7: what counts as BAD.

Timeouts, resets, 5xx, 408 and an unexplained 429 do. An ordinary 4xx is GOOD, for the dependency
answered; else an endpoint that answers 404 could never close its breaker. A refusal, of our own or
declared by a farther hop, is NEUTRAL.
"""

import asyncio

import pytest

from switchgear import BreakerSettings, BulkheadSettings, Code, Effect, Fault, Health, Refusal
from switchgear.http.message import Response
from switchgear.http.problem import judging, problem_within
from switchgear.policy.breaker import State
from switchgear.policy.verdict import judge
from switchgear.testing import advance
from tests.traps.world import away, ended, make, opened

ILL = (408, 429, *range(500, 600))


@pytest.mark.parametrize("status", range(400, 600))
def test_trap_07_statuses(status: int) -> None:
    for trusted in (False, True):
        health = judging(trusted=trusted)(Response(status)).health
        assert health is (Health.BAD if status in ILL else Health.GOOD)


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), ConnectionRefusedError(), BrokenPipeError(),
     ValueError("a defect"),
     *(Fault(code) for code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL,
                                Code.UNKNOWN, Code.DATA_LOSS, Code.RESOURCE_EXHAUSTED))],
)  # fmt: skip
def test_trap_07_timeouts_resets_and_defects_are_bad(error: Exception) -> None:
    assert judge(error).health is Health.BAD


@pytest.mark.parametrize(
    "code",
    [Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED,
     Code.ALREADY_EXISTS, Code.ABORTED, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE,
     Code.UNIMPLEMENTED],
)  # fmt: skip
def test_trap_07_who_says_no_is_well(code: Code) -> None:
    assert judge(Fault(code)).health is Health.GOOD


@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.parametrize(
    "code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED]
)
def test_trap_07_a_declared_refusal_of_a_farther_hop_is_neutral(
    code: Code, refusal: Refusal
) -> None:
    fault = Fault(code, refusal=refusal, effect=Effect.NONE)
    assert judge(fault).health is Health.NEUTRAL
    answered = problem_within(fault, "stock")
    assert judging(trusted=True)(answered).health is Health.NEUTRAL
    assert judging(trusted=False)(answered).health is Health.BAD  # a stranger only says so


@pytest.mark.virtual
async def test_trap_07_an_endpoint_that_answers_404_closes_its_breaker() -> None:
    async def missing() -> None:
        raise Fault(Code.NOT_FOUND, "no such letter")

    mail = await opened()
    assert mail.breaker is not None
    await advance(5.0)
    for _ in range(3):
        assert (await ended(mail, missing)).code is Code.NOT_FOUND
    assert mail.breaker.state is State.CLOSED
    await advance(10.0)
    for _ in range(50):
        await ended(mail, missing)
    assert mail.breaker.state is State.CLOSED


@pytest.mark.virtual
async def test_trap_07_a_breaker_that_refuses_opens_none_around_it() -> None:
    inner = await opened(breaker=BreakerSettings(open_for=60.0, open_most=60.0))
    outer = make("orders", attempts=1)
    for _ in range(50):
        assert (await ended(outer, inner.call, away)).refusal is Refusal.OPEN
    assert outer.breaker is not None
    assert outer.breaker.state is State.CLOSED
    assert outer.statistics()["calls"]["failed"] == 0


@pytest.mark.virtual
async def test_trap_07_our_own_full_house_opens_nothing() -> None:
    mail = make(attempts=1, bulkhead=BulkheadSettings(permits=1, queue=0))
    holder = asyncio.ensure_future(mail.call(asyncio.sleep, 1.0))
    await advance(0.1)
    for _ in range(50):
        assert (await ended(mail, away)).refusal is Refusal.FULL
    assert mail.breaker is not None
    assert mail.breaker.state is State.CLOSED
    await holder
