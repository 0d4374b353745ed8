"""Observers: they see every event, and their defects are nobody else's."""

import asyncio
from typing import Any

import pytest

from switchgear import Policy
from switchgear.core.kit import Kit
from switchgear.core.observe import CallEnded, fan_out, quiet
from switchgear.policy.verdict import GOOD

EVENT = CallEnded("mail", 1, GOOD, 0.5)


async def test_every_observer_sees_every_event_and_one_that_fails_is_reported() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    seen: list[Any] = []

    def broken(event: Any) -> None:
        raise ZeroDivisionError

    fan_out(seen.append, broken, quiet, seen.append)(EVENT)
    assert seen == [EVENT, EVENT]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
    assert "CallEnded" in told[0]["message"]


@pytest.mark.virtual
async def test_an_observer_that_fails_with_every_call_is_reported_once_a_second() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["message"])
    )
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(100)]

    def broken(event: Any) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        for _ in range(100):
            Kit("mail", broken).tell(EVENT)
        await asyncio.sleep(1.0)
    assert len(told) == 3
    assert "since" not in told[0]
    assert told[1].endswith(", and 99 times since it was last told")
    for kind in kinds:

        def odd(event: Any, kind: type[Exception] = kind) -> None:
            raise kind

        Kit("mail", odd).tell(EVENT)
    assert len(told) == 103, "each kind for itself"


def test_outside_a_loop_a_failing_observer_is_a_warning() -> None:
    def broken(event: Any) -> None:
        raise ZeroDivisionError

    with pytest.warns(UserWarning, match="an observer failed on CallEnded"):
        Kit("mail", broken).tell(EVENT)


def test_a_kit_without_an_observer_tells_nobody() -> None:
    Kit("mail").tell(EVENT)


class Awaited:
    async def __call__(self, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([print], r"\[<built-in function print>\]: a function would be right$"),
        (None, "None: a function would be right$"),
        (Awaited, "<class '.*Awaited'>: one that is made of it would be right$"),
        (Awaited(), "<.*Awaited object at .*>: a plain function would be right, for nobody awaits"),
        (Awaited().__call__, "<bound method .*>: a plain function would be right, for nobody"),
    ],
)
def test_what_cannot_be_shown_an_event_is_refused_at_once(wrong: Any, says: str) -> None:
    with pytest.raises(TypeError, match=rf"^fan_out: observers\[1\]={says}"):
        fan_out(quiet, wrong)
    if wrong is not None:
        with pytest.raises(TypeError, match=f"^policy 'mail': observe={says}"):
            Policy("mail", observe=wrong)
