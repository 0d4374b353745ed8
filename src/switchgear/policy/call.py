"""The call: what travels from an entrance to a handler, whatever the entrance is."""

from typing import Generic, TypeVar

import msgspec

from switchgear.policy.trail import Trail

__all__ = ["Call", "Principal", "Trace"]

In = TypeVar("In")


class Principal(msgspec.Struct, frozen=True):
    """Who is calling: a `subject` of a `tenant`, and the scopes it was granted."""

    subject: str
    tenant: str = ""
    scopes: frozenset[str] = frozenset()


class Trace(msgspec.Struct, frozen=True):
    """A W3C trace context: 32 and 16 lower-case hex digits, and the sampled flag.

    Source: https://www.w3.org/TR/trace-context/
    """

    trace_id: str
    span_id: str
    sampled: bool = True


class Call(msgspec.Struct, Generic[In], frozen=True):
    """One call: its payload, the instant by which it must be answered, and who asks.

    `deadline` is an instant on the process's monotonic clock and is always present. `attempt`
    counts from 1. `repeatable` says that doing it twice does no more than doing it once.
    """

    payload: In
    deadline: float
    attempt: int = 1
    repeatable: bool = False
    key: str = ""
    priority: int = 5
    principal: Principal | None = None
    trace: Trace | None = None
    trail: Trail = msgspec.field(default_factory=Trail)
