"""Crossing: the one fault that leaves, whatever ended the work, an exception group included.

A task group ends with all its failures at once, and a boundary answers with one. The worst of
them answers for all: a defect before an ailing dependency, that before a refusal, and a
refusal before what was merely wrong in the request; what was called off beside them answers for
none. What may be concluded is what holds for every one.
"""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Any, Final, NamedTuple

from switchgear.policy.fault import Code, Effect, Fault, leaves
from switchgear.policy.foreign import meaning
from switchgear.policy.verdict import Health, joined_effect, judge

__all__ = ["TRIED", "as_fault", "declared", "worded"]

TRIED: Final = "_switchgear_tried_by"
"""On an exception: the mark of the policy that has given up on it: no other one tries again."""

_TOLD: Final = 8  # failures whose words stand in the detail of one
_ORDER: Final = (Health.GOOD, Health.NEUTRAL, Health.BAD)


class _Kind(IntEnum):
    """What a failure in a group is, from what answers for the others least to most."""

    CALLED_OFF = auto()
    FAULT = auto()
    DEFECT = auto()


class _Told(NamedTuple):
    kind: _Kind
    fault: Fault


def as_fault(error: BaseException, origin: str = "") -> Fault:
    """Return the fault by which `error` crosses a boundary. `origin` is where it arose.

    A fault is itself. Of a group: the worst one's code, words and hops; effect DONE if it is so
    for any, else unknown, because what succeeded beside is not in it; the longest `retry_after`.
    What is known of the exceptions of others (`foreign.py`) is kept, what ended the work from
    outside is `cancelled`, anything else a defect: `internal`. What a policy has tried again
    already, no policy around it does.
    """
    first, *others = told = [_alone(leaf, origin) for leaf in leaves(error)]
    grouped = isinstance(error, BaseExceptionGroup)
    kept = grouped and (first.fault.effect is Effect.NONE or _mark_of(error) is not None)
    if not others and not kept:
        return first.fault
    worst = max(told, key=_weight).fault  # the first among equals
    waits = [one.fault.retry_after for one in told if one.fault.retry_after is not None]
    joined = Fault(
        worst.code,
        _words(worst, told),
        effect=joined_effect(one.fault.effect for one in told),
        refusal=worst.refusal,
        retry_after=max(waits, default=None),
        origin=worst.origin,
        hops=worst.hops,
        public=worst.public,
        extra=worst.extra,
    )
    return _marked(joined, error)


def declared(error: BaseException) -> Fault | None:
    """Return the fault that `error` declares; None for a defect, which wants its traceback told.

    A group declares one if there is a fault in it and nothing else but cancellations: those
    are how a group ends the work beside a failure.
    """
    faulty = False
    for leaf in leaves(error):
        if isinstance(leaf, Fault):
            faulty = True
        elif isinstance(leaf, Exception):
            return None
    return as_fault(error) if faulty else None


def worded(error: BaseException) -> str:
    """Say what an exception is and says; one that fails at that is told by its class."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001 - it must not take the place of what it was to tell
        return f"{name}, which cannot say what it is"


def _alone(leaf: BaseException, origin: str) -> _Told:
    """Return the fault of one failure."""
    if isinstance(leaf, Fault):
        return _Told(_Kind.FAULT, leaf)
    words = worded(leaf)
    if not isinstance(leaf, Exception):
        called_off = Fault(Code.CANCELLED, f"called off by {words}", origin=origin)
        return _Told(_Kind.CALLED_OFF, called_off)
    known = meaning(leaf)
    if known is None:
        defect = Fault(Code.INTERNAL, words, origin=origin)
        return _Told(_Kind.DEFECT, _marked(defect, leaf))
    fault = Fault(
        known.code,
        words,
        effect=known.effect,
        refusal=known.refusal,
        retry_after=known.verdict.after,
        origin=origin,
    )
    return _Told(_Kind.FAULT, _marked(fault, leaf))


def _marked(fault: Fault, made_of: BaseException) -> Fault:
    """Keep the mark that a policy has left on what a fault is made of: it is the same failure."""
    mark = _mark_of(made_of)
    if mark is not None:
        fault.__dict__[TRIED] = mark
    return fault


def _mark_of(error: BaseException) -> Any:
    """Return the first mark on an exception, on a group, or on what is in it; None for none."""
    found = (_own_mark(one) for one in leaves(error, lambda one: _own_mark(one) is not None))
    return next((mark for mark in found if mark is not None), None)


def _own_mark(error: BaseException) -> Any:
    # Past what its class makes of attributes: see `core/marks.py`.
    return object.__getattribute__(error, "__dict__").get(TRIED)


def _weight(told: _Told) -> tuple[int, int, bool]:
    verdict = judge(told.fault)
    return told.kind, _ORDER.index(verdict.health), not verdict.again


def _words(worst: Fault, told: Sequence[_Told]) -> str:
    """Say what failed, the worst first. What was called off for it is not worth telling."""
    failed = [one.fault for one in told if one.kind is not _Kind.CALLED_OFF]
    if len(failed) < 2:
        return worst.detail
    others = [fault.detail for fault in failed if fault is not worst]
    words = [worst.detail, *others[: _TOLD - 1]]
    more = len(failed) - len(words)
    if more > 0:
        words.append(f"and {more} more")
    return f"{len(failed)} failures: " + "; ".join(words)
