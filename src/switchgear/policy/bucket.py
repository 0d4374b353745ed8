"""Rate limits by key: a token bucket, and the same in the words of an even spacing."""

from array import array
from collections import OrderedDict
from math import inf
from typing import Final, NamedTuple

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.settings import BucketSettings, GcraSettings
from switchgear.policy.verdict import Verdict

__all__ = ["BucketSettings", "Gcra", "GcraSettings", "TokenBucket"]


_EXACT: Final = 1e-9  # seconds: what the rounding of instants may cost is not held against anyone


class _Terms(NamedTuple):
    """The terms of a limit: seconds for one token, seconds and tokens at most ahead; its words."""

    interval: float
    ahead: float
    most: float
    keys: int
    rate: str
    burst: str


class _Cells:
    """The mechanism of both limits: one instant for each key, in a bounded table.

    The instant is that at which everything will be paid for. An ask moves it on by weight x
    `interval`, and is refused where it would then lie more than `ahead` from now.

    The table is bounded: the least recently used key leaves it, but is never forgiven. What it
    owes goes to one of as many shared places, chosen by the key's hash, and whoever enters the
    table starts as spent as its place. So no key wins anything by a flood of others; where far
    more keys are busy than the table holds, the few that fall on one place share one
    rate. (One place for all would let a flood lock every newcomer out; no place at all would let
    a flood of keys wash debts away.) Asks without a key share one instant of their own. Nothing
    comes back when a permit does.

    Source: the generic cell rate algorithm, ITU-T I.371.
    """

    kind: Final = "rate"

    def __init__(self, name: str, terms: _Terms) -> None:
        self.name = name
        self._terms = terms
        self._keys = terms.keys
        self._interval = terms.interval
        self._ahead = terms.ahead + _EXACT
        self._full_at = -inf  # when all is paid for that was asked without a key
        self._table: OrderedDict[str, float] = OrderedDict()
        self._owed: array[float] | None = None  # like `_full_at`, of what has left the table
        self._admitted = self._settled = self._refused = self._forgotten = 0
        self._vacated = -inf  # when all that was out by then was left to another process

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Let one call through at the cost of its weight, or say when there will be enough.

        Raises:
            ValueError: its weight is less than 0.
        """
        key = ask.key
        weight = ask.weight
        full_at = self._find(key) if key else self._full_at
        if full_at < now:
            full_at = now
        full_at += weight * self._interval
        if weight < 0 or full_at - now > self._ahead:
            return self._refuse(ask, full_at, now)
        if key:
            table = self._table
            table[key] = full_at
            table.move_to_end(key)
            if len(table) > self._keys:
                self._forget(now)
        else:
            self._full_at = full_at
        self._admitted += 1
        return Permit(now, 0, weight)

    def price(self, key: str, now: float) -> float | None:
        """Return what `pay` takes for one call of a key, or None where it would be refused.

        Nothing is spent and nobody is refused: who has several limits to pass looks at all of them
        first. It is for a key only, and for the weight of one.
        """
        known = self._table.get(key)
        full_at: float = self._find(key) if known is None else known
        if full_at < now:
            full_at = now
        full_at += self._interval
        return full_at if full_at - now <= self._ahead else None

    def pay(self, key: str, price: float, now: float) -> None:
        """Let one call of a key through, at its `price` of the same instant: it has no permit."""
        table = self._table
        table[key] = price
        table.move_to_end(key)
        if len(table) > self._keys:
            self._forget(now)
        self._admitted += 1
        self._settled += 1

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit; what it cost is spent.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of limit '{self.name}' was settled twice")
        permit.spent = True
        if permit.at >= self._vacated:
            self._settled += 1
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: a rate limit gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"limit '{self.name}' gives out no waiting places")

    def vacate(self, now: float) -> None:
        """Have nothing out: what is was left to another process, by a fork. It stays spent."""
        self._vacated = now
        self._settled = self._admitted

    def left(self, key: str, now: float) -> float:
        """Return the weight that a key could spend now (what a RateLimit field tells)."""
        full_at = self._find(key) if key else self._full_at
        return self._terms.most - max(0.0, full_at - now) / self._interval

    def statistics(self) -> dict[str, float | str]:
        """Return what was admitted, settled and refused, and how many keys are remembered.

        `forgotten` counts keys that had to leave the table before all was paid for.
        """
        return {
            "admitted": self._admitted,
            "settled": self._settled,
            "out": self._admitted - self._settled,
            "refused": self._refused,
            "keys": len(self._table),
            "forgotten": self._forgotten,
        }

    def _refuse(self, ask: Ask, full_at: float, now: float) -> Refused:
        if ask.weight < 0:
            raise ValueError(f"{ask!r}: a weight from 0 would be right")
        self._refused += 1
        if ask.key in self._table:
            self._table.move_to_end(ask.key)  # who is held off stays remembered
        whose = f" for '{ask.key}'" if ask.key else ""
        terms = self._terms
        if ask.weight * terms.interval > self._ahead:
            detail = f": a weight of {ask.weight} never fits {terms.burst}"
            return Refused(Refusal.LIMITED, f"limit '{self.name}'{whose}{detail}")
        wait = full_at - now - terms.ahead
        detail = f" of {terms.rate} is spent for {wait:.3g} s"
        return Refused(Refusal.LIMITED, f"limit '{self.name}'{whose}{detail}", wait)

    def _find(self, key: str) -> float:
        full_at = self._table.get(key)
        if full_at is not None:
            return full_at
        return self._owed[hash(key) % self._keys] if self._owed else -inf

    def _forget(self, now: float) -> None:
        """Let the least recently used key leave the table, and keep what it owes."""
        key, full_at = self._table.popitem(last=False)
        if full_at <= now:
            return
        if self._owed is None:
            self._owed = array("d", [-inf]) * self._keys
        place = hash(key) % self._keys
        self._owed[place] = max(self._owed[place], full_at)
        self._forgotten += 1


class TokenBucket(_Cells):
    """Admit what the bucket of its key can pay for; refuse the rest with the exact wait.

    A bucket fills by `rate` tokens a second up to `burst`, and an ask takes its weight in
    tokens. A refusal takes none.
    """

    def __init__(self, name: str, settings: BucketSettings) -> None:
        rate, burst = settings.rate, settings.burst
        words = f"{rate:g}/s", f"a burst of {burst:g}"
        super().__init__(name, _Terms(1.0 / rate, burst / rate, burst, settings.keys, *words))


class Gcra(_Cells):
    """Admit one in every interval, spread evenly; refuse what comes too early, with the exact wait.

    The same as a token bucket, in other words: rate = 1 / interval, burst = 1 + tolerance /
    interval. Use it where a dependency minds a burst (tolerance 0: never two at once).
    """

    def __init__(self, name: str, settings: GcraSettings) -> None:
        interval, tolerance = settings.interval, settings.tolerance
        most = 1 + tolerance / interval
        words = f"one in {interval:g} s", f"a tolerance of {tolerance:g} s"
        super().__init__(name, _Terms(interval, interval + tolerance, most, settings.keys, *words))
