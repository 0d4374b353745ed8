"""The ambient call: what user code, and the policies it calls, may know without an argument.

Our own frames take the call as an argument and set no context variable; the driver of
user code sets this one, once per request, in a Context of the connection's own.
"""

from contextvars import ContextVar, Token
from math import inf
from typing import Any

from switchgear.policy.call import Call

__all__ = ["ambient", "current", "deadline"]

ambient: ContextVar[Call[Any] | None] = ContextVar("switchgear_call", default=None)
Restore = Token[Call[Any] | None]


def current() -> Call[Any] | None:
    """Return the call that this code works for, or None outside any."""
    return ambient.get()


def deadline() -> float:
    """Return the instant by which the present call must be answered; infinity outside any."""
    call = ambient.get()
    return inf if call is None else call.deadline
