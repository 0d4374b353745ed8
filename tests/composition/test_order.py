"""The order of the layers, with the reason of each, as a drawing that a change has to change."""

import asyncio
import random
from typing import Any

import pytest

from switchgear.core.frames import Retry, Timeout
from switchgear.core.observe import AttemptEnded, CallEnded, Retrying
from switchgear.core.stack import INBOUND, OUTBOUND, Part, Place, describe, stack
from switchgear.policy.backoff import Backoff
from switchgear.policy.breaker import Breaker
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.call import Call
from tests.support.core import Door, Plain, call, retry

# fmt: off
INBOUND_DRAWN = """\
inbound
  observe            sees everything below, refusals too
  deadline           bounds all that follows, so that no queue outlives its caller
  shed               the cheapest refusal first: an overloaded process must not do work to say no
  address_limit      before credentials are looked at: guessing them is limited too
  preflight          before credentials, which a browser that asks first does not send
  route              what follows is configured per route
  cross_site         before credentials are looked at: a page of another site must not spend them
  authenticate       limits and rights below are a principal's
  principal_limit    keyed by who was proven, not by who was claimed
  authorise          before a body is read for somebody who may not send it
  bind               reads and checks the body only for those who may
  idempotency        a repeated key answers from the record, before any effect
  transaction        commits before the response; all effects are inside"""

OUTBOUND_DRAWN = """\
outbound
  observe            sees everything below, refusals too
  fallback           outside everything that can fail, and not an attempt itself
  coalesce           inside the fallback, which is each caller's own; the rest is done once for all
  service_breaker    outside the retry: an open one costs no attempt and no budget
  retry              outside the breaker below, so that each attempt is recorded
  hedge              inside the retry, from the same budget: two that race are one try
  balance            inside the retry: another attempt picks another endpoint
  hurry              before the breaker: a caller without time must not take a probe's place
  breaker            outside the timeout, so that slowness counts as failure
  rate               before the queue: nobody waits there for what a limit then refuses
  bulkhead           inside the breaker: nobody queues for what is known to be down
  timeout            the time of the work alone, not that of a queue before it
  drill              innermost: an injected fault meets every protection"""

FULL_DRAWN = """\
mail
  fallback         say_sorry                            outside everything that can fail, and not an attempt itself
  service_breaker  breaker 'mail'                       outside the retry: an open one costs no attempt and no budget
  retry            backoff                              outside the breaker below, so that each attempt is recorded
  breaker          breaker 'mail-1'                     outside the timeout, so that slowness counts as failure
  bulkhead         bulkhead 'mail-1'                    inside the breaker: nobody queues for what is known to be down
  timeout          at most 1 s and 50% of what remains  the time of the work alone, not that of a queue before it"""  # noqa: E501 - a drawing is as wide as it is
# fmt: on


def test_the_inbound_order() -> None:
    assert describe(INBOUND, "inbound") == INBOUND_DRAWN


def test_the_outbound_order() -> None:
    assert describe(OUTBOUND, "outbound") == OUTBOUND_DRAWN


def say_sorry(inner: Any) -> Any:
    return inner


async def nothing(call: Call[Any]) -> None:
    pass


def test_a_stack_describes_what_was_built_in_whatever_order_it_was_given() -> None:
    budget = RetryBudget()
    parts = [
        Part(Place.TIMEOUT, Timeout(3.0)),
        Part(Place.BULKHEAD, Bulkhead("mail-1")),
        Part(Place.RETRY, Retry(Backoff(random=random.random), budget)),
        Part(Place.FALLBACK, say_sorry),
        Part(Place.BREAKER, Breaker("mail-1", jitter=random.random)),
        Part(Place.SERVICE_BREAKER, Breaker("mail", jitter=random.random)),
    ]
    for _ in range(10):
        random.shuffle(parts)
        assert stack("mail", OUTBOUND, iter(parts), nothing).describe() == FULL_DRAWN


def test_parts_of_one_place_keep_the_order_they_were_given_in() -> None:
    log: list[Any] = []
    parts = [Part(Place.BULKHEAD, Door(name, log=log)) for name in "abc"]
    asyncio.run(stack("x", OUTBOUND, parts, nothing).run(call(1e18)))
    assert [name for name, act in log if act == "admit"] == ["a", "b", "c"]


def test_a_part_without_a_place_in_the_order_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"stack 'x': BIND has no place here; the order is OBSERVE"
    ):
        stack("x", OUTBOUND, [Part(Place.BIND, Door())], nothing)


@pytest.mark.parametrize("part", [Timeout(1.0), retry(Plain([]))])
def test_a_second_retry_or_timeout_is_refused(part: Any) -> None:
    parts = [Part(Place.RETRY, part), Part(Place.TIMEOUT, part)]
    with pytest.raises(ValueError, match=f"more than one {type(part).__name__.lower()}"):
        stack("x", OUTBOUND, parts, nothing)


async def _told(parts: list[Part]) -> list[Any]:
    events: list[Any] = []

    async def fail_once(call: Call[Any]) -> None:
        if call.attempt == 1:
            raise ConnectionResetError

    run = stack("x", OUTBOUND, parts, fail_once, observe=events.append).run
    await run(call(1e18, repeatable=True))
    return [type(event) for event in events]


async def test_attempts_are_told_once_each_by_the_outermost_frame_inside_the_retry() -> None:
    once = [AttemptEnded, Retrying, AttemptEnded, CallEnded]
    again = Part(Place.RETRY, retry(Plain([0.0])))
    gate, layer = Part(Place.BREAKER, Door()), Part(Place.BALANCE, say_sorry)
    assert await _told([again]) == once, "there is no other to tell"
    assert await _told([again, layer]) == once
    assert await _told([again, Part(Place.FALLBACK, Door())]) == once
    assert await _told([again, gate]) == once
    assert await _told([again, layer, gate, Part(Place.TIMEOUT, Timeout(3.0))]) == once
    assert await _told([again, gate, Part(Place.DRILL, Door())]) == once
    assert await _told([again, Part(Place.DRILL, say_sorry), Part(Place.DRILL, Door())]) == once
    assert await _told([again, gate, Part(Place.FALLBACK, Timeout(3.0))]) == once
    assert await _told([again, gate, Part(Place.FALLBACK, Door())]) == once
