"""Turns: what each route of a service takes of the event loop, and a queue before the dear ones.

A loop does one thing at a time. Where a handler computes for 20 ms and twice as many ask for it as
the process can answer, everything is begun and next to nothing ends in time, and whoever shares the
process waits as long for a handler that takes nothing. So, while the loop runs late, the steps of
all calls are timed, and of a route that takes much of it only so many calls are let in at once as
it has time for in one turn. The next ones wait, not for long, and are refused before they were
begun::

    loop in time    call ----------------------------> handler
    loop late       call ----------------------------> handler, timed
    route narrowed  call --> queue --> a few at once --> handler, timed

It costs nothing while the loop is in time: then nobody comes by here.
"""

from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from math import ceil, inf
from typing import Any, Final

from switchgear.core.clock import FINE, Clock
from switchgear.core.kit import Kit
from switchgear.core.permits import let_in, settle
from switchgear.core.timed import Timed, timing
from switchgear.http.message import Request, Response
from switchgear.policy.bulkhead import Bulkhead, BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.gate import Ask, Permit
from switchgear.policy.verdict import NEUTRAL
from switchgear.services.settings import LoopSettings

__all__ = ["Taken", "Turns"]

_DEFAULTS: Final = LoopSettings()
_FIRST: Final = 0.1  # seconds until it is first judged who takes how much: it is urgent
_WINDOW: Final = 0.5  # ... and from then on
_BUSY: Final = 0.6  # the share of its time that a loop works, from which on anybody is narrowed
_FULL: Final = 0.8  # ... up to which more are let in of those who wait
_SEVERE: Final = 0.25  # seconds late: what is not known yet is not waited for
_FEW: Final = 3  # calls say something of a route, or ...
_MUCH: Final = 0.3  # ... so many seconds of them
_CHANGE: Final = 1.4  # times as many, or as few, are let in, before that is changed
_GROWTH: Final = 1.5
_MOST: Final = 64.0  # times as many as compute for a turn: the rest of their time they wait
_LEAST: Final = 0.002  # seconds a call: of shorter ones, nobody waits for the other
_BRIEF: Final = 0.0005  # seconds: a step that is no more does not make a call count
_QUEUE: Final = 64
_PATIENCE: Final = 0.5  # of the time that is left: half of it once the queue stands
_PAUSE: Final = 0.1  # of what those who are let in take together, for all others
_LONGEST: Final = 1.0  # seconds of that


class Taken:
    """What one route takes, and how many of its calls are let in at once: 0, any number."""

    __slots__ = ("at_once", "calls", "factor", "name", "often", "queue", "seconds", "seen", "share",
                 "since", "spent", "took", "waits")  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.spent = 0.0  # seconds since the window began, by so many calls
        self.calls = 0
        self.took = 0.0  # seconds in all, by so many calls
        self.seen = 0
        self.seconds = 0.0  # a call takes
        self.share = 0.0  # of the loop's time, when that was last judged
        self.waits = inf  # seconds, at the least, for something else; nobody knows before one ended
        self.often = 1  # times that the call waited which waited so long
        self.factor = 1.0  # times as many are let in as compute for a turn
        self.at_once = 0
        self.since = -inf  # when it last took much, or somebody waited for it
        self.queue: Bulkhead | None = None

    @property
    def crowded(self) -> bool:
        """Whether somebody waits for a turn."""
        return self.queue is not None and self.queue.queued > 0

    def judge(self, elapsed: float) -> None:
        """End a window that was `elapsed` seconds long."""
        if self.spent:
            seconds = self.spent / max(1, self.calls)
            self.seconds = (self.seconds + seconds) / 2 if self.seconds else seconds
        self.share = self.spent / elapsed
        self.took += self.spent
        self.seen += self.calls
        self.spent = 0.0
        self.calls = 0

    def adapt(self, busy: float, *, late: bool) -> None:
        """Let more in where they wait for something else than the loop, fewer where it is late."""
        if late:
            self.factor = max(1.0, self.factor / _GROWTH)
        elif self.crowded and busy < _FULL:
            self.factor = min(_MOST, self.factor * (2.0 if busy < _FULL / 2 else _GROWTH))

    def narrow(self, turn: float) -> None:
        """Let in so many at once as take `turn` seconds."""
        wanted = ceil(self.factor * turn / self.seconds)
        least, most = sorted((wanted, self.at_once))
        if self.queue is None or most > least * _CHANGE:
            settings = BulkheadSettings(permits=wanted, queue=_QUEUE, patience=_PATIENCE)
            self.at_once = wanted
            # Who is in another one stays there: for a moment, there are more.
            self.queue = Bulkhead(f"{self.name}, which takes the event loop", settings)


class _Counted:
    """Counts what one call spends till its answer is there.

    What goes on behind that, a stream or the session of a WebSocket, is no part of a call.
    """

    __slots__ = ("_counts", "_over", "_spent", "_steps", "_taken")

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._counts = False
        self._over = False
        self._spent = 0.0
        self._steps = 0

    def __call__(self, seconds: float) -> None:
        if self._over:
            return
        self._steps += 1
        self._spent += seconds
        self._taken.spent += seconds
        if seconds >= _BRIEF:
            self.count()

    def end(self, took: float) -> None:
        """Be over, after so many seconds."""
        self.count()
        self._over = True
        waits = took - self._spent
        if waits < self._taken.waits:
            self._taken.waits = waits
            self._taken.often = max(1, self._steps - 1)

    def count(self) -> None:
        """Be a call of its route, once."""
        if not self._counts:
            self._counts = True
            self._taken.calls += 1


class Turns:
    """Who takes how much of one loop, and who waits for it.

    `look` is to be told again and again how late the loop runs. While it does, `on` is true, and
    calls are to come by `run`. `tell` learns of every change, with the routes that are narrowed.
    """

    def __init__(
        self,
        settings: LoopSettings = _DEFAULTS,
        *,
        clock: Clock = FINE,
        tell: Callable[[list[Taken]], object] = len,
    ) -> None:
        self.on = False
        self.refused = 0
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._kit = Kit("the event loop", clock=clock)
        self._routes: dict[str, Taken] = {}
        self._narrowed: list[Taken] = []
        self._since = self._ends = -inf  # the window
        self._until = -inf
        self._worst = 0.0  # how late it was in this window
        self._untimed: Callable[[], None] | None = None

    def look(self, late: float) -> None:
        """Take in by how many seconds the loop has just been late; judge who made it so."""
        settings = self._settings
        if settings.mode == "off":
            return
        now = self._clock()
        self._worst = max(self._worst, late)
        if late >= settings.late or any(one.crowded for one in self._narrowed):
            self._until = now + settings.memory
            if not self.on:
                self._begin(now)
        if not self.on:
            return
        if now >= self._until:
            self._forget()
        elif now >= self._ends:
            self._judge(now)

    async def run(
        self,
        name: str,
        answer: Callable[[Call[Request]], Coroutine[Any, Any, Response]],
        call: Call[Request],
    ) -> Response:
        """Answer a call of the route of that name, in its turn.

        Raises Fault (unavailable, surely without an effect) where that is too far away.
        """
        taken = self._routes.get(name)
        if taken is None:
            taken = self._routes[name] = Taken(name)
        now = self._clock()
        if self.on and now >= self._ends:  # no timer rings amid a turn, however long
            self._judge(now)
        queue = taken.queue
        if queue is None or self._settings.mode == "observe":
            return await self._timed(taken, answer(call))
        got = queue.admit(Ask(priority=call.priority, deadline=call.deadline), now)
        if not isinstance(got, Permit):
            try:
                got = await let_in(self._kit, queue, got)
            except Exception:
                self.refused += 1
                raise
        try:
            return await self._timed(taken, answer(call))
        finally:
            # Not in this turn: who computes without a wait would leave his place to whoever is read
            # of next in it. And not in the very next one, so that others come to some of theirs.
            pause = _PAUSE * min(taken.seconds * taken.at_once, _LONGEST)
            get_running_loop().call_later(pause, self._leave, queue, got)

    def _leave(self, queue: Bulkhead, permit: Permit) -> None:
        settle((queue, permit, None), NEUTRAL, self._clock())

    async def _timed(self, taken: Taken, work: Coroutine[Any, Any, Response]) -> Response:
        counted, begun = _Counted(taken), self._clock()
        try:
            response: Response = await Timed(work, self._clock, counted)
            return response
        finally:
            counted.end(self._clock() - begun)

    def _begin(self, now: float) -> None:
        self.on = True
        self._since, self._ends = now, now + _FIRST
        self._untimed = timing(get_running_loop())

    def _judge(self, now: float) -> None:
        """Find out who takes much, and narrow it."""
        settings = self._settings
        elapsed, self._since, self._ends = now - self._since, now, now + _WINDOW
        late, self._worst = self._worst, 0.0
        for taken in self._routes.values():
            taken.judge(elapsed)
        busy = sum(taken.share for taken in self._routes.values())
        for taken in self._routes.values():
            dear = taken.share >= settings.share and taken.seconds >= _LEAST
            enough = taken.seen >= _FEW or taken.took >= _MUCH
            known = enough and (taken.waits < inf or late >= _SEVERE)
            if dear and not known:  # it is still urgent
                self._ends = now + _FIRST
            if dear and known and busy >= _BUSY and taken not in self._narrowed:
                self._narrowed.append(taken)
                if taken.waits < inf:  # each of its waits may have been for the loop alone
                    waits = max(0.0, taken.waits - late * taken.often)
                    taken.factor += waits / settings.turn
        before = [one.at_once for one in self._narrowed]
        self._release(now)
        for taken in self._narrowed:
            taken.adapt(busy, late=late >= 2 * settings.turn)
            taken.narrow(settings.turn / len(self._narrowed))
        if [one.at_once for one in self._narrowed] != before:
            self._tell(self._narrowed)

    def _release(self, now: float) -> None:
        """Let everybody into those routes again that have taken little for long."""
        settings = self._settings
        for taken in tuple(self._narrowed):
            if taken.share >= settings.share / 2 or taken.crowded:
                taken.since = now
            elif now - taken.since >= settings.memory:
                self._narrowed.remove(taken)
                del self._routes[taken.name]

    def _forget(self) -> None:
        """Let everybody in again: the loop has been in time for long."""
        self.on = False
        if self._untimed is not None:
            self._untimed()
        self._routes.clear()
        if self._narrowed:
            self._narrowed = []
            self._tell(self._narrowed)
