"""Endings in frames: answers whose work goes on after they were returned."""

from collections.abc import Callable
from typing import Any, Final

from switchgear.core.handler import Ending
from switchgear.policy.fault import is_seconds
from switchgear.policy.verdict import GOOD, Health, Verdict, judge, worse

__all__ = ["drop", "follow", "judged", "streams"]

_KNOWN: Final[dict[type, bool]] = {}


def streams(answer: object) -> bool:
    """Say whether the work of `answer` goes on after it was returned; remembered by its type."""
    kind = type(answer)  # not its `__class__`, which may be made to look like another's, and fail
    known = _KNOWN.get(kind)
    if known is None:
        if len(_KNOWN) > 1024:  # types made at run time must not pile up
            _KNOWN.clear()
        known = _KNOWN[kind] = issubclass(kind, Ending)
    return known


class _Tail:
    """What is left to do at the end of an answer: once, whoever says that it has come."""

    __slots__ = ("_done", "_head")

    def __init__(self, head: Verdict, done: Callable[[Verdict], None]) -> None:
        self._head = head
        self._done: Callable[[Verdict], None] | None = done

    def __call__(self, end: Verdict) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(worse(self._head, end))


def follow(answer: Ending, head: Verdict, done: Callable[[Verdict], None]) -> _Tail:
    """Have `done` called once when `answer` ends, with the worse of its head's and end's verdict.

    Where `on_end` itself fails, the answer is lost: it ends now, by that error, which is raised.
    """
    tail = _Tail(head, done)
    try:
        answer.on_end(tail)
    except BaseException as error:
        tail(judge(error))
        answer.abandon()
        raise
    return tail


def drop(answer: Ending, head: Verdict, done: Callable[[Verdict], None]) -> None:
    """End an answer that nobody will take, and have `done` called as `follow` does."""
    tail = follow(answer, head, done)
    try:
        answer.abandon()
    except BaseException as error:
        tail(judge(error))
        raise


def judged(classify: Callable[[Any], object], answer: Any) -> Verdict:
    """Ask what an answer means. Where the judge fails, nobody will take the answer.

    Raises:
        TypeError: it says what is no verdict. (Found out later, that would keep the permits.)
    """
    try:
        verdict = classify(answer)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"judge returned {verdict!r}: a Verdict(...) would be right")
        if verdict == GOOD:
            return GOOD  # which the quick ways look for
        told: tuple[object, ...] = tuple(verdict)  # what it is, not what it should be
        health, _, after = told
        if not isinstance(health, Health):
            right = "Health.GOOD, Health.NEUTRAL or Health.BAD would be right"
            raise TypeError(f"judge returned {verdict!r}: {right}")
        if after is not None and not is_seconds(after):
            raise TypeError(f"judge returned {verdict!r}: 'after' is seconds as a number, or None")
        return verdict
    except BaseException:
        if streams(answer):
            answer.abandon()
        raise
