"""What wraps, in a stack with real gates: each at its place, and every permit comes home."""

import asyncio
from asyncio import CancelledError
from typing import Any

import pytest

from switchgear import Policy, within
from switchgear.core.coalesce import coalescing
from switchgear.core.fallback import Stale, falling_back, static
from switchgear.core.frames import Timeout
from switchgear.core.hedged import hedging
from switchgear.core.observe import AttemptEnded, Coalesced, FellBack, Hedging
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.policy.breaker import Breaker, BreakerSettings, State
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault, Refusal
from switchgear.policy.hedge import HedgeSettings
from switchgear.policy.verdict import Health
from switchgear.testing import EventRecorder
from switchgear.testing.virtual import START, clock
from tests.support.core import Plain, call, retry

pytestmark = pytest.mark.virtual


class Steady:
    most_extra = 1

    def delay(self, now: float) -> float | None:
        return 0.1

    def observe(self, elapsed: float, now: float) -> None:
        pass


class Whole:
    """Every layer and gate around a dependency whose attempts take so long, or fail."""

    def __init__(self, *does: float | Exception) -> None:
        self.does = list(does)
        self.events: list[Any] = []
        tell = self.events.append
        self.breaker = Breaker(
            "mail", BreakerSettings(consecutive=2, calls=99), jitter=lambda: 0.5, on_transition=None
        )
        self.bulkhead = Bulkhead("mail", BulkheadSettings(permits=2, queue=0))
        stale = Stale(age=60.0, key=lambda call: call.key or None)
        plain = Plain([])
        self.stack = stack(
            "mail",
            OUTBOUND,
            [
                Part(Place.FALLBACK, falling_back(static("static"), name="mail", tell=tell)),
                Part(Place.FALLBACK, falling_back(stale, name="mail", clock=clock, tell=tell)),
                Part(
                    Place.FALLBACK,
                    coalescing(lambda call: call.key or None, name="mail", clock=clock, tell=tell),
                ),
                Part(Place.RETRY, retry(plain)),
                Part(
                    Place.BALANCE,
                    hedging(Steady(), plain.withdraw, name="mail", clock=clock, tell=tell),
                ),
                Part(Place.BREAKER, self.breaker),
                Part(Place.BULKHEAD, self.bulkhead),
                Part(Place.TIMEOUT, Timeout(3.0)),
            ],
            self.answer,
            clock=clock,
        )

    async def answer(self, call: Call[Any]) -> str:
        what = self.does.pop(0)
        if isinstance(what, Exception):
            raise what
        await asyncio.sleep(what)
        return f"after {what:g} s"

    def home(self) -> bool:
        return self.breaker.statistics()["out"] == self.bulkhead.statistics()["out"] == 0


async def test_a_slow_attempt_is_overtaken_and_both_permits_come_home() -> None:
    whole = Whole(5.0, 0.05)
    assert await whole.stack.run(call(START + 3, repeatable=True)) == "after 0.05 s"
    assert [type(event) for event in whole.events] == [Hedging]
    assert whole.home()
    assert whole.bulkhead.statistics()["settled"] == 2


@pytest.mark.parametrize("timeout", ["enforce", "observe"])
async def test_an_attempt_that_swallows_its_loss_says_nothing_of_the_dependency(
    timeout: Any,
) -> None:
    """It had hung: taken for well, it broke every row of failures that would open the breaker."""
    seen = EventRecorder()
    policy = Policy(
        "mail",
        repeatable=True,
        hedge=HedgeSettings(samples=5, least=0.05),
        mode={"timeout": timeout},
        observe=seen,
    )
    asked = 0

    async def clings() -> str:
        nonlocal asked
        asked += 1
        try:
            await asyncio.sleep(5.0 if asked == 6 else 0.01)
        except CancelledError:
            await asyncio.sleep(0)  # to clean up
            return "half of it"
        return "all of it"

    assert [await policy.call(clings) for _ in range(7)] == ["all of it"] * 7
    assert seen.count(Hedging) == 1
    ended = [event for event in seen.events if isinstance(event, AttemptEnded)]
    assert [event.verdict.health for event in ended if event.elapsed > 0.05] == [Health.NEUTRAL]
    assert [event.verdict.health for event in ended if event.elapsed < 0.05] == [Health.GOOD] * 7
    assert policy.statistics()["calls"]["good"] == 7


async def test_callers_share_one_run_and_its_permits() -> None:
    whole = Whole(0.05)
    asked = [
        asyncio.create_task(whole.stack.run(call(START + 3, repeatable=True, key="k")))
        for _ in range(10)
    ]
    assert await asyncio.gather(*asked) == ["after 0.05 s"] * 10
    assert whole.events == [Coalesced("mail")] * 9
    assert whole.bulkhead.statistics()["settled"] == 1
    assert whole.home()


async def test_an_open_breaker_is_covered_as_the_failures_that_opened_it_are() -> None:
    down = Fault(Code.UNAVAILABLE)
    whole = Whole(0.0, down, down)
    for _ in range(5):
        assert await whole.stack.run(call(clock() + 3, key="k")) == "after 0 s"
        await asyncio.sleep(0.5)
    assert await whole.stack.run(call(clock() + 3, key="another")) == "static"
    assert whole.does == [], "the breaker stood open after two"
    hows = [(event.how, event.age) for event in whole.events if isinstance(event, FellBack)]
    assert hows == [
        ("stale", 0.5),
        ("stale", 1.0),
        ("stale", 1.5),
        ("stale", 2.0),
        ("static", None),
    ]
    assert whole.home()


def test_the_stack_says_what_wraps() -> None:
    words = Whole().stack.describe()
    for line in (
        "fallback         a static value",
        "fallback         the last good answer, at most 60 s old",
        "fallback         one run for all who ask the same",
        "balance          a second attempt beside a slow one",
    ):
        assert line in words


async def hangs() -> None:
    await asyncio.sleep(60.0)


@pytest.mark.parametrize("hedge", [None, HedgeSettings()])
async def test_whom_earlier_attempts_have_left_little_time_nobody_has_hurried(
    hedge: HedgeSettings | None,
) -> None:
    """Also where a frame of its own times the attempts, which has not seen the earlier ones."""
    options: dict[str, Any] = {"deadline": 2.0, "repeatable": True, "hedge": hedge}
    policy = Policy("mail", clock=clock, random=lambda: 0.0, **options)
    with pytest.raises(Fault) as caught:
        await policy.call(hangs)
    assert (caught.value.code, caught.value.refusal) == (Code.DEADLINE_EXCEEDED, None)
    assert policy.statistics()["calls"]["failed"] == 1
    with within(0.5, clock=clock), pytest.raises(Fault) as caught:
        await policy.call(hangs)
    assert caught.value.refusal is Refusal.HURRIED, "this one has been, by its caller"
    assert policy.statistics()["calls"]["neutral"] == 1


async def test_what_hangs_at_every_attempt_opens_the_breaker_around_them() -> None:
    over = Breaker("shop", BreakerSettings(consecutive=1, calls=99), jitter=lambda: 0.5)
    run = stack(
        "shop",
        OUTBOUND,
        [
            Part(Place.SERVICE_BREAKER, over),
            Part(Place.RETRY, retry(Plain([0.0] * 2))),
            Part(Place.BALANCE, lambda handler: handler),
            Part(Place.TIMEOUT, Timeout(2.0)),
        ],
        lambda call: hangs(),
        clock=clock,
    ).run
    with pytest.raises(Fault):
        await run(Call(None, clock() + 2.0, repeatable=True))
    assert over.state is State.OPEN
