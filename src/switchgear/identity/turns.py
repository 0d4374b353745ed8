"""Turns: who is next at work that is dear, when more is asked for than there are workers.

```
  ask -> has its address, or its account, its part in work? -- yes --> refused (limited)
           | no
         waits -> no room left? -> who of all that wait is due last gives way (full)
           |
         next: who is due first, when a worker is free
```

Every ask, also one that is refused, puts its address off by `every` seconds: it is due so much
later than before, and at most `_MOST` of them from now. So an address that asks seldom is due
before all that ask often, however many they are and whatever they have waiting already, and those
who ask seldom come in the order in which they asked. Nobody is put off while no one else waits.

What addresses are put off to is kept in a table of a fixed size, where hashes that nobody outside
knows choose their places: an ask from yet another address makes it no larger. Each has several, and
is due by the earliest: it is taken for others only where those have all of its places.

Source: L. Zhang, "VirtualClock", SIGCOMM 1990; that an ask counts, and not only work, is ours.
G. Cormode, S. Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005.
"""

from array import array
from typing import Any, Final, NamedTuple

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Refused

__all__ = ["NOBODY", "Asker", "Turn", "TurnTerms", "Turns"]

_ROWS: Final = 4
_BITS: Final = 15
_PLACES: Final = 1 << _BITS  # of each row
_MOST: Final = 15.0  # turns: who asks more often than that is as late as can be
_AGAIN: Final = 1.0  # seconds after which to try again


class Asker(NamedTuple):
    """Whose work it is: by the client's `address`, and the `account` it names, be there one or not.

    What is empty is not counted.
    """

    address: str = ""
    account: str = ""


NOBODY: Final = Asker()


class TurnTerms(NamedTuple):
    """How many run and wait, in all and of one address or account; seconds for a turn."""

    workers: int
    queue: int
    per_address: int
    per_account: int
    every: float


class Turn:
    """A piece of work, from the ask to its end. `begun` is its owner's, to wake whoever waits."""

    __slots__ = ("asker", "begun", "due")

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.begun: Any = None
        self.due = 0.0  # of one without an address


class Turns:
    """Says who works, who waits and who is refused. It reads no clock and runs nothing."""

    def __init__(self, terms: TurnTerms) -> None:
        self._terms = terms
        self._waiting: list[Turn] = []  # in the order of their asks
        self._running: set[Turn] = set()
        self._parts: dict[str, int] = {}  # what is out of each: bounded by what is out in all
        self._due = array("d", bytes(8 * _ROWS * _PLACES))
        self.refused = 0

    @property
    def out(self) -> int:
        """What runs and what waits."""
        return len(self._running) + len(self._waiting)

    def ask(self, turn: Turn, now: float) -> Refused | Turn | None:
        """Let work wait for its turn, or refuse it. Returns whoever else has given way to it."""
        asker = turn.asker
        turn.due = self._put_off(asker.address, now)
        refused = self._part(asker) or self._full(turn.due)
        if refused is not None:
            self.refused += 1
            return refused
        last = None
        if self._no_room():
            last = self._last()
            self.leave(last)
        self._waiting.append(turn)
        self._count(asker, 1)
        return last

    def crowded(self, account: str) -> bool:
        """Say whether an account has its part of the places in work."""
        return self._part(Asker(account=account)) is not None

    def next(self) -> Turn | None:
        """Return the work that begins now, if there is a worker for it and some waits."""
        if not self._waiting or len(self._running) >= self._terms.workers:
            return None
        turn = min(self._waiting, key=self._of)  # of equals, the first that asked
        self._waiting.remove(turn)
        self._running.add(turn)
        return turn

    def leave(self, turn: Turn) -> bool:
        """Refuse work after all, if it still waits; say whether it did."""
        if turn not in self._waiting:
            return False
        self.end(turn)
        self.refused += 1
        return True

    def end(self, turn: Turn) -> None:
        """Take a place back: the work has ended, or nobody waits for it. Twice is once."""
        if turn in self._running:
            self._running.remove(turn)
        elif turn in self._waiting:
            self._waiting.remove(turn)
        else:
            return
        self._count(turn.asker, -1)

    def clear(self) -> list[Turn]:
        """Return all that waits, which does so no more."""
        waiting = list(self._waiting)
        for turn in waiting:
            self.end(turn)
        return waiting

    def full(self) -> Refused:
        """Return the refusal of who finds no room, or has given way."""
        room = self._terms.workers + self._terms.queue
        told = f"password work is full: {room} of {room} places out, by who asked less of late"
        return Refused(Refusal.FULL, told, _AGAIN)

    def _no_room(self) -> bool:
        return self.out >= self._terms.workers + self._terms.queue

    def _full(self, due: float) -> Refused | None:
        """Refuse where nobody waits who is due later than an ask of now."""
        if not self._no_room() or (self._waiting and due < self._of(self._last())):
            return None
        return self.full()

    def _part(self, asker: Asker) -> Refused | None:
        """Refuse who has his part of the places in work already."""
        terms = self._terms
        for kind, name, most in zip(
            Asker._fields, asker, (terms.per_address, terms.per_account), strict=True
        ):
            if name and self._parts.get(f"{kind} {name}", 0) >= most:
                told = f"{most} of {most} places for password work of this {kind} are out"
                return Refused(Refusal.LIMITED, told, _AGAIN)
        return None

    def _last(self) -> Turn:
        return max(reversed(self._waiting), key=self._of)  # of equals, the last that asked

    def _of(self, turn: Turn) -> float:
        """Return when work is due: of an address, by all it has asked for since."""
        address = turn.asker.address
        return self._due_of(_places(address)) if address else turn.due

    def _due_of(self, places: list[int]) -> float:
        return min(self._due[place] for place in places)

    def _put_off(self, address: str, now: float) -> float:
        """Count an ask, and return when it is due."""
        every = self._terms.every
        if not address:
            return now + every
        places = _places(address)
        due = min(max(now, self._due_of(places)) + every, now + _MOST * every)
        for place in places:
            self._due[place] = max(self._due[place], due)
        return due

    def _count(self, asker: Asker, one: int) -> None:
        """Count a place out (1), or back (-1)."""
        parts = self._parts
        for kind, name in zip(Asker._fields, asker, strict=True):
            if name:
                part = f"{kind} {name}"
                parts[part] = parts.get(part, 0) + one
                if not parts[part]:
                    del parts[part]


def _places(address: str) -> list[int]:
    hashed = hash(address)  # of which each row has bits of its own
    return [row * _PLACES + (hashed >> _BITS * row) % _PLACES for row in range(_ROWS)]
