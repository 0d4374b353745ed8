"""Verdicts: what one ended attempt says about its dependency, and whether another may help."""

from collections.abc import Iterable, Sequence

from switchgear.policy.fault import Effect, Fault, Refusal, leaves
from switchgear.policy.foreign import meaning
from switchgear.policy.health import (
    BAD,
    BAD_AGAIN,
    BY_CODE,
    GOOD,
    NEUTRAL,
    NEUTRAL_AGAIN,
    Health,
    Verdict,
    worse,
)

__all__ = [
    "BAD",
    "BAD_AGAIN",
    "GOOD",
    "NEUTRAL",
    "NEUTRAL_AGAIN",
    "Health",
    "Verdict",
    "effect_of",
    "joined",
    "joined_effect",
    "judge",
    "transient",
    "worse",
]


def judge(error: BaseException) -> Verdict:
    """Say what an attempt that ended by `error` means.

    A declared refusal is NEUTRAL. So is a fault that another hop passed on: who passed it on is
    well (its database's failure must not open the breaker before it), and only the hop nearest the
    origin retries. So is what ends the work from outside: a cancellation, an exit, a coroutine that
    is thrown away. The end of an iteration is an answer. The exceptions of the standard library and
    of common clients are known (`foreign.py`); any other one is a defect.
    """
    if isinstance(error, Fault):
        if error.hops:
            return NEUTRAL
        if error.refusal is Refusal.HURRIED and error.effect is Effect.NONE:
            return NEUTRAL  # the next one would have even less time
        verdict = NEUTRAL_AGAIN if error.refusal is not None else BY_CODE.get(error.code, GOOD)
        if error.retry_after is not None:
            return verdict._replace(after=error.retry_after)
        return verdict
    if isinstance(error, BaseExceptionGroup):
        return joined([judge(leaf) for leaf in leaves(error)])
    if not isinstance(error, Exception):  # CancelledError, GeneratorExit, SystemExit
        return NEUTRAL
    if isinstance(error, StopAsyncIteration):  # of who asks an iterator for one more
        return GOOD
    known = meaning(error)
    return BAD if known is None else known.verdict


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Judge a group by its worst member; another attempt helps only where it helps them all.

    It waits for whoever asked to be left alone the longest. A cancellation among them forbids
    another attempt: the caller may be the one who left.
    """
    worst = verdicts[0]
    for verdict in verdicts[1:]:
        worst = worse(worst, verdict)
    after = max((one.after for one in verdicts if one.after is not None), default=None)
    return Verdict(worst.health, all(verdict.again for verdict in verdicts), after)


def transient(fault: Fault) -> bool:
    """Say whether the same work may succeed later, whoever passed the fault on.

    `judge` says whether another attempt may help now, of which only the hop nearest to the origin
    makes any; this is for who waits longer than all of them, as a queue does.
    """
    return fault.refusal is not None or BY_CODE.get(fault.code, GOOD).again


def effect_of(error: BaseException) -> Effect:
    """Say whether work that ended by `error` may have taken effect.

    Of a group nobody can be sure that it did nothing: what succeeded beside is not in it.
    """
    if isinstance(error, Fault):
        return error.effect
    if isinstance(error, BaseExceptionGroup):
        return joined_effect(effect_of(leaf) for leaf in leaves(error))
    known = meaning(error)
    return Effect.UNKNOWN if known is None else known.effect


def joined_effect(effects: Iterable[Effect]) -> Effect:
    """Join the effects of what failed in a group: DONE if any is so, else nobody knows."""
    return Effect.DONE if Effect.DONE in effects else Effect.UNKNOWN
