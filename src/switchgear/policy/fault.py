"""Faults: every failure that crosses a boundary, and what the caller may conclude from it.

A `Fault` says what kind of failure it is (`code`), whether the work may have taken effect
(`effect`), and whether somebody on the way refused to try (`refusal`). Anything else that
is raised is a defect: no retry, a traceback, a 500.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from enum import StrEnum
from math import copysign, inf
from typing import Any, Final, Self

__all__ = ["PUBLIC", "Code", "Effect", "Fault", "Refusal", "is_seconds", "leaves"]


class Code(StrEnum):
    """The gRPC canonical codes in lower snake case, the one closed set of failure kinds.

    Source: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
    """

    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    INVALID_ARGUMENT = "invalid_argument"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    FAILED_PRECONDITION = "failed_precondition"
    ABORTED = "aborted"
    OUT_OF_RANGE = "out_of_range"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    DATA_LOSS = "data_loss"
    UNAUTHENTICATED = "unauthenticated"


class Effect(StrEnum):
    """Whether the failed work took effect: surely not, nobody knows, surely yes."""

    NONE = "none"
    UNKNOWN = "unknown"
    DONE = "done"


class Refusal(StrEnum):
    """Why a hop declined to try. A declared refusal says nothing about a dependency's health."""

    OPEN = "open"  # a breaker stood open
    FULL = "full"  # a bulkhead or queue had no room
    LIMITED = "limited"  # a rate limit was spent
    SHED = "shed"  # load was shed to stay alive
    HURRIED = "hurried"  # the caller left less time than the work needs
    DRAINING = "draining"  # the process is on its way out


PUBLIC: Final[Mapping[Code, str]] = {
    Code.CANCELLED: "The request was cancelled.",
    Code.UNKNOWN: "The request failed.",
    Code.INVALID_ARGUMENT: "The request is not valid.",
    Code.DEADLINE_EXCEEDED: "The request took too long.",
    Code.NOT_FOUND: "There is nothing here.",
    Code.ALREADY_EXISTS: "It exists already.",
    Code.PERMISSION_DENIED: "You may not do this.",
    Code.RESOURCE_EXHAUSTED: "Too many requests; try again later.",
    Code.FAILED_PRECONDITION: "The request does not fit the present state.",
    Code.ABORTED: "The request lost a race; try again.",
    Code.OUT_OF_RANGE: "The request asks for something out of range.",
    Code.UNIMPLEMENTED: "This is not supported.",
    Code.INTERNAL: "Something went wrong on our side.",
    Code.UNAVAILABLE: "The service is unavailable; try again later.",
    Code.DATA_LOSS: "Data was lost.",
    Code.UNAUTHENTICATED: "Credentials are missing or not valid.",
}


class Fault(Exception):  # noqa: N818 - the field's word for it is fault, not error
    """Carry one failure across a boundary, with what may safely be concluded from it.

    `detail` is for operators and never leaves the trust boundary; `public` is the sentence a
    stranger sees (by default the code's own), `extra` the further public members of its
    problem document (a list of wrong fields, say). `retry_after` is in seconds. `origin` names
    where it arose (a dependency or endpoint), `hops` the services that passed it on since, nearest
    to the origin first: empty while only its maker and that maker's caller have seen it.
    """

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        effect: Effect = Effect.UNKNOWN,
        refusal: Refusal | None = None,
        retry_after: float | None = None,
        origin: str = "",
        hops: tuple[str, ...] = (),
        public: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if code.__class__ is not Code:
            raise TypeError(
                f"a fault has a code first, as in Fault(Code.UNAVAILABLE), not {code!r}"
            )
        if detail and not isinstance(detail, str):  # an exception, which crosses no boundary
            raise _wrong("detail", detail, "a text")
        if public and not isinstance(public, str):
            raise _wrong("public", public, "a text, or None")
        if effect.__class__ is not Effect:
            raise _wrong("effect", effect, "an Effect, such as Effect.NONE,")
        if refusal is not None and refusal.__class__ is not Refusal:
            raise _wrong("refusal", refusal, "a Refusal, such as Refusal.FULL, or None")
        if retry_after is not None and not is_seconds(retry_after):
            raise _wrong("retry_after", retry_after, "seconds as a number, or None")
        super().__init__(detail or PUBLIC[code])
        self.code = code
        self.detail = detail or PUBLIC[code]
        self.effect = effect
        self.refusal = refusal
        self.retry_after = None if retry_after is None else _bounded(retry_after)
        self.origin = origin
        self.hops = hops
        self.public = public or PUBLIC[code]
        self.extra: Mapping[str, object] = extra or {}

    def passed_on(self, by: str) -> Self:
        """Return a copy that `by` has passed on: whoever gets it shall not try what `by` has tried.

        A copy, because who raised it may raise the same one again. It arose there, if nobody
        said where.
        """
        other = copy(self)
        other.hops = (*self.hops, by)
        other.origin = self.origin or by
        return other

    def __repr__(self) -> str:
        parts = [self.code.value, repr(self.detail), f"effect={self.effect.value}"]
        if self.refusal is not None:
            parts.append(f"refusal={self.refusal.value}")
        if self.origin:
            parts.append(f"origin={self.origin!r}")
        return f"Fault({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is copied by calling its class with its message: between processes that would
        # lose all but the words, or break the pool that carries it. It is made again by nobody's
        # `__init__`: what a kind of its own keeps in slots, and a view of a mapping, go along, too.
        state = object.__getstate__(self)
        slots = state[1] if isinstance(state, tuple) else {}
        members = self.__dict__
        if members["extra"].__class__ is not dict:
            members = {**members, "extra": dict(members["extra"])}
        return _anew, (self.__class__, self.args, slots), members


def is_seconds(value: object) -> bool:
    """Say whether a value is a number, of which one can ask whether it is more than another."""
    return isinstance(value, (float, int)) and not isinstance(value, bool)


def _bounded(seconds: float) -> float:
    """Return a number of seconds; one without end where no float is so large, as JSON's can be."""
    try:
        float(seconds)
    except OverflowError:
        return copysign(inf, 1 if seconds > 0 else -1)
    return seconds


def _wrong(name: str, value: object, right: str) -> TypeError:
    return TypeError(f"a fault with {name}={value!r}: {right} would be right")


def _anew(kind: type[Fault], args: tuple[Any, ...], slots: Mapping[str, Any]) -> Fault:
    fault = kind.__new__(kind, *args)
    for name, value in slots.items():
        object.__setattr__(fault, name, value)
    return fault


def leaves(
    error: BaseException, whole: Callable[[BaseException], bool] | None = None
) -> Iterator[BaseException]:
    """Yield what is in an exception group, and in the groups in it, in order; else `error` itself.

    `whole` says which groups are one by themselves. Not by recursion: how deep they are nested is
    for whoever raised them to say.
    """
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup) and (whole is None or not whole(one)):
            waiting.extend(reversed(one.exceptions))
        else:
            yield one
