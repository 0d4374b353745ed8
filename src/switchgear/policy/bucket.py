"""A token bucket: so many tokens a second for each key, with a burst."""

from array import array
from collections import OrderedDict
from math import inf
from typing import Final

import msgspec

from switchgear.policy import ranges
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.verdict import Verdict

__all__ = ["BucketSettings", "TokenBucket"]


class BucketSettings(msgspec.Struct, frozen=True):
    """How fast and for how many: `rate` tokens a second, `burst` at most saved up, by key.

    At most `keys` buckets are kept apart (about 200 bytes each, and 8 more once some are not).
    """

    rate: float
    burst: float
    keys: int = 65_536

    def __post_init__(self) -> None:
        ranges.above(self, "rate", 0)
        ranges.at_least(self, "burst", 1)
        ranges.at_least(self, "keys", 1)


_EXACT: Final = 1e-9  # seconds: what the rounding of instants may cost is not held against anyone


class TokenBucket:
    """Admit what the bucket of its key can pay for; refuse the rest with the exact wait.

    A bucket is one number: the instant at which it will be full again. An ask moves it on by
    weight / rate, and is refused where that lies more than burst / rate ahead.
    (The generic cell rate algorithm, ITU-T I.371.)

    The table is bounded: the least recently used bucket leaves it, but is never forgiven. What it
    owes goes to one of as many shared places, chosen by the key's hash, and whoever enters the
    table starts as spent as its place. So no key wins a token by a flood of others; where far
    more keys are busy than the table holds, the few that fall on one place share one
    rate. (One place for all would let a flood lock every newcomer out; no place at all would let
    a flood of keys wash debts away.) Asks without a key share one bucket of their own. Tokens do
    not come back when a permit does.
    """

    def __init__(self, name: str, settings: BucketSettings) -> None:
        self.name = name
        self._settings = settings
        self._keys = settings.keys
        self._second = 1.0 / settings.rate  # what one token costs
        self._ahead = settings.burst / settings.rate + _EXACT
        self._full_at = -inf  # of the bucket without a key
        self._table: OrderedDict[str, float] = OrderedDict()
        self._owed: array[float] | None = None  # like `_full_at`, of what has left the table
        self._admitted = self._settled = self._refused = self._forgotten = 0

    def admit(self, ask: Ask, now: float) -> Permit | Refused:
        """Take `weight` tokens from the bucket of the key, or say when there will be enough."""
        key = ask.key
        weight = ask.weight
        full_at = self._find(key) if key else self._full_at
        if full_at < now:
            full_at = now
        full_at += weight * self._second
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

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit; its tokens are spent.

        Raises:
            RuntimeError: this permit was settled before.
        """
        if permit.spent:
            raise RuntimeError(f"a permit of limit '{self.name}' was settled twice")
        permit.spent = True
        self._settled += 1
        return ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Refuse to: a token bucket gives out no waiting places.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"limit '{self.name}' gives out no waiting places")

    def left(self, key: str, now: float) -> float:
        """Return the tokens that a key could spend now (what a RateLimit field tells)."""
        full_at = self._find(key) if key else self._full_at
        return self._settings.burst - max(0.0, full_at - now) * self._settings.rate

    def statistics(self) -> dict[str, float | str]:
        """Return what was admitted, settled and refused, and how many keys are remembered.

        `forgotten` counts buckets that had to leave the table before they were full.
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
        settings = self._settings
        self._refused += 1
        if ask.key in self._table:
            self._table.move_to_end(ask.key)  # who is held off stays remembered
        whose = f" for '{ask.key}'" if ask.key else ""
        if ask.weight > settings.burst:
            detail = f"a weight of {ask.weight} never fits a burst of {settings.burst:g}"
            return Refused(Refusal.LIMITED, f"limit '{self.name}'{whose}: {detail}")
        wait = full_at - now - settings.burst / settings.rate
        detail = f"limit '{self.name}'{whose} of {settings.rate:g}/s is spent for {wait:.3g} s"
        return Refused(Refusal.LIMITED, detail, wait)

    def _find(self, key: str) -> float:
        full_at = self._table.get(key)
        if full_at is not None:
            return full_at
        return self._owed[hash(key) % self._keys] if self._owed else -inf

    def _forget(self, now: float) -> None:
        """Let the least recently used bucket leave the table, and keep what it owes."""
        key, full_at = self._table.popitem(last=False)
        if full_at <= now:
            return
        if self._owed is None:
            self._owed = array("d", [-inf]) * self._keys
        place = hash(key) % self._keys
        self._owed[place] = max(self._owed[place], full_at)
        self._forgotten += 1
