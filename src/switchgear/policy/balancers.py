"""More balancers: to the least loaded, to each in turn, and to where a key belongs."""

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from itertools import count
from math import ceil, inf, log
from typing import Final, TypeVar

import msgspec

from switchgear.policy import ranges
from switchgear.policy.balance import BalanceSettings, Candidates, Endpoint, Pick
from switchgear.policy.ejection import Ejection

__all__ = ["LeastLoaded", "Rendezvous", "RendezvousSettings", "RoundRobin"]

E = TypeVar("E", bound=Endpoint)

_DEFAULTS: Final = BalanceSettings()


class LeastLoaded:
    """Pick an endpoint with the fewest calls in flight; of several one at random.

    For few endpoints whose answers take much the same time. It looks at all of them, and each
    gateway sees only its own calls, so that with many gateways all run to the same idle endpoint:
    then the better of two random ones is the better choice.
    """

    def __init__(
        self,
        settings: BalanceSettings = _DEFAULTS,
        *,
        random: Callable[[], float],
        ejection: Ejection | None = None,
    ) -> None:
        self._random = random
        self._candidates = Candidates(ejection, settings)

    def pick(
        self, endpoints: Sequence[E], now: float, tried: Collection[str] = (), key: str = ""
    ) -> Pick[E] | None:
        """Return the endpoint for the next attempt, or None when there is none at all."""
        usable, panic = self._candidates.among(endpoints, now, tried)
        if not usable:
            return None
        drawn = usable if panic else self._candidates.drawn(usable, now, self._random)
        fewest = min(each.in_flight for each in drawn)
        idlest = [each for each in drawn if each.in_flight == fewest]
        best = idlest[int(self._random() * len(idlest))]
        return Pick(self._candidates.relieved(best, usable, drawn, now), panic)


class RoundRobin:
    """Pick the endpoint whose last turn is the longest ago.

    Not a counter over the list, whose turns are uneven as soon as endpoints come, go, or are
    left out for a while. One that comes back has the next turn, and then as many as the others. The
    new take as many of their turns as their share says, evenly, without drawing lots.
    """

    def __init__(
        self, settings: BalanceSettings = _DEFAULTS, *, ejection: Ejection | None = None
    ) -> None:
        self._candidates = Candidates(ejection, settings)
        self._count = count()
        self._last: dict[str, int] = {}  # by name: the turn that it last had, or passed on
        self._saved: dict[str, float] = {}  # by name: the fractions of turns that it did not take

    def pick(
        self, endpoints: Sequence[E], now: float, tried: Collection[str] = (), key: str = ""
    ) -> Pick[E] | None:
        """Return the endpoint for the next attempt, or None when there is none at all."""
        usable, panic = self._candidates.among(endpoints, now, tried)
        if not usable:
            return None
        if len(self._last) > 2 * len(endpoints):
            self._forget(endpoints)
        line = sorted(usable, key=lambda each: self._last.get(each.name, -inf))
        for each in line:
            self._last[each.name] = next(self._count)
            if panic or self._takes(each, now):
                return Pick(each, panic)
        self._last[line[0].name] = next(self._count)  # all are new, and somebody has to
        return Pick(line[0], panic)

    def _takes(self, endpoint: Endpoint, now: float) -> bool:
        """Say whether an endpoint takes its turn, or is too new for it."""
        saved = self._saved.get(endpoint.name, 0.0) + self._candidates.share(endpoint, now)
        takes = saved >= 1.0
        self._saved[endpoint.name] = saved - takes
        return takes

    def _forget(self, endpoints: Sequence[Endpoint]) -> None:
        """Forget the names that are there no more."""
        present = {each.name for each in endpoints}
        for book in (self._last, self._saved):
            for name in book.keys() - present:
                del book[name]


class RendezvousSettings(msgspec.Struct, frozen=True):
    """How far the load may pile up where a key belongs, and how slowly the new start.

    With a `bound` no endpoint has more than that many times its even part of the calls in flight.
    """

    bound: float | None = None
    slow_start: float = 10.0

    def __post_init__(self) -> None:
        if self.bound is not None:
            ranges.at_least(self, "bound", 1)
        ranges.at_least(self, "slow_start", 0)


_RENDEZVOUS: Final = RendezvousSettings()
_BYTES: Final = 6  # of a hash: as many as a float holds exactly, with a half to spare


class Rendezvous:
    """Pick the endpoint to which a key belongs: the one with the highest score for it.

    Calls of one key go to one endpoint, for its cache's sake. When an endpoint goes, only its own
    keys move, and spread over all the others; when one comes, it takes only those that are now its
    own, at first as few as its share says. Scores are the same in every process. With a `bound`, a
    key whose endpoint is crowded goes to its second, and so on. Calls without a key go to
    each in turn.

    Source: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates (1998); the
    bound after Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2018).
    """

    def __init__(
        self, settings: RendezvousSettings = _RENDEZVOUS, *, ejection: Ejection | None = None
    ) -> None:
        balance = BalanceSettings(settings.slow_start)
        self._bound = settings.bound
        self._candidates = Candidates(ejection, balance)
        self._keyless = RoundRobin(balance, ejection=ejection)

    def pick(
        self, endpoints: Sequence[E], now: float, tried: Collection[str] = (), key: str = ""
    ) -> Pick[E] | None:
        """Return the endpoint for the next attempt, or None when there is none at all."""
        if not key:
            return self._keyless.pick(endpoints, now, tried)
        usable, panic = self._candidates.among(endpoints, now, tried)
        if not usable:
            return None
        if self._bound is not None:
            in_flight = sum(each.in_flight for each in usable)
            room = ceil(self._bound * (in_flight + 1) / len(usable))
            usable = [each for each in usable if each.in_flight < room]
        share = self._candidates.share
        best = max(
            usable,
            key=lambda each: _score(each.name, key, 1.0 if panic else share(each, now)),
        )
        return Pick(best, panic)


def _score(name: str, key: str, share: float) -> float:
    """Return a score above 0 by which an endpoint is the highest for `share` of the keys."""
    return -share / log(_drawn(blake2b(f"{name} {key}".encode(), digest_size=_BYTES).digest()))


def _drawn(digest: bytes) -> float:
    """Return a hash as a number between 0 and 1, neither of them included."""
    return (int.from_bytes(digest, "big") + 0.5) / 256**_BYTES
