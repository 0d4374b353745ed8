"""The stack: which protection stands where, and why. The order is data, here and nowhere else.

A part names its place; `stack` sorts the parts into the order, and compiles gates, timeout and
retry that stand together into one frame. A layer is only what must wrap.
"""

import os
import weakref
from collections.abc import Iterable
from enum import Enum
from math import inf
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import asdict

from switchgear.core.clock import FINE, Clock
from switchgear.core.frames import Frame, Kit, Retry, Terms, Timeout
from switchgear.core.handler import Handler, Judge, Layer, Translate
from switchgear.core.observe import Observer
from switchgear.core.tally import Tally
from switchgear.policy.gate import Gate, vacate
from switchgear.policy.observing import Observing

__all__ = ["INBOUND", "OUTBOUND", "Part", "Place", "Setting", "Stack", "describe", "shown", "stack"]


class Place(Enum):
    """A place in the order, with the reason why it stands there."""

    OBSERVE = "sees everything below, refusals too"
    DEADLINE = "bounds all that follows, so that no queue outlives its caller"
    SHED = "the cheapest refusal first: an overloaded process must not do work to say no"
    ADDRESS_LIMIT = "before credentials are looked at: guessing them is limited too"
    PREFLIGHT = "before credentials, which a browser that asks first does not send"
    ROUTE = "what follows is configured per route"
    CROSS_SITE = "before credentials are looked at: a page of another site must not spend them"
    AUTHENTICATE = "limits and rights below are a principal's"
    PRINCIPAL_LIMIT = "keyed by who was proven, not by who was claimed"
    AUTHORISE = "before a body is read for somebody who may not send it"
    BIND = "reads and checks the body only for those who may"
    IDEMPOTENCY = "a repeated key answers from the record, before any effect"
    TRANSACTION = "commits before the response; all effects are inside"
    FALLBACK = "outside everything that can fail, and not an attempt itself"
    COALESCE = "inside the fallback, which is each caller's own; the rest is done once for all"
    SERVICE_BREAKER = "outside the retry: an open one costs no attempt and no budget"
    RETRY = "outside the breaker below, so that each attempt is recorded"
    HEDGE = "inside the retry, from the same budget: two that race are one try"
    BALANCE = "inside the retry: another attempt picks another endpoint"
    HURRY = "before the breaker: a caller without time must not take a probe's place"
    BREAKER = "outside the timeout, so that slowness counts as failure"
    RATE = "before the queue: nobody waits there for what a limit then refuses"
    BULKHEAD = "inside the breaker: nobody queues for what is known to be down"
    TIMEOUT = "the time of the work alone, not that of a queue before it"
    DRILL = "innermost: an injected fault meets every protection"


INBOUND: Final = (
    Place.OBSERVE,
    Place.DEADLINE,
    Place.SHED,
    Place.ADDRESS_LIMIT,
    Place.PREFLIGHT,
    Place.ROUTE,
    Place.CROSS_SITE,
    Place.AUTHENTICATE,
    Place.PRINCIPAL_LIMIT,
    Place.AUTHORISE,
    Place.BIND,
    Place.IDEMPOTENCY,
    Place.TRANSACTION,
)

OUTBOUND: Final = (
    Place.OBSERVE,
    Place.FALLBACK,
    Place.COALESCE,
    Place.SERVICE_BREAKER,
    Place.RETRY,
    Place.HEDGE,
    Place.BALANCE,
    Place.HURRY,
    Place.BREAKER,
    Place.RATE,
    Place.BULKHEAD,
    Place.TIMEOUT,
    Place.DRILL,
)


class Setting(NamedTuple):
    """One effective setting of a part: what it is called, its value, and where that came from."""

    name: str
    value: object
    origin: str


class Part(NamedTuple):
    """One protection at its place: a gate, a retry, a timeout, or a layer that wraps.

    `settings` are what it was made with, for `describe` to tell.
    """

    place: Place
    what: Gate | Retry | Timeout | Layer
    settings: tuple[Setting, ...] = ()


class Stack:
    """A handler behind its protections, which knows how it was built."""

    def __init__(
        self,
        name: str,
        order: tuple[Place, ...],
        parts: list[Part],
        run: Handler[Any, Any],
        frames: list[Frame],
        kit: Kit,
    ) -> None:
        self.name = name
        self.order = order
        self.parts = parts
        self.run = run
        self.frames = frames  # the innermost first
        self.kit = kit
        self.tally = next((one.tally for one in frames if one.ends), Tally())
        _stacks.add(self)

    def statistics(self) -> dict[str, float | str]:
        """Return how the calls ended that its outermost frame has seen, and what overran in any."""
        figures = self.tally.statistics()
        others = [one.tally for one in self.frames if one.tally is not self.tally]
        figures["zombies"] = self.tally.zombies + sum(one.zombies for one in others)
        figures["overran"] = self.tally.overran + sum(one.overran for one in others)
        return figures

    def vacate(self) -> None:
        """Forget what is under way: it ends in the process that this one was forked off from."""
        try:
            now = self.kit.clock()
        except Exception:  # noqa: BLE001 - virtual time, which passes on its own loop alone
            now = -inf
        for part in self.parts:
            vacate(part.what, now)
        for frame in self.frames:
            frame.tally.zombies = 0

    @property
    def sole(self) -> Frame | None:
        """The frame that is all of the stack, where it needs no more: it can take a function."""
        layered = any(callable(part.what) for part in self.parts)
        return self.frames[0] if len(self.frames) == 1 and not layered else None

    def describe(self) -> str:
        """Draw the stack, outermost first: the place, what stands there, and the reason.

        Below each part stand its settings, with where each came from.
        """
        rows = [(part.place, _words(part.what)) for part in self.parts]
        lines = _draw(self.name, rows).splitlines()
        drawn = lines[:1]
        for part, line in zip(self.parts, lines[1:], strict=True):
            drawn.append(line)
            for name, value, origin in part.settings:
                drawn.append(f"      {name} = {shown(value)}  ({origin})")
        return "\n".join(drawn)


def _words(what: object) -> str:
    if isinstance(what, Retry):
        return _words(what.schedule) + _observed(enforce=what.enforce)
    if isinstance(what, Timeout):
        limit = "" if what.limit == inf else f"{what.limit:g} s and "
        return f"at most {limit}{what.share:.0%} of what remains" + _observed(enforce=what.enforce)
    if isinstance(what, Observing):
        return _words(what.gate) + _observed(enforce=False)
    kind = type(what).__name__.lower()
    if isinstance(name := getattr(what, "name", None), str):
        return f"{kind} {name!r}"
    return str(getattr(what, "__name__", kind))


def _observed(*, enforce: bool) -> str:
    return "" if enforce else ", observed only"


def shown(value: object) -> str:
    """Write a setting's value as one would write it: numbers without a needless fraction."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, msgspec.Struct):
        fields = (f"{name}={shown(one)}" for name, one in asdict(value).items())
        return f"{type(value).__name__}({', '.join(fields)})"
    return getattr(value, "__qualname__", None) or repr(value)


def _draw(title: str, rows: list[tuple[Place, str]]) -> str:
    width = max((len(words) for _, words in rows), default=0)
    lines = [
        f"  {place.name.lower():<16} {words:<{width}}  {place.value}".rstrip()
        for place, words in rows
    ]
    return "\n".join([title, *lines])


def describe(order: tuple[Place, ...], title: str) -> str:
    """Draw the whole order with its reasons, whatever of it a stack uses."""
    return _draw(title, [(place, "") for place in order])


def stack(
    name: str,
    order: tuple[Place, ...],
    parts: Iterable[Part],
    handler: Handler[Any, Any],
    *,
    observe: Observer | None = None,
    judge: Judge | None = None,
    clock: Clock = FINE,
    terms: Terms | None = None,
    translate: Translate | None = None,
) -> Stack:
    """Put `parts` before `handler` in `order` and compile them.

    Parts next to each other become one frame, as far as their order is the frame's own.
    Raises ValueError for a part whose place is not in the order, and for a second retry or timeout.
    """
    parts = list(parts)
    for part in parts:
        if part.place not in order:
            raise ValueError(
                f"stack {name!r}: {part.place.name} has no place here;"
                f" the order is {', '.join(place.name for place in order)}"
            )
    parts.sort(key=lambda part: order.index(part.place))  # stable: equal places keep their order
    for kind in (Retry, Timeout):
        if sum(isinstance(part.what, kind) for part in parts) > 1:
            raise ValueError(f"stack {name!r}: more than one {kind.__name__.lower()}")
    kit = Kit(name, observe, judge, clock, translate, policy=terms is not None)
    run, frames = _compile(kit, parts, handler, terms)
    return Stack(name, order, parts, run, frames, kit)


class _Plan:
    """One frame in the making, filled from the innermost part outwards.

    What has been put in says what may still follow: a part that would stand further in than one
    that is there already needs a frame of its own.
    """

    def __init__(self) -> None:
        self.timeout: Timeout | None = None
        self.gates: list[Gate] = []
        self.retry: Retry | None = None
        self.outer: list[Gate] = []

    def takes(self, what: Gate | Retry | Timeout) -> bool:
        """Put a part in, if there is a place for it."""
        if isinstance(what, Timeout):
            if self.timeout is not None or self.gates or self.retry is not None:
                return False
            self.timeout = what
        elif isinstance(what, Retry):
            self.retry = what  # the only one
        else:
            (self.gates if self.retry is None else self.outer).insert(0, what)
        return True


def _compile(
    kit: Kit, parts: list[Part], handler: Handler[Any, Any], terms: Terms | None
) -> tuple[Handler[Any, Any], list[Frame]]:
    """Fold the parts into layers and frames, as few as the order allows."""
    frames: list[Frame] = []
    steps: list[_Plan | Layer] = []
    for part in reversed(parts):
        if callable(part.what):
            steps.append(part.what)
        elif not (steps and isinstance(steps[-1], _Plan) and steps[-1].takes(part.what)):
            steps.append(plan := _Plan())
            plan.takes(part.what)
    if terms is not None and not any(isinstance(one, _Plan) for one in steps):
        # Nothing bounds the calls, and somebody has to count them: what layers answer is no call.
        steps.insert(sum(part.place is Place.DRILL for part in parts), _Plan())
    plans = [one for one in steps if isinstance(one, _Plan)]
    teller = _teller(plans)
    # The one that tells how calls ended: where there is a retry, it does.
    outermost = plans[-1] if plans and not any(one.retry for one in plans[:-1]) else None
    for one in steps:
        if isinstance(one, _Plan):
            frame = Frame(
                kit,
                handler,
                timeout=one.timeout,
                gates=one.gates,
                retry=one.retry,
                outer=one.outer,
                tells=one is teller,
                terms=terms if one is outermost else None,
            )
            frames.append(frame)
            handler = frame.run
        else:
            handler = one(handler)
    return handler, frames


def _teller(plans: Iterable[_Plan]) -> _Plan | None:
    """Return the frame that tells how attempts ended: the outermost inside the retry.

    So each attempt is told once, with what every gate made of it. Where none is inside, the one
    that retries tells; and where there is one only, that.
    """
    teller = None
    for plan in plans:
        if plan.gates or plan.timeout or teller is None:
            teller = plan
        if plan.retry:
            break
    return teller


_stacks: Final[weakref.WeakSet[Stack]] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_stacks):
        one.vacate()


os.register_at_fork(after_in_child=_after_fork)
