"""Threads: functions that block, under a policy, honestly.

A thread cannot be killed. When its caller's time is over, or the caller leaves, the caller gets
its answer at once; the function runs on, and so does what it holds::

    await run(...)  --- called off ---> the caller goes on
         |                                    |
    the thread  -------- lingers -------------+-----> its end: `Lingering.on_end`

The error that the caller gets carries the `Lingering` work, which is an `Ending` as an answer that
streams is one: whoever holds permits for it asks `lingering(error)`, and settles at its end.

The threads are daemons: at the end of the process, what still runs in them is cut off where it
stands, without its `finally`. (The other choice, the one of concurrent.futures, is a process that
cannot end while one call hangs.) Whoever minds drains first: `statistics()` tells what runs.
"""

import os
import threading
import weakref
from asyncio import AbstractEventLoop, get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial, wraps
from math import inf
from typing import Any, Final, ParamSpec, TypeVar

from switchgear.core.clock import Clock, present
from switchgear.core.marks import marks_of, members, origins
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.verdict import GOOD, Verdict, judge

__all__ = ["Lingering", "Threads", "in_thread", "lingering"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

IDLE: Final = 10.0  # seconds after which a thread without work ends
_MARK: Final = "_switchgear_lingering"


class Lingering:
    """Work in a thread that goes on after its caller was called off: an `Ending`.

    `abandon` changes nothing: there is no way to end a thread.
    """

    __slots__ = ("_begun", "_clock", "_loop", "future")

    def __init__(self, future: "Future[Outcome[Any]]", loop: AbstractEventLoop) -> None:
        self.future = future
        self._loop = loop
        self._clock = present(loop)
        self._begun = self._clock()

    def older(self, clock: Clock | None, since: float) -> bool:
        """Say whether it had begun before an instant of a clock, unless that tells another time."""
        return self._clock is clock and self._begun < since

    @property
    def ended(self) -> bool:
        """Whether the thread is through with it."""
        return self.future.done()

    def on_end(self, done: Callable[[Verdict], None], /) -> None:
        """Call `done` once with the verdict of the end: on the loop's thread, or now if it is over.

        Where the loop is closed by then, there is no such thread, and it is called in the one that
        did the work, or that closes the loop before it got to it: a permit comes home, even to
        nobody.
        """

        def ended(future: "Future[Outcome[Any]]") -> None:
            told = _Told(done, _verdict(future))
            try:
                self._loop.call_soon_threadsafe(told, context=Context())
            except RuntimeError:  # the loop is closed
                told()

        if self.future.done():
            done(_verdict(self.future))
        else:
            self.future.add_done_callback(ended)

    def abandon(self) -> None:
        """Do nothing: a thread cannot be killed, and whoever waits for its end is still told."""


class _Told:
    """Tells of an end once: when a loop gets to it, or else when it lets go of it, being closed."""

    __slots__ = ("_done", "_verdict")

    def __init__(self, done: Callable[[Verdict], None], verdict: Verdict) -> None:
        self._done: Callable[[Verdict], None] | None = done
        self._verdict = verdict

    def __call__(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._verdict)

    __del__ = __call__


def lingering(
    error: BaseException, clock: Clock | None = None, since: float = -inf
) -> Lingering | None:
    """Return the work that an error has left running in a thread since then, or None.

    What the error was made of counts too: user code may turn a cancellation into an error of its
    own (`asyncio.timeout` does). So does what it arose beside, which may be older: whoever asks
    another in place of one that hangs has the first one's failure as the context of all that
    follows. Of a group's members it is one whose work still runs, if any does. A coroutine that is
    thrown away tells nobody: each of its frames gets a GeneratorExit
    of its own.
    """
    over: Lingering | None = None
    seen: set[int] = set()
    causes: list[BaseException | None] = [error]
    while causes:
        cause = causes.pop()
        if cause is None or id(cause) in seen:
            continue
        found = marks_of(cause).get(_MARK)
        if isinstance(found, Lingering) and not found.older(clock, since):
            if not found.ended:
                return found
            over = over or found
        seen.add(id(cause))
        causes += origins(cause)
        causes += members(cause)
    return over


class Threads:
    """At most `workers` threads for the blocking functions of one policy, made as they are needed.

    As many as the policy has permits: more would stand idle, fewer would be a queue that nobody
    bounds. Work that is called off before a thread takes it is never begun.
    """

    def __init__(self, name: str, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"threads of {name!r}: {workers} workers, where at least 1 is right")
        self.name = name
        self.workers = workers
        self._closed = False
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        """Begin without a thread: so does a process that was forked off, whatever ran before."""
        self._change = threading.Condition()
        # In order of arrival; not a deque, for many may be called off together, from its middle.
        self._waiting: OrderedDict[_Run, None] = OrderedDict()
        self._count = self._idle = self._lingering = self._made = 0

    async def run(
        self, function: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Run a function in a thread, with a copy of the caller's Context, and return its result.

        Raises what it raises. When the caller is called off, the error carries the `Lingering`
        work unless no thread had begun it.
        """
        loop = get_running_loop()
        run = _Run(partial(copy_context().run, function, *args, **kwargs))
        left = Lingering(run.future, loop)  # should its caller have to leave
        executor: Any = self  # the loop counts what is out in threads, and asks for `submit` alone
        try:
            waited: Any = loop.run_in_executor(executor, run)
            outcome: Outcome[Result] = await waited
        except BaseException as error:
            if not run.future.cancel():
                self._leave(error, left)
            else:
                self._forget(run)
            raise
        if isinstance(outcome, Done):
            return outcome.value
        try:
            raise outcome.error
        finally:
            del run, left, waited, outcome  # they hold the error, whose traceback holds this frame

    def submit(self, run: "_Run") -> "Future[Outcome[Any]]":
        """Give one run of a function to a thread, as an executor does.

        Raises RuntimeError after `close`.
        """
        with self._change:
            if self._closed:
                raise RuntimeError(f"the threads of {self.name!r} are closed")
            self._waiting[run] = None
            if self._idle >= len(self._waiting):
                self._change.notify()
            elif self._count < self.workers:
                self._begin(run)
        return run.future

    def close(self) -> None:
        """Take nothing more; what was given is still run, and then the threads end."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def statistics(self) -> dict[str, float | str]:
        """Return how many threads there are, idle ones, what waits for one, and what lingers."""
        with self._change:
            return {
                "threads": self._count,
                "idle": self._idle,
                "queued": len(self._waiting),
                "lingering": self._lingering,
            }

    def _begin(self, run: "_Run") -> None:
        self._made += 1
        self._count += 1
        thread = threading.Thread(target=self._work, name=f"{self.name}-{self._made}", daemon=True)
        try:
            thread.start()
        except BaseException:  # the system has no more of them
            self._count -= 1
            del self._waiting[run]
            raise

    def _work(self) -> None:
        """Do what is due until there is nothing for a while."""
        while (run := self._next()) is not None:
            run()
            del run  # it holds arguments and a result

    def _next(self) -> "_Run | None":
        with self._change:
            while not self._waiting:
                self._idle += 1
                told = not self._closed and self._change.wait(IDLE)
                self._idle -= 1
                if not told and not self._waiting:
                    self._count -= 1
                    return None
            return self._waiting.popitem(last=False)[0]

    def _forget(self, run: "_Run") -> None:
        """Hold nothing of what was called off before a thread took it, however long they hang."""
        with self._change:
            self._waiting.pop(run, None)

    def _leave(self, error: BaseException, left: Lingering) -> None:
        """Note that work goes on whose caller has gone."""
        marks_of(error)[_MARK] = left
        with self._change:
            self._lingering += 1
        left.future.add_done_callback(self._came_home)

    def _came_home(self, _: object) -> None:
        with self._change:
            self._lingering -= 1


class _Run:
    """One call of a function, and its outcome: a value, because a future takes no StopIteration."""

    __slots__ = ("_work", "future")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.future: Future[Outcome[Any]] = Future()

    def __call__(self) -> None:
        """Run, unless it was called off before."""
        if not self.future.set_running_or_notify_cancel():
            return
        outcome: Outcome[Any]
        try:
            outcome = Done(self._work())
        except BaseException as error:  # noqa: BLE001 - the caller's, whatever it is
            outcome = Failed(error)
        self.future.set_result(outcome)
        del self, outcome  # as in `Threads.run`


def _verdict(future: "Future[Outcome[Any]]") -> Verdict:
    outcome = future.result()
    return judge(outcome.error) if isinstance(outcome, Failed) else GOOD


def in_thread(
    function: Callable[Given, Result], threads: Threads
) -> Callable[Given, Coroutine[Any, Any, Result]]:
    """Make an async function of one that blocks: each call of it runs in one of `threads`.

    What it may know of its call (`core.ambient.deadline`) goes with it. To end in time is its
    own affair: give whatever it waits for a timeout of its own.
    """

    @wraps(function)
    async def threaded(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        return await threads.run(function, *args, **kwargs)

    return threaded


_pools: Final[weakref.WeakSet[Threads]] = weakref.WeakSet()


def _after_fork() -> None:
    """Forget the threads of the parent: a forked child has none of them, and maybe their locks."""
    for pool in list(_pools):
        pool._reset()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork)
