"""Policies: every protection of the calls to one dependency, around any function, in one object.

::

    mail = Policy("mail", deadline="2s")

    await mail.call(send, letter)         # as it stands

    @mail
    async def send(letter: Letter) -> Receipt: ...

    async with mail:                      # a block of statements, tried once
        await connection.send(letter)
"""

import random as randomness
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from functools import wraps
from math import inf
from types import CoroutineType, TracebackType
from typing import Any, Final, ParamSpec, TypeGuard, TypeVar, final, overload

from switchgear.core import checks
from switchgear.core.ambient import ambient, due
from switchgear.core.block import Blocks
from switchgear.core.clock import Clock, present
from switchgear.core.express import express, spread
from switchgear.core.fallback import Fallback
from switchgear.core.frames import Terms, Timeout
from switchgear.core.handler import Judge, Layer
from switchgear.core.invocation import InThread, Invocation, invoking, is_async, mark
from switchgear.core.observe import Observer, quiet
from switchgear.core.options import Builder, Mode, Options, tries
from switchgear.core.portal import run_at
from switchgear.core.shared import Shared
from switchgear.core.stack import OUTBOUND, stack
from switchgear.core.threads import Threads
from switchgear.policy.adaptive import AdaptiveSettings
from switchgear.policy.backoff import BackoffSettings
from switchgear.policy.breaker import Breaker, BreakerSettings
from switchgear.policy.bucket import BucketSettings, GcraSettings
from switchgear.policy.budget import BudgetSettings
from switchgear.policy.bulkhead import BulkheadSettings
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate
from switchgear.policy.hedge import HedgeSettings
from switchgear.policy.hurry import HurrySettings
from switchgear.policy.lint import Finding, Plan, lint, lint_nested

__all__ = ["Policy"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

_RETRY: Final = BackoffSettings()
_BUDGET: Final = BudgetSettings()
_HURRY: Final = HurrySettings()
_BREAKER: Final = BreakerSettings()
_BULKHEAD: Final = BulkheadSettings()


@final
class Policy(Shared):
    """Protect the calls to one dependency, with every protection on by default.

    Share one policy among all calls to the same dependency: its breaker, its permits and its
    retry budget learn from them all. Durations are seconds, or written as "250ms", "2s", "5min".

    `deadline` bounds a whole call; inside another call, that one's deadline bounds this one, too.
    `timeout` bounds one attempt of a `repeatable` call: one that does no more when done twice.
    Another is tried again only after a failure that surely had no effect. `attempts` counts the
    first one; `retry` says more about it. Without a `deadline` (None) a call may take for ever.

    `breaker`, `bulkhead`, `hurry` and `retry` are on unless they are None; `rate`, `adaptive`,
    `hedge`, `fallback` and `coalesce` are off unless they are given. `fallback` is a `Stale`, a
    `static` value, or a function of the error and the call's arguments; `coalesce` and `key` are
    functions of the arguments: what asks the same, and whose limit it counts against.

    `mode` is "enforce", "observe" (let everything through, and tell what would have been done) or
    "off", for all of it or by part: `{"breaker": "observe"}`. `judge` says what a returned value
    means, `translate` makes a `Fault` of an exception that it knows; `observe` is shown every
    event.

    Functions run in the task of the caller (hedges and shared work in tasks of their own), who gets
    what they return or raise, or a `Fault`. Not for use by several threads at once: see `run`.
    """

    def __init__(
        self,
        name: str,
        *,
        deadline: float | str | None = 3.0,
        timeout: float | str | None = 1.0,
        attempts: int | None = None,
        repeatable: bool = False,
        retry: BackoffSettings | None = _RETRY,
        budget: BudgetSettings = _BUDGET,
        hurry: HurrySettings | None = _HURRY,
        breaker: BreakerSettings | None = _BREAKER,
        bulkhead: BulkheadSettings | None = _BULKHEAD,
        rate: BucketSettings | GcraSettings | None = None,
        adaptive: AdaptiveSettings | None = None,
        hedge: HedgeSettings | None = None,
        fallback: Fallback | Callable[..., Any] | None = None,
        coalesce: Callable[..., Hashable | None] | None = None,
        key: Callable[..., str] | None = None,
        mode: Mode | Mapping[str, Mode] = "enforce",
        judge: Judge | None = None,
        translate: Callable[[Exception], Exception | None] | None = None,
        observe: Observer | None = None,
        chaos: Layer | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._given = {option: value for option, value in locals().items() if option != "self"}
        self.name = checks.name(name)
        try:
            for option, given in (("judge", judge), ("translate", translate), ("clock", clock)):
                checks.function(option, given)
            checks.observer("observe", observe)
            checks.function("random", random, optional=False)
            self._options = Options(
                deadline=checks.duration("deadline", deadline),
                timeout=checks.duration("timeout", timeout),
                repeatable=repeatable,
                retry=tries(retry, attempts),
                budget=budget,
                hurry=hurry,
                breaker=breaker,
                bulkhead=bulkhead,
                rate=rate,
                adaptive=adaptive,
                hedge=hedge,
                fallback=fallback,
                coalesce=coalesce,
                key=key,
                mode=mode,
                chaos=chaos,
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"policy {name!r}: {error}") from None
        self._clock = clock = present() if clock is None else clock
        self._key = key
        self._off = mode == "off" and chaos is None
        builder = Builder(
            name,
            self._options,
            clock=clock,
            random=random,
            observe=quiet if observe is None else observe,
            judge=judge,
        )
        self._stack = stack(
            name,
            OUTBOUND,
            builder.parts(),
            invoking(bounded=self._options.mode_of("timeout") == "enforce"),
            observe=observe,
            judge=judge,
            clock=clock,
            terms=None if mode == "off" else Terms(self._options.full, repeatable),
            translate=translate,
        )
        self._made = builder.made
        sole = self._stack.sole
        self._way = None if sole is None or key is not None else express(sole)
        if self._way is not None:
            # In place of the method below: a call of that would cost 50 ns more.
            self.call = spread(self._way, Policy.call)  # type: ignore[method-assign]  # see above
        self._blocks = Blocks(
            self._stack.kit,
            self._stack.tally,
            tuple(part.what for part in self._stack.parts if _is_gate(part.what)),
            next((part.what for part in self._stack.parts if isinstance(part.what, Timeout)), None),
            builder.budget,
        )
        self._threads: Threads | None = None

    # -- calling

    def call(
        self,
        function: Callable[Given, Awaitable[Result]],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Coroutine[Any, Any, Result]:
        """Call an async function under this policy, and return what it returns.

        Raises what it raises, or a `Fault`: refused by a gate, or out of time.
        """
        return self._stacked(function, args, kwargs)

    def call_in_thread(
        self,
        function: Callable[Given, Result],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Coroutine[Any, Any, Result]:
        """Call a function that blocks, in a thread.

        A thread cannot be killed: where the time is over, the caller gets its `Fault` at once, and
        the function goes on to its end, which is when its permit comes home. Give what it waits
        for a timeout of its own; `switchgear.remaining()` tells how long.
        """
        return self.call(self._threaded(function), *args, **kwargs)

    def run(
        self,
        function: Callable[Given, Awaitable[Result]],
        /,
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Call an async function from code that has no event loop, and wait for its result.

        It runs on the event loop on which this policy is in use, if there is one in another thread
        (that of an app, whose threads may share its policies in this way), else on one in the
        background, the same for all such calls of a process.
        """
        return run_at(self._stack.kit.home, self.call, function, *args, **kwargs)

    @overload
    def __call__(
        self, function: Callable[Given, Coroutine[Any, Any, Result]], /
    ) -> "Callable[Given, CoroutineType[Any, Any, Result]]": ...
    @overload
    def __call__(
        self, function: Callable[Given, Result], /
    ) -> "Callable[Given, CoroutineType[Any, Any, Result]]": ...
    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Decorate a function so that each call of it is under this policy.

        A plain function becomes an async one that runs in a thread, as `call_in_thread` tells.

        Raises:
            TypeError: it yields, and so ends long after it was called, or it is no function: the
                result of one, a class, or what `staticmethod` or `classmethod` makes of one.
        """
        checks.decorated(self.name, function)
        work = function if is_async(function) else self._threaded(function)

        run = self._stacked if self._way is None else self._way.run

        @wraps(function)
        async def protected(*args: Any, **kwargs: Any) -> Any:
            return await run(work, args, kwargs)

        return protected

    async def __aenter__(self) -> None:
        """Enter a block of statements that is one attempt: nothing can run it twice."""
        if not self._off:
            await self._blocks.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the block. Raises a `Fault` where its time was over."""
        if not self._off:
            self._blocks.leave(error)

    # -- what is known of it

    def statistics(self) -> dict[str, dict[str, float | str]]:
        """Return the present figures of the calls, of every gate, and of the retry budget."""
        figures = {"calls": self._stack.statistics()}
        for part, made in self._made.items():
            if found := made.statistics():
                figures[part] = found
        if self._threads is not None:
            figures["threads"] = self._threads.statistics()
        return figures

    def describe(self) -> str:
        """Draw the order of the protections, outermost first, with the reason of each place.

        Below each stand its settings and where each came from; at the end, what contradicts.
        """
        drawn = self._stack.describe()
        return "\n".join([drawn, *(f"  ! {finding}" for finding in self.lint())])

    def lint(self, rate: float | None = None) -> tuple[Finding, ...]:
        """Return what of the settings contradicts, at so many calls a second, if that is said."""
        return lint(self.plan(rate))

    def lint_around(self, *inner: "Policy") -> tuple[Finding, ...]:
        """Return what contradicts where a call of this policy makes calls of `inner` ones.

        They are given from the outside in.
        """
        return lint_nested([one.plan() for one in (self, *inner)])

    def plan(self, rate: float | None = None) -> Plan:
        """Tell what is known of it before its first call, at so many calls a second.

        Raises TypeError for a rate that is no number, ValueError for one that is none at all.
        """
        checks.rate(rate)
        return self._options.plan(self.name, rate)

    def anew(self, **options: Any) -> "Policy":
        """Make a policy of the same options that has seen nothing yet, but for those given here.

        `switchgear.testing.overridden` puts one in the place of this for a test.
        """
        return Policy(**{**self._given, **options})

    def __repr__(self) -> str:
        state = "no breaker" if self.breaker is None else f"breaker {self.breaker.state.value}"
        return f"<Policy {self.name!r}, {state}>"

    # -- the operator

    @property
    def breaker(self) -> Breaker | None:
        """The breaker, where there is one that is enforced."""
        made = self._made.get("breaker")
        return made if isinstance(made, Breaker) else None

    def force_open(self, why: str = "forced by an operator") -> None:
        """Refuse every call until `reset`. Raises RuntimeError where there is no breaker."""
        self._switch().force_open(self._clock(), why)

    def force_closed(self, why: str = "forced by an operator") -> None:
        """Let every call pass the breaker until `reset`. Raises as `force_open` does."""
        self._switch().force_closed(self._clock(), why)

    def reset(self, why: str = "reset by an operator") -> None:
        """Close the breaker and have it forget the past. Raises as `force_open` does."""
        self._switch().reset(self._clock(), why)

    def _switch(self) -> Breaker:
        if self.breaker is None:
            raise RuntimeError(f"policy {self.name!r} has no breaker that is enforced")
        return self.breaker

    # -- what is behind it

    async def _stacked(
        self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Make a call of it: there are layers, or a key, and they have to know more."""
        if self._off:
            return await function(*args, **kwargs)
        self._stack.kit.desk()  # which sees that it can work here
        outer = ambient.get()
        full = self._options.full
        until = inf if full is None else self._clock() + full
        cut = due.get()
        if outer is not None:
            until = min(until, outer.deadline)
        call: Call[Any] = Call(
            Invocation(function, args, kwargs, outer, cut),
            until if cut is None else min(until, cut),
            repeatable=self._options.repeatable,
            key="" if self._key is None else self._key_of(args, kwargs),
            priority=5 if outer is None else outer.priority,
            principal=None if outer is None else outer.principal,
            trace=None if outer is None else outer.trace,
        )
        return await self._stack.run(call)

    def _key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        assert self._key is not None  # noqa: S101 - for the type checker: the caller has looked
        key: object = self._key(*args, **kwargs)
        if not isinstance(key, str):
            raise TypeError(f"policy {self.name!r}: key returned {key!r}: a text would be right")
        return key

    def _threaded(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        return InThread(function, self._pool())

    def _pool(self) -> Threads:
        if self._threads is None:
            bulkhead = self._options.bulkhead
            self._threads = Threads(self.name, bulkhead.permits if bulkhead else 64)
        return self._threads


def _keep(self: Policy, name: str, value: object) -> None:
    renamed = name == "name" and hasattr(self, name)  # what counts and tells has the old one
    if renamed or name in (Policy.__init__.__kwdefaults__ or ()):
        told = f"anew({name}={value!r}) makes another"
        raise AttributeError(f"policy {self.name!r} stays as it was made: {told}")
    object.__setattr__(self, name, value)


# Written in the class, it would have type checkers let any name be set.
Policy.__setattr__ = _keep  # type: ignore[assignment, method-assign]  # see above
for _made in (Policy.call, Policy.call_in_thread):  # else frameworks call them in a thread
    mark(_made)


def _is_gate(what: object) -> TypeGuard[Gate]:
    return hasattr(what, "admit")
