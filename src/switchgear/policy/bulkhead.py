"""A bulkhead: at most so many calls in one dependency, a short queue before it, no more."""

from collections import OrderedDict
from math import inf
from typing import Final

from switchgear.policy.fault import Refusal
from switchgear.policy.gate import Ask, Permit, Refused, Waiting
from switchgear.policy.reserve import Reserve
from switchgear.policy.settings import BulkheadSettings
from switchgear.policy.verdict import Verdict

__all__ = ["Bulkhead", "BulkheadSettings"]


_DEFAULTS: Final = BulkheadSettings()
_PRIORITIES: Final = 10


class Bulkhead:
    r"""Admit up to `permits` at once; let a few more wait, the highest priority first.

    ::

        admit --> [ permits: 64 ] --> settle: the place goes to the next in line
             \--> [ queue: 64   ]      9 9 5 5 5 0   by priority, then in order of arrival
              \-> refused

    A permit is out until its work has really ended: overdue work is counted, but its
    place is never given to another, because the dependency is still doing it. A waiter that
    needs more weight than is free holds the line; were lighter ones let past, it might wait for
    ever.

    The sleeper arms its own alarm at `Waiting.until` and then calls `abandon`, which writes the
    refusal into `answer`.

    Where it is given a `reserve`, that many of the permits are in it, and the same share of the
    queue is not for who has had his part: one client of many cannot take all there is, however long
    he keeps what he has. It is for calls that have a key.

    `entered` counts the places that were taken so far, `most` how many may have been: it starts
    with the permits, and every place that is given back adds to it. So what is free is the one
    without the other. While nobody is `queued`, nobody need ask: to enter comes to adding one to
    `entered`, where it is below `most`, to leave to adding one to `most`. A frame does so by hand,
    which saves both calls and the permit; it has `named` make a permit of its place for any other
    ending, and counts its overdue work in `overrun` itself.
    """

    kind: Final = "bulkhead"
    bounds: Final = True  # a place is taken until the work has really ended

    def __init__(
        self,
        name: str,
        settings: BulkheadSettings = _DEFAULTS,
        *,
        reserve: Reserve | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._reserve = reserve
        kept = 0 if reserve is None else reserve.free
        self._heaviest = settings.permits - kept
        self._last = settings.queue * kept // settings.permits  # places of the queue
        # The express way, which does not lead into the reserve: see above.
        self.entered = 0
        self.most = self._heaviest
        self.queued = 0
        self.overrun = 0
        self._doubled = 0  # of the places entered, those that one permit took beside its first
        self._seen = -inf
        self._stands_since = inf  # since when the queue, while there is one, was never empty
        # Ordered dictionaries, because any waiter may leave at any time.
        self._lines = tuple(OrderedDict[Waiting, None]() for _ in range(_PRIORITIES))
        self._out: dict[Permit, float] = {}  # to the deadline of its ask
        self._vacated = -inf  # when all that was inside by then was left to another process
        self._refused = self._expired = self._hurried = self._abandoned = 0

    def admit(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        """Let one call in, give it a place in the queue, or refuse it because both are full."""
        weight = ask.weight
        if self.queued or not 0 < weight <= self.most - self.entered:
            return self._admit_when_full(ask, now)
        return self._grant(ask, now)

    def named(self, at: float, deadline: float) -> Permit:
        """Make a permit of a place that was taken by hand at the instant `at`."""
        permit = Permit(at)
        if at >= self._vacated:
            self._out[permit] = deadline
        return permit

    def settle(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Waiting, ...]:
        """Take back a permit and answer those waiting places that it makes room for.

        Raises:
            RuntimeError: this permit was settled before, or is another gate's.
        """
        try:
            del self._out[permit]
        except KeyError:
            if permit.at < self._vacated and not permit.spent:
                permit.spent = True
                return ()
            how = "settled twice" if permit.spent else "never given out by it"
            raise RuntimeError(f"a permit of bulkhead '{self.name}' was {how}") from None
        permit.spent = True
        if self._reserve is None or not self._reserve.give(permit):
            self.most += permit.weight
        return self._serve(now) if self.queued else ()

    def abandon(self, waiting: Waiting, now: float) -> None:
        """Leave the queue: the time to wait is over, or the caller has left.

        Raises:
            RuntimeError: it holds a permit, which must be settled, or never waited here.
        """
        if isinstance(waiting.answer, Refused):
            return
        line = self._line(waiting.ask)
        if waiting not in line:
            how = "holds a permit: settle it" if waiting.answer else "does not wait here"
            raise RuntimeError(f"a waiter of bulkhead '{self.name}' {how}")
        if now >= waiting.until:
            self._expire(waiting, now)
        else:
            self._abandoned += 1
            self._dismiss(waiting, f"a waiter of bulkhead '{self.name}' left the queue")

    def vacate(self, now: float) -> None:
        """Have nobody inside and nobody in the queue: they are another process's, by a fork.

        What came in before `now` gives no place back, should its end be met with here all the same.
        """
        self._vacated = now
        for line in self._lines:
            for waiting in list(line):
                self._dismiss(waiting, f"a waiter of bulkhead '{self.name}' is another process's")
        if self._reserve is not None:
            for permit in self._out:
                self._reserve.give(permit)
        self._out.clear()
        self.overrun = 0
        self.most = self.entered + self._heaviest

    def overdue(self, now: float) -> int:
        """Count the zombies: permits whose work should have answered by now and has not."""
        oldest = now - self._settings.permit_age
        return self.overrun + sum(
            permit.answered is None and (deadline < now or permit.at < oldest)
            for permit, deadline in self._out.items()
        )

    @property
    def free(self) -> int:
        """How many places are free, whoever waits for them."""
        free = self.most - self.entered
        return free if self._reserve is None else free + self._reserve.free

    @property
    def out(self) -> int:
        """How many are inside, whatever their weight."""
        by_hand = self._settings.permits - self.free - sum(permit.weight for permit in self._out)
        return len(self._out) + by_hand

    def statistics(self) -> dict[str, float | str]:
        """Return what is out, free, waiting, overdue (at the last full moment), and was refused.

        Of those who waited, `expired` had no patience left, `hurried` made room in a standing
        queue, and `abandoned` left of their own accord.
        """
        out, admitted = self.out, self.entered - self._doubled
        return {
            "permits": self._settings.permits,
            "free": self.free,
            "out": out,
            "overdue": self.overdue(self._seen),
            "waiting": self.queued,
            "admitted": admitted,
            "settled": admitted - out,
            "refused": self._refused,
            "expired": self._expired,
            "hurried": self._hurried,
            "abandoned": self._abandoned,
        }

    # -- the queue

    def _admit_when_full(self, ask: Ask, now: float) -> Permit | Waiting | Refused:
        settings = self._settings
        self._seen = now
        self._line(ask)
        if ask.weight > self._heaviest:
            return self._refuse(f"a weight of {ask.weight} never fits {self._heaviest} permits")
        if self._fits(ask) and self._is_first(ask):
            return self._grant(ask, now)
        places = settings.queue
        if self._reserve is not None and not self._reserve.is_due(ask):
            places -= self._last
        if self.queued >= places:
            return self._refuse("is full")
        if ask.deadline <= now:
            return self._refuse("is full, and the deadline is past", Refusal.HURRIED)
        if not self.queued:
            self._stands_since = now
        # Without a deadline there is no share of it: all the patience in the world, or none.
        left = ask.deadline - now if settings.patience else 0.0
        waiting = Waiting(ask, now, now + settings.patience * left)
        self._lines[ask.priority][waiting] = None
        self.queued += 1
        return waiting

    def _fits(self, ask: Ask) -> bool:
        """Say whether there is room for an ask, in the reserve or before it."""
        reserve = self._reserve
        if ask.weight <= self.most - self.entered:
            return True
        return reserve is not None and ask.weight <= reserve.free and reserve.is_due(ask)

    def _is_first(self, ask: Ask) -> bool:
        """Say whether nobody waits who goes first: what does not fit may be less urgent."""
        ahead, reserve = self._lines[ask.priority :], self._reserve
        if reserve is None or ask.weight <= self.most - self.entered:
            return not any(ahead)
        return not any(reserve.is_due(waiting.ask) for line in ahead for waiting in line)

    def _next(self) -> Waiting | None:
        """Return the first in line; where only the reserve has room, of those who may go there."""
        reserve = self._reserve
        if reserve is None or self.entered < self.most:
            return next(iter(next(line for line in reversed(self._lines) if line)))
        spent: set[tuple[str, int]] = set()  # one who has had his part may wait many times
        for line in reversed(self._lines):
            for waiting in line:
                asked = (waiting.ask.key, waiting.ask.weight)
                if asked not in spent:
                    if reserve.is_due(waiting.ask):
                        return waiting
                    spent.add(asked)
        return None

    def _serve(self, now: float) -> tuple[Waiting, ...]:
        """Answer waiters while there is room: first in line first, the aged with a refusal."""
        answered = []
        while self.queued:
            waiting = self._next()
            if waiting is None:
                break
            if now >= waiting.until:
                self._expire(waiting, now)
            elif self._should_hurry(waiting, now):
                self._hurried += 1
                self._dismiss(waiting, f"bulkhead '{self.name}' has a standing queue")
            elif self._fits(waiting.ask):
                self._leave(waiting)
                waiting.answer = self._grant(waiting.ask, now)
            else:
                break
            answered.append(waiting)
        return tuple(answered)

    def _should_hurry(self, waiting: Waiting, now: float) -> bool:
        """Say whether a waiter makes room for fresher ones (never the last: nobody would gain).

        After Nichols and Jacobson, Controlling Queue Delay (ACM Queue, 2012).
        """
        if self.queued == 1 or now - self._stands_since < self._settings.standing:
            return False
        patience = (waiting.until - waiting.since) * self._settings.hurried
        return now - waiting.since > patience

    def _grant(self, ask: Ask, now: float) -> Permit:
        permit = Permit(now, 0, ask.weight)
        if self._reserve is not None and ask.weight > self.most - self.entered:
            self._reserve.take(permit, ask)
            self.most += ask.weight  # it takes no place of the others
        self.entered += ask.weight
        self._doubled += ask.weight - 1
        self._out[permit] = ask.deadline
        return permit

    def _expire(self, waiting: Waiting, now: float) -> None:
        self._expired += 1
        waited = f"{now - waiting.since:.3g} s"
        self._dismiss(waiting, f"a waiter of bulkhead '{self.name}' was not served in {waited}")

    def _dismiss(self, waiting: Waiting, detail: str) -> None:
        self._leave(waiting)
        waiting.answer = Refused(Refusal.FULL, detail)

    def _leave(self, waiting: Waiting) -> None:
        del self._lines[waiting.ask.priority][waiting]
        self.queued -= 1

    def _line(self, ask: Ask) -> OrderedDict[Waiting, None]:
        """Return the line of an ask.

        Raises:
            ValueError: its weight or priority is out of range.
        """
        if ask.weight < 1 or not 0 <= ask.priority < _PRIORITIES:
            raise ValueError(f"{ask!r}: a weight from 1 and a priority from 0 to 9 would be right")
        return self._lines[ask.priority]

    def _refuse(self, what: str, refusal: Refusal = Refusal.FULL) -> Refused:
        self._refused += 1
        permits = self._settings.permits
        taken = f"{permits - self.free} of {permits} permits out, {self.queued} waiting"
        return Refused(refusal, f"bulkhead '{self.name}' {what}: {taken}")
