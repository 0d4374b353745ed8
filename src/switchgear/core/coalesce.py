"""Coalescing (single flight): calls at the same time that ask for the same share one run of it.

::

    caller 1 ---+                     the work runs in a task of its own, which belongs to
    caller 2 ---+--> one flight       nobody: who leaves harms no other, and when the last one
    caller 3 ---+                     has left, it is called off

Whose time? The work has the deadline of the call that began it. A later call joins where the
flight has at least half the time that is left to itself; else it begins another, which those who
come after it join. A flight that fails because its own time is over fails the callers whose time
is over with it; the others ask again, and together again. (The latest deadline of all would be
fairer still, but is not known when the work begins, and what it has sent on cannot be taken back.)

Who asks from within a flight is known by the Context, which tasks and threads copy. Where the
flight to be joined waits for the one within which is asked, both would wait until their time is
over: that is refused. Whether a flight itself awaits a task that it has started cannot be known,
and is taken to be so.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import Callable, Hashable
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Final, NoReturn

from switchgear.core.clock import FINE, Clock
from switchgear.core.endings import streams
from switchgear.core.handler import Handler
from switchgear.core.marks import within
from switchgear.core.misplaced import Misplaced
from switchgear.core.observe import Coalesced, Observer, quiet
from switchgear.core.per_loop import PerLoop
from switchgear.core.sweep import TICK, sweep_of
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault, Refusal

__all__ = ["Coalescing", "Key", "coalescing"]

Key = Callable[[Call[Any]], Hashable | None]
"""Says which calls ask the same; None asks what nobody else may share."""

SHARE: Final = 0.5  # a flight is joined by who has at most so many times less than its time left

_inside: ContextVar["_Inside | None"] = ContextVar("switchgear_flight", default=None)

# The loop holds its tasks weakly, and a flight that was called off stands in no table.
_flying: Final[PerLoop[set["Task[Any]"]]] = PerLoop(lambda _: set())


def coalescing(key: Key, *, name: str, clock: Clock = FINE, tell: Observer = quiet) -> "Coalescing":
    """Make the layer by which calls of the same `key` that are under way together share one run.

    Everything that an answer depends on belongs into the key, the principal too where answers
    differ by who asks. All who share get the same object, or the same exception: nobody may change
    it. The work starts in an empty Context, with the ambient call of the one who began it. An
    answer that streams has one reader: the first caller gets it, the others a run of their own.
    """
    return Coalescing(key, name=name, clock=clock, tell=tell)


class Coalescing:
    """The layer that `coalescing` makes."""

    def __init__(self, key: Key, *, name: str, clock: Clock, tell: Observer) -> None:
        self.__name__ = "one run for all who ask the same"
        self.key = key
        self.origin = name
        self.clock = clock
        self.tell = tell
        self._tables: list[_Table] = []

    def __call__(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Wrap a handler."""
        table = _Table(self, handler)
        self._tables.append(table)
        return table.run

    def vacate(self, now: float) -> None:
        """Forget the flights under way: another process has them, by a fork, and its loops."""
        for table in self._tables:
            table.flights.clear()

    def statistics(self) -> dict[str, float | str]:
        """Return how many flights there are now, and how many calls began and joined one."""
        return {
            "flights": sum(len(one) for table in self._tables for one in table.flights.values()),
            "begun": sum(table.begun for table in self._tables),
            "joined": sum(table.joined for table in self._tables),
        }


class _Table:
    """The flights to one handler, by loop: who waits on one loop is not woken from another."""

    def __init__(self, layer: Coalescing, handler: Handler[Any, Any]) -> None:
        self.layer = layer
        self.handler = handler
        self.flights: dict[asyncio.AbstractEventLoop, dict[Hashable, _Flight]] = {}
        self.begun = self.joined = 0

    async def run(self, call: Call[Any]) -> Any:
        """Answer a call from the flight of its key, or begin one."""
        key = self.layer.key(call)
        clock = self.layer.clock
        while key is not None and (now := clock()) < call.deadline:
            flight = self._flight(key, call, now)
            mine = await flight.wait(call)
            if not mine:
                break
            if flight.error is None:
                return flight.answer
            if not flight.cut_short(call, clock()):
                flight.fail()
        return await self.handler(call)

    def _flight(self, key: Hashable, call: Call[Any], now: float) -> "_Flight":
        loop = asyncio.get_running_loop()
        here = self.flights.get(loop, {})
        flight = here.get(key)
        if flight is not None and flight.until - now >= SHARE * (call.deadline - now):
            flight.check()
            self.joined += 1
            self.layer.tell(Coalesced(self.layer.origin))
            return flight
        flight = _Flight(self, loop, key, call)
        self.begun += 1
        if not here:
            for old in [one for one in self.flights if one.is_closed()]:
                del self.flights[old]  # its flights never landed
            self.flights[loop] = here
        here[key] = flight
        return flight

    def drop(self, flight: "_Flight") -> None:
        """Let nobody join a flight any more."""
        here = self.flights.get(flight.loop)
        if here is not None and here.get(flight.key) is flight:
            del here[flight.key]
            if not here:
                del self.flights[flight.loop]


class _Inside:
    """A flight, as it stands in the Context of what runs within it, and the ones it waits for.

    Contexts are copied, and kept for longer than a flight lasts: they are not to keep its answer.
    """

    __slots__ = ("over", "waits")

    def __init__(self) -> None:
        self.over = False
        self.waits: list[_Inside] = []

    def awaits(self, other: "_Inside") -> bool:
        """Say whether it is the other, or waits for it, by way of however many."""
        seen: set[_Inside] = set()
        ahead = [self]
        while ahead:
            one = ahead.pop()
            if one is other:
                return True
            if not one.over and one not in seen:
                seen.add(one)
                ahead.extend(one.waits)
        return False


class _Flight:
    """One run of the work, and those who wait for it."""

    __slots__ = ("_table", "_task", "_trace", "_waiting", "answer", "error", "inside", "key",
                 "landed", "loop", "until")  # fmt: skip

    def __init__(
        self, table: _Table, loop: asyncio.AbstractEventLoop, key: Hashable, call: Call[Any]
    ) -> None:
        self._table = table
        self._waiting: dict[Future[bool | None], None] = {}
        self._trace: TracebackType | None = None
        self.loop = loop
        self.key = key
        self.until = call.deadline
        self.landed = False
        self.answer: Any = None
        self.error: BaseException | None = None
        self.inside = _Inside()
        context = Context()
        context.run(_inside.set, self.inside)
        # Not by loop.create_task: an eager task factory would run it before it is known here.
        self._task = Task(table.handler(call), loop=loop, context=context)
        _flying.of(loop).add(self._task)
        self._task.add_done_callback(self._land, context=Context())

    def check(self) -> None:
        """Refuse who would wait for itself.

        Raises:
            Misplaced: it is asked from within this flight, or within one that this waits for.
        """
        asking = _inside.get()
        if asking is None or asking.over or not self.inside.awaits(asking):
            return
        way = "" if asking is self.inside else ", by way of other runs"
        raise Misplaced(
            f"{self._table.layer.origin!r}: the run {_words(self.key)} asks for the same"
            f" again{way}, and would wait for itself until its deadline: call the function there"
            " without the policy, or let 'coalesce' tell the two apart"
        )

    async def wait(self, call: Call[Any]) -> bool:
        """Wait for the end, at most until the deadline; False says that somebody else has it.

        The alarm is set a tick later than the work's own, whose fault says more.
        """
        layer = self._table.layer
        future: Future[bool | None] = self.loop.create_future()
        self._waiting[future] = None
        bell = _Bell(future)
        slot = sweep_of(self.loop, layer.clock).arm(call.deadline + TICK, bell)
        asking = _inside.get()
        if asking is not None:
            asking.waits.append(self.inside)
        try:
            mine = await future
            if mine is None:
                raise Fault(
                    Code.DEADLINE_EXCEEDED,
                    f"{layer.origin}: the shared work went on past the deadline of this call",
                    origin=layer.origin,
                )
        except BaseException:
            self._leave(future)
            raise
        finally:
            slot.discard(bell)
            if asking is not None:
                asking.waits.remove(self.inside)
        return mine

    def cut_short(self, call: Call[Any], now: float) -> bool:
        """Say whether it failed for want of time, of which this call has more."""
        error = self.error
        if not isinstance(error, Fault) or error.code is not Code.DEADLINE_EXCEEDED:
            return False
        in_haste = now >= self.until or error.refusal is Refusal.HURRIED
        return in_haste and self.until < call.deadline > now

    def fail(self) -> NoReturn:
        """Raise the error to one of several, each of whom gets it as it was when it arose.

        Else its traceback would grow with each, and its context tell one of the other.
        """
        assert self.error is not None  # noqa: S101 - for the type checker
        context = self.error.__context__
        try:
            raise self.error.with_traceback(self._trace)
        finally:
            within(self.error, context)

    def _leave(self, future: "Future[bool | None]") -> None:
        self._waiting.pop(future, None)
        if not self.landed:
            if not self._waiting:
                self._table.drop(self)
                if self.loop.is_closed():  # a coroutine thrown away after it: nothing runs any more
                    _flying.of(self.loop).discard(self._task)
                else:
                    self._task.cancel()
        elif not future.cancelled() and future.result() and streams(self.answer):
            self.answer.abandon()  # given to one who was called off in the same turn

    def _land(self, task: "Task[Any]") -> None:
        """Take the end of the work, and wake those who wait for it."""
        self.landed = self.inside.over = True
        self._table.drop(self)
        _flying.of(self.loop).discard(task)
        if task.cancelled():
            origin = self._table.layer.origin
            self.error = Fault(
                Code.CANCELLED, f"{origin}: the shared work was called off", origin=origin
            )
        elif (error := task.exception()) is not None:
            self.error, self._trace = error, error.__traceback__
        else:
            self.answer = task.result()
        waiting = [future for future in self._waiting if not future.done()]
        alone = streams(self.answer)
        for number, future in enumerate(waiting):
            future.set_result(not alone or number == 0)
        if alone and not waiting:
            self.answer.abandon()


class _Bell:
    """The alarm of one who waits."""

    __slots__ = ("future",)

    def __init__(self, future: "Future[bool | None]") -> None:
        self.future = future

    def ring(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _words(key: Hashable) -> str:
    """Tell what a flight is for; a policy's key has the function before what it is asked."""
    match key:
        case (function, asked) if callable(function):
            return f"of {getattr(function, '__qualname__', function)} for the key {asked!r:.100}"
    return f"for the key {key!r:.100}"
