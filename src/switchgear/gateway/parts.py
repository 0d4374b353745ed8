"""Parts: what is learnt of the paths below a mount, where one of them fails.

A mounted application is one route to the gateway, and has many handlers. If its breaker counted all
of them together, one handler that always fails would close the door to all others.
"""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from switchgear.http.message import Response
from switchgear.http.problem import judging
from switchgear.policy.fault import Code, Fault
from switchgear.policy.verdict import Health, judge

__all__ = ["MOST", "Parts", "shape_of"]

Way = TypeVar("Way")

MOST: Final = 64  # of one mount, for good: each is a name in the metrics
_DEEPEST: Final = 12  # segments that tell one handler from another
# What names one of many: a number, a UUID or another long word with digits, whatever is very long.
_NAMES_ONE: Final = re.compile(r"[0-9]+|(?=[^/]*[0-9])[^/]{16,}|[^/]{33,}")
_BAD: Final = Health.BAD
_judged: Final = judging(trusted=True)


class Parts(Generic[Way]):
    """The ways of one mount. `of` leads a request, `failed` is told what failed.

    All paths go by the mount's own way, until one fails: from then on what has its shape goes by
    another, which `make` makes of that shape. Those beyond `MOST` stay together, as they do where
    the failure tells of no handler: a process that is not there fails every path alike.

    `forgive` has the mount's own way forget what was under way there: of the same shape there may
    be many, which fail together, and would close it to all others.
    """

    def __init__(self, make: Callable[[str], Way], forgive: Callable[[], None]) -> None:
        self._make = make
        self._forgive = forgive
        self._apart: dict[str, Way] = {}

    def of(self, method: str, path: str) -> Way | None:
        """Return the way of a request that goes apart, None for the mount's own."""
        return self._apart.get(shape_of(method, path)) if self._apart else None

    def failed(self, method: str, path: str, outcome: Response | Fault) -> None:
        """Set the path's shape apart, if it is its handler that failed."""
        if len(self._apart) < MOST and _by_its_handler(outcome):
            shape = shape_of(method, path)
            if shape not in self._apart:
                self._apart[shape] = self._make(shape)
                self._forgive()


def shape_of(method: str, path: str) -> str:
    """Return what stands for all paths that one handler is likely to take, as a route's name.

    Only the application knows its routes, so this is a guess: segments that name one of many (a
    number, a UUID) are taken for the same.
    """
    segments = path.split("/")
    rest = "/..." if len(segments) > _DEEPEST else ""
    told = ["{}" if _NAMES_ONE.fullmatch(one) else one for one in segments[:_DEEPEST]]
    return f"{method} {'/'.join(told)}{rest}"


def _by_its_handler(outcome: Response | Fault) -> bool:
    if isinstance(outcome, Fault):
        return outcome.code is Code.DEADLINE_EXCEEDED and judge(outcome).health is _BAD
    return outcome.status >= 500 and _judged(outcome).health is _BAD
