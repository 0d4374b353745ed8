"""Policies of an app under test: as good as new, in virtual time, and afterwards as they were."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from switchgear import Code, Fault, HedgeSettings, Policy
from switchgear.testing import Chaos, Failure, clock, overridden, run

mail = Policy("mail", repeatable=True, deadline="2s")


@mail
async def send(letter: str) -> str:
    await asyncio.sleep(0.5)
    return f"sent {letter}"


async def ok(said: str, *, plus: str = "") -> str:
    return said + plus


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_policy_of_a_module_is_tested_in_virtual_time_and_with_chaos() -> None:
    chaos = Chaos(7, [Failure(Code.UNAVAILABLE)])

    async def main() -> float:
        assert await send("hello") == "sent hello"
        began = clock()
        with pytest.raises(Fault):
            await mail.call(hang)
        return clock() - began

    with overridden(mail):
        assert run(main()) == pytest.approx(1.8, abs=0.1)
        assert mail.statistics()["calls"]["failed"] == 1
    with overridden(mail, chaos=chaos), pytest.raises(Fault):
        run(send("hello"))
    assert chaos.injected == 3


@pytest.mark.parametrize("options", [{}, {"breaker": None}])
def test_who_has_kept_its_call_is_led_to_what_is_in_its_place(options: dict[str, Any]) -> None:
    """As a partial of a module, say, which nobody thinks of when a test replaces the policy."""
    policy = Policy("kept", attempts=1, **options)
    call: Callable[..., Coroutine[Any, Any, str]] = policy.call
    kept = partial(call, ok)
    with overridden(policy, chaos=Chaos(7, [Failure(Code.UNAVAILABLE)])):
        with pytest.raises(Fault):
            run(kept("x"))
        assert policy.statistics()["calls"]["failed"] == 1
    with overridden(policy):
        assert run(kept("x", plus="y")) == "xy"
        assert policy.statistics()["calls"]["good"] == 1
    assert asyncio.run(kept("x")) == "x"
    assert policy.statistics()["calls"] == {**policy.statistics()["calls"], "good": 1, "failed": 0}


def test_afterwards_it_is_what_it_was() -> None:
    mail.force_open()
    before = mail.statistics()
    with pytest.raises(KeyError), overridden(mail):
        assert mail.statistics()["breaker"]["state"] == "closed"
        raise KeyError
    assert mail.statistics() == before
    assert before["breaker"]["state"] == "open"
    mail.reset()


def test_options_that_one_policy_refuses_leave_all_as_they_were() -> None:
    orders = Policy("orders")  # not repeatable, so not to be hedged
    before = dict(vars(mail))
    options = {"hedge": HedgeSettings()}
    with pytest.raises(ValueError, match="'orders': hedge"), overridden(mail, orders, **options):
        pass
    assert vars(mail) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], r"overridden\(\): policies would be right, as in overridden\(app\.mail\)"),
        (["mail"], r"overridden\('mail'\): policies would be right"),
        ([mail, ok, 3], r"overridden\(<function ok at .*>, 3\): policies would be right"),
    ],
)
def test_what_is_no_policy_is_refused(given: list[Any], says: str) -> None:
    with pytest.raises(TypeError, match=says), overridden(*given):
        pass
