"""The ambient call: what user code, and the policies it calls, may know without an argument.

Our own frames take the call as an argument and set no context variable; the driver of user code
sets `ambient` once per request, in a Context of the connection's own. A policy sets only `due`,
around the function that it calls: the instant is all that it changes, and to make a call would cost
it three times as much.
"""

from contextvars import ContextVar, Token
from math import inf
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from switchgear.core.clock import Clock, present
from switchgear.policy.call import Call
from switchgear.policy.duration import seconds

__all__ = ["ambient", "current", "deadline", "due", "remaining", "within"]

ambient: ContextVar[Call[Any] | None] = ContextVar("switchgear_call", default=None)
due: ContextVar[float | None] = ContextVar("switchgear_due", default=None)


def current() -> Call[Any] | None:
    """Return the call that this code works for, with its present deadline, or None outside any."""
    call, until = ambient.get(), due.get()
    if until is None:
        return call
    if call is None:
        return Call(None, until)
    return replace(call, deadline=until) if until < call.deadline else call


def deadline() -> float:
    """Return the instant by which the present call must be answered; infinity outside any."""
    call, until = ambient.get(), due.get()
    if call is None:
        return inf if until is None else until
    return call.deadline if until is None else min(until, call.deadline)


def remaining(clock: Clock | None = None) -> float:
    """Return the seconds until the present deadline, less than nothing after it."""
    return deadline() - (present() if clock is None else clock)()


class within:  # noqa: N801 - it reads as the preposition that it is, as contextlib's do
    """Give the code of a `with` block a deadline, so many seconds from now, for all calls in it.

    ::

        with within("2s"):
            await mail.call(send, letter)

    It bounds what policies, clients and transactions do in the block, and cuts nothing off itself.
    A deadline that is there already can be shortened, never extended.

    Raises:
        ValueError: the duration cannot be read, or is not more than nothing.
    """

    __slots__ = ("_clock", "_duration", "_token")

    def __init__(self, duration: float | str, *, clock: Clock | None = None) -> None:
        self._duration = seconds(duration)
        self._clock = present() if clock is None else clock
        self._token: Token[float | None] | None = None

    def __enter__(self) -> float:
        if self._token is not None:
            raise RuntimeError("a 'within' was entered twice: make one for each block")
        until = min(deadline(), self._clock() + self._duration)
        self._token = due.set(until)
        return until

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                due.reset(token)
            except ValueError:
                pass  # thrown away by another Context, which never saw that value
