"""Balancing: which of several endpoints gets the next call."""

from collections.abc import Callable, Collection, Sequence
from math import exp, inf
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from switchgear.policy.ejection import Ejection
from switchgear.policy.settings import BalanceSettings

__all__ = [
    "BalanceSettings",
    "Balancer",
    "Candidates",
    "Endpoint",
    "PeakEwma",
    "PeakEwmaBalancer",
    "Pick",
]


_DEFAULTS: Final = BalanceSettings()
_LEAST_SHARE: Final = 0.1  # what the newest gets: with none it would never warm up


class PeakEwma:
    """Remember how long an endpoint takes: up at once with a slow answer, down by and by.

    In `decay` seconds it sinks to a third (1/e), and does so while nothing is observed, too.
    What was observed longer than `stale` ago is not known any more: the endpoint gets one call
    to show what it does now, else the memory of one bad second would keep the calls away
    that alone could mend it. Observe a failure as what a timeout would have cost, never as its
    own time: an endpoint that fails fast would otherwise draw all the traffic.

    Source: Finagle, the PeakEwma load balancer.
    """

    __slots__ = ("_at", "_decay", "_seconds", "_stale")

    def __init__(self, decay: float = 10.0, stale: float = 5.0) -> None:
        self._decay = decay
        self._stale = stale
        self._seconds, self._at = 0.0, -inf

    def observe(self, elapsed: float, now: float) -> None:
        """Take in one answer that took `elapsed` seconds."""
        if elapsed >= self.at(now):
            self._seconds = elapsed
        else:
            weight = exp(-max(0.0, now - self._at) / self._decay)
            self._seconds = self._seconds * weight + elapsed * (1.0 - weight)
        self._at = max(self._at, now)

    def at(self, now: float) -> float:
        """Return the seconds to expect; 0 while nothing is known."""
        passed = now - self._at
        if passed > self._stale:
            return 0.0
        return self._seconds * exp(-max(0.0, passed) / self._decay)


class Endpoint(Protocol):
    """One process or address that can answer: what a balancer has to know of it.

    One that also tells `since` which instant it is there starts slowly; one that does not is
    taken to have been there always.
    """

    @property
    def name(self) -> str: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def ewma(self) -> PeakEwma: ...

    def available(self, now: float) -> bool:
        """Say whether its gate would let a call through."""
        ...


E = TypeVar("E", bound=Endpoint)


class Pick(NamedTuple, Generic[E]):
    """The endpoint to use. In a `panic` its gate may be shut, and is to be passed by."""

    endpoint: E
    panic: bool


class Balancer(Protocol):
    """Says which of several endpoints gets the next attempt."""

    def pick(
        self, endpoints: Sequence[E], now: float, tried: Collection[str] = (), key: str = ""
    ) -> Pick[E] | None:
        """Return the endpoint for the next attempt, or None when there is none at all.

        `tried` are the names of those tried before, which are left out, as are those whose gate is
        shut, as far as there are others. `key` is what calls that belong together share.
        """
        ...


class Candidates:
    """The endpoints that a balancer may choose from: what all balancers have in common.

    ::

        all -> well, or all in a panic -> not tried before -> not too new

    A new endpoint has cold caches and empty pools: its full share at once would make it
    slow, or down again. So for `slow_start` seconds it stands for a choice only by its share. Where
    that leaves nobody, and in a panic, everybody stands.
    """

    def __init__(self, ejection: Ejection | None, settings: BalanceSettings) -> None:
        self._ejection = ejection or Ejection()
        self._slow_start = settings.slow_start

    def among(
        self, endpoints: Sequence[E], now: float, tried: Collection[str]
    ) -> tuple[Sequence[E], bool]:
        """Return those that are usable and were not tried before, and whether it is a panic.

        When all that are usable were tried, they are tried again.
        """
        usable, panic = self._ejection.roster(endpoints, now)
        if tried:
            usable = [each for each in usable if each.name not in tried] or usable
        return usable, panic

    def share(self, endpoint: Endpoint, now: float) -> float:
        """Return the share of an ordinary endpoint's calls that this one should get, up to 1."""
        age: float = max(0.0, now - getattr(endpoint, "since", -inf))
        return 1.0 if age >= self._slow_start else max(_LEAST_SHARE, age / self._slow_start)

    def drawn(self, usable: Sequence[E], now: float, random: Callable[[], float]) -> Sequence[E]:
        """Return those that stand for this choice: a new one by lot, by its share."""
        before = now - self._slow_start
        return [
            each
            for each in usable
            if getattr(each, "since", -inf) <= before or random() < self.share(each, now)
        ] or usable

    def relieved(self, best: E, usable: Sequence[E], drawn: Sequence[E], now: float) -> E:
        """Return a new one that did not stand for this choice, where the chosen is that crowded.

        By its share, it has fewer calls in flight than the chosen. Else one that hangs would get
        them all while the others are new.
        """
        if len(drawn) < len(usable):
            for each in usable:
                if each not in drawn and each.in_flight + 1 < best.in_flight * self.share(
                    each, now
                ):
                    return each
        return best


_UNKNOWN: Final = 1e6  # seconds that an endpoint with calls out and no answer yet is taken to need


class PeakEwmaBalancer:
    """Pick the better of two random endpoints, by expected time x calls in flight.

    Two choices come close to the best of all, and no herd runs to one endpoint that
    looks idle. `random` returns a number in [0, 1).

    Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001).
    """

    def __init__(
        self,
        settings: BalanceSettings = _DEFAULTS,
        *,
        random: Callable[[], float],
        ejection: Ejection | None = None,
    ) -> None:
        self.slow_start = settings.slow_start
        self._random = random
        self._candidates = Candidates(ejection, settings)

    def pick(
        self, endpoints: Sequence[E], now: float, tried: Collection[str] = (), key: str = ""
    ) -> Pick[E] | None:
        """Return the endpoint for the next attempt, or None when there is none at all."""
        random = self._random
        usable, panic = self._candidates.among(endpoints, now, tried)
        drawn = usable if panic else self._candidates.drawn(usable, now, random)
        count = len(drawn)
        if not count:
            return None
        first = int(random() * count)
        best = drawn[first]
        if count > 1:
            second = int(random() * (count - 1))
            rival = drawn[second + (second >= first)]
            if _load(rival, now) < _load(best, now):
                best = rival
        return Pick(self._candidates.relieved(best, usable, drawn, now), panic)

    def swift(self, endpoints: Sequence[E], now: float) -> E:
        """Return the better of two, as `pick` does where all are well and none is new.

        It looks at two however many there are; that the one is well is for the caller to see.
        """
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        random = self._random
        first = int(random() * count)
        second = int(random() * (count - 1))
        best, rival = endpoints[first], endpoints[second + (second >= first)]
        return rival if _load(rival, now) < _load(best, now) else best


def _load(endpoint: Endpoint, now: float) -> float:
    in_flight = endpoint.in_flight
    expected = endpoint.ewma.at(now)
    if expected == 0.0 and in_flight:
        return _UNKNOWN + in_flight
    return expected * (in_flight + 1)
