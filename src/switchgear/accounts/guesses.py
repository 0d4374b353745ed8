"""Guesses: at one account they grow slow, whoever makes them, and its owner keeps his own way in.

```
  a name, an address -> has that account a session from there? -- yes --> the cell of the two
                                        | no
                                        v
                              the cell of the name, of all strangers together
```

A cell counts what failed, and forgets one failure every `longest` seconds. The first `free` ones
cost no wait; after that each is twice the wait of the one before, up to `longest`. A wait is never
longer than that, whatever was tried before, so nobody is locked out for good.

Cells are a table of a fixed size, and a keyed hash chooses among them: naming a million accounts
makes it no larger, an account that does not exist is counted like any, and whoever would hold off
one by others' names would have to guess them all, at the price of a hash each. A guess is counted
before it is checked, or those that are made at once would be one.

Source: NIST SP 800-63B section 5.2.2; OWASP, "Slow Down Online Guessing Attacks with Device
Cookies", for the two ways.
"""

from hmac import digest
from math import exp2, log2
from typing import Final, NamedTuple

import msgspec

from switchgear.identity.shared import SharedKeys
from switchgear.policy import ranges
from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Refused
from switchgear.ports.tables import Transaction

__all__ = ["CELLS", "Claim", "GuessSettings", "Guesses", "Tally"]

CELLS: Final = 1 << 18
_PURPOSE: Final = "switchgear guesses 1"
_RACES: Final = 16  # guesses at one account at once that are sorted out before one gives up
_SKEW: Final = 120.0  # seconds by which the clocks of processes may differ


class GuessSettings(msgspec.Struct, frozen=True):
    """How wrong passwords for one account slow down those that follow.

    The first `free` ones cost no wait. One more costs `first` seconds, and each further one twice
    the wait before, up to `longest` seconds. Every `longest` seconds one of them is forgotten.
    With the defaults that is 20 guesses in the first quarter of an hour, then 96 a day.
    """

    free: int = 10
    first: float = 1.0
    longest: float = 900.0

    def __post_init__(self) -> None:
        ranges.between(self, "free", 1, 1_000_000)
        ranges.between(self, "longest", 1, 86_400)
        ranges.between(self, "first", 0.001, self.longest)

    @property
    def most(self) -> float:
        """Failures after which the wait grows no more."""
        return self.free + log2(self.longest / self.first)

    def wait(self, failed: float) -> float:
        """Return the seconds from the last of so many failures to the next guess."""
        if failed <= self.free - 1:  # a little of the last free one is forgotten already
            return 0.0
        # The power of a number that came from elsewhere could be anything.
        return min(self.longest, self.first * exp2(min(failed, self.most) - self.free))


class Tally(msgspec.Struct, frozen=True):
    """What has `failed`, the last time `at` an instant of the wall clock; part of it is forgotten.

    Who is `familiar` has a session of the account from where he asks.
    """

    failed: float = 0.0
    at: float = 0.0
    familiar: bool = False

    def left(self, now: float, settings: GuessSettings) -> float:
        """Return the seconds until another guess, 0.0 where it may be made now."""
        elapsed = now - self.at
        if elapsed < -_SKEW:
            return 0.0  # written by a clock that was wrong: nobody waits for it to come true
        return max(0.0, settings.wait(self.failed) - max(0.0, elapsed))

    def after(self, now: float, settings: GuessSettings) -> "Tally":
        """Return the tally with one failure more."""
        forgotten = max(0.0, now - self.at) / settings.longest
        failed = max(0.0, self.failed - forgotten) + 1.0
        return Tally(min(failed, settings.most), now, self.familiar)


class Claim(NamedTuple):
    """A guess that is counted already: `cell` counts it. `familiar` is who makes it."""

    cell: int
    familiar: bool


class Guesses:
    """Counts guesses in the tables of accounts, for all processes that share them."""

    def __init__(self, settings: GuessSettings, keys: SharedKeys, idle: float) -> None:
        self._settings = settings
        self._key = keys.keys[keys.current]
        self._idle = idle

    async def claim(self, tx: Transaction, email: str, network: str, now: float) -> Claim:
        """Count a guess before it is made. Raises a Fault (limited) while it has to wait.

        The same statements run whether or not there is such an account.
        """
        email = email.lower()  # as accounts are told apart
        all_cell, own_cell = self._cell(email), self._cell(f"{email}\0{network}")
        for _ in range(_RACES):
            tally = await tx.fetch_one(
                Tally, _LOOK, email, network, now, self._idle, all_cell, own_cell
            )
            wait = tally.left(now, self._settings)
            if wait > 0:
                break
            cell = own_cell if tally.familiar else all_cell
            counted = tally.after(now, self._settings)
            # Somebody else who was quicker is seen by the next look.
            if await tx.execute(_COUNT, cell, counted.failed, counted.at, tally.failed, tally.at):
                return Claim(cell, tally.familiar)
        else:
            wait = self._settings.first
        detail = f"too many wrong passwords for one account: none is tried for {wait:.3g} s"
        raise Refused(Refusal.LIMITED, detail, wait).fault()

    async def familiar(self, tx: Transaction, email: str, network: str, now: float) -> bool:
        """Say whether an account has a session that lives and was opened from there."""
        return await tx.fetch_one(bool, _FAMILIAR, email, network, now, self._idle)

    async def right(self, tx: Transaction, claim: Claim) -> None:
        """Take back a guess that was right, and where strangers are not counted all before it."""
        if claim.familiar:
            await tx.execute("delete from guess where cell = $1", claim.cell)
        else:
            await tx.execute(
                "update guess set failed = greatest(0, failed - 1) where cell = $1", claim.cell
            )

    def _cell(self, name: str) -> int:
        hashed = digest(self._key, f"{_PURPOSE}\0{name}".encode(), "sha256")
        return int.from_bytes(hashed[:8], "big") % CELLS


_FAMILIAR: Final = (
    "select $2 <> '' and exists (select 1 from family"
    " join account on account.id = account_id where lower(email) = lower($1) and network = $2"
    " and not revoked and ends > $3 and rotated > $3 - $4::float8) as familiar"
)
_LOOK: Final = (
    f"with client as materialized ({_FAMILIAR})"  # noqa: S608 - a constant
    " select familiar, coalesce(failed, 0)::float8 as failed, coalesce(at, 0)::float8 as at"
    " from client left join guess on cell = case when familiar then $6::int else $5::int end"
)
# Only what is still as it was seen.
_COUNT: Final = (
    "insert into guess as known (cell, failed, at) values ($1, $2, $3) on conflict (cell)"
    " do update set failed = excluded.failed, at = excluded.at"
    " where known.failed = $4 and known.at = $5"
)
