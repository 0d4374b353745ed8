"""What a policy may be put around, and how it is called."""

import asyncio
import inspect
import threading
from functools import partial
from typing import Any

import pytest

from switchgear import Policy, static
from switchgear.core.express import Way, spread
from switchgear.core.frames import Frame
from switchgear.core.invocation import _marked, invoking, is_async, mark
from switchgear.core.kit import Kit


async def plainly(value: int) -> int:
    return value


def dressed(value: int) -> Any:
    return plainly(value)


def test_what_bears_the_mark_is_async_though_it_is_not_written_so() -> None:
    """As a compiled function is, which `inspect` knows nothing of."""
    assert is_async(plainly)
    assert not is_async(dressed)
    assert is_async(mark(lambda value: plainly(value)))  # noqa: PLW0108 - no coroutine function
    assert is_async(_marked(lambda value: plainly(value)))  # noqa: PLW0108 - as above


@pytest.mark.parametrize("options", [{}, {"bulkhead": None}], ids=["whole", "in part"])
async def test_a_policy_within_another_is_awaited_and_not_put_into_a_thread(
    options: dict[str, Any],
) -> None:
    inner = Policy("inner", **options)
    assert is_async(inner.call)
    outer = Policy("outer")(inner.call)
    ran = []

    async def work() -> int:
        ran.append(threading.get_ident())
        return 1

    assert await outer(work) == 1
    assert ran == [threading.get_ident()]


@pytest.mark.pure
def test_the_same_is_called_where_the_code_cannot_be_had() -> None:
    """What is compiled is no function of Python's, and neither is this."""
    seen: list[Any] = []

    async def noted(*given: Any) -> int:
        seen.append(given)
        return 1

    class Elsewhere(Way):
        run = staticmethod(partial(noted))

    call = spread(Elsewhere(Frame(Kit("k"), invoking(bounded=False))), Policy.call)
    assert asyncio.run(call(plainly, 1, value=2)) == 1
    assert seen == [(plainly, (1,), {"value": 2})]
    assert is_async(call)


@pytest.mark.parametrize("options", [{}, {"fallback": static(0)}, {"coalesce": str}], ids=str)
def test_the_calls_of_a_policy_are_async_functions_to_who_asks(options: dict[str, Any]) -> None:
    """Frameworks ask, and give what is none to a thread: nobody would await what it makes there."""
    policy = Policy("mail", **options)
    for call in (policy.call, policy.call_in_thread):
        assert inspect.iscoroutinefunction(call) or asyncio.iscoroutinefunction(call)
        assert is_async(call)
