"""Observation: one frozen event per happening, many observers."""

import asyncio
import warnings
from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgspec

from switchgear.core import checks
from switchgear.core.clock import present
from switchgear.core.per_loop import PerLoop
from switchgear.policy.fault import Refusal
from switchgear.policy.verdict import Verdict

__all__ = [
    "AttemptEnded",
    "CallEnded",
    "Coalesced",
    "Event",
    "FellBack",
    "Hedging",
    "Observer",
    "Overran",
    "Refusing",
    "Retrying",
    "fan_out",
    "quiet",
    "report",
]

_EVERY: Final = 1.0  # seconds
_KINDS: Final = 64
# By the type of an error: when it was told last, and how many were left out since.
_reported: Final[PerLoop[dict[type, tuple[float, int]]]] = PerLoop(lambda _: {})


class AttemptEnded(msgspec.Struct, frozen=True, gc=False):
    """One attempt at a dependency ended. `elapsed` is in seconds, to its real end."""

    name: str
    attempt: int
    verdict: Verdict
    elapsed: float


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """A whole call ended, all its attempts included. `code` is empty when it succeeded.

    An answer that counts as a failure is `unknown`, one of work whose time was over
    `deadline_exceeded`.
    """

    name: str
    attempts: int
    verdict: Verdict
    elapsed: float
    code: str = ""


class Refusing(msgspec.Struct, frozen=True):
    """A gate refused a call; where `enforced` is not set, it would have, and the call went on.

    `gate` is its name, `kind` what it is: breaker, bulkhead, rate, adaptive, hurry.
    """

    name: str
    gate: str
    detail: str
    refusal: Refusal = Refusal.FULL
    enforced: bool = True
    kind: str = "gate"


class Retrying(msgspec.Struct, frozen=True):
    """Another attempt follows attempt number `attempt`, after `wait` seconds."""

    name: str
    attempt: int
    wait: float
    verdict: Verdict
    enforced: bool = True


class Hedging(msgspec.Struct, frozen=True):
    """A second attempt was sent beside one that had not answered `after` seconds."""

    name: str
    after: float


class Overran(msgspec.Struct, frozen=True):
    """Work goes on past its time and still holds its permits: a zombie.

    It was noticed `after` seconds: none in a thread, whose caller leaves when its time is over.
    """

    name: str
    after: float
    enforced: bool = True


class FellBack(msgspec.Struct, frozen=True):
    """A call that failed with `code` was answered by its fallback.

    `how` is static, computed or stale; `age` is that of a stale value, in seconds.
    """

    name: str
    how: str
    code: str
    age: float | None = None


class Coalesced(msgspec.Struct, frozen=True):
    """A call joined the work of an earlier one that asks for the same."""

    name: str


Event = Any
"""A frozen value; rooms above add their own kinds."""

Observer = Callable[[Event], None]


def quiet(_: Event) -> None:
    """Observe nothing."""


def fan_out(*observers: Observer) -> Observer:
    """Show each event to every observer; one that fails is reported and harms nobody.

    Raises TypeError for what is no plain function of an event.
    """
    for number, observer in enumerate(observers):
        checks.observer(f"fan_out: observers[{number}]", observer, optional=False)

    def show(event: Event) -> None:
        for observer in observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - an observer's defect is not the call's
                report(event, error)

    return show


def report(event: Event, error: Exception) -> None:
    """Tell the running loop, where there is one, of an observer's defect.

    Of each kind of error once a second: an observer that fails does so with every call.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        warnings.warn(f"an observer failed on {event!r}: {error!r}", stacklevel=2)
        return
    kind, now = type(error), present(loop)()
    reported = _reported.of(loop)
    last, left_out = reported.get(kind, (-inf, 0))
    if now - last < _EVERY:
        reported[kind] = (last, left_out + 1)
        return
    if len(reported) >= _KINDS:  # types made at run time must not pile up
        reported.clear()
    reported[kind] = (now, 0)
    more = f", and {left_out} times since it was last told" if left_out else ""
    loop.call_exception_handler(
        {"message": f"an observer failed on {event!r}{more}", "exception": error}
    )
