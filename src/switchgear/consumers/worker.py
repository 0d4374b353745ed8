"""Workers: subscriptions bound to their functions, and the loops that run them.

A worker's handler is one more handler: bound by annotation, under its deadline, in a transaction in
which the effect, the inbox row and the message's completion commit together.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from contextvars import Context
from copy import copy
from math import inf
from typing import Any, Final, NamedTuple, NewType

from msgspec.structs import replace

from switchgear.binding.given import EVENT, Parts, Provider
from switchgear.binding.parameters import Unbindable
from switchgear.binding.plan import Plan, bind
from switchgear.consumers.subscription import Subscription
from switchgear.core.ambient import ambient
from switchgear.core.clock import FINE, Clock
from switchgear.core.confining import confine
from switchgear.core.consume import consume
from switchgear.core.drivers import working
from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler
from switchgear.core.observe import Observer
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.verdict import BAD_AGAIN
from switchgear.ports.broker import Broker, Intake, Reading, Received
from switchgear.ports.tables import Tables, Transaction

__all__ = ["Bound", "IdempotencyKey", "Worker", "bind_subscription"]

_STEADY: Final = 10.0  # seconds after which a source that fails had been well
_LEAST: Final = 0.1  # seconds before a source that ended is opened again
_OPENING: Final = 0.5  # of an attempt's time, what it may wait for its transaction to open

IdempotencyKey = NewType("IdempotencyKey", str)
"""The message's own identity: hand it to what makes the effect outside, so that it is made once."""


class Worker:
    """Run subscriptions on a broker until told to drain.

    A source that fails (its database is away) is opened again after a jittered pause; nothing is
    lost, because what was leased comes back. Raises at construction: Unbindable for a function that
    cannot be bound, and for one that takes neither a Transaction nor an IdempotencyKey without
    saying `at_least_once`; ValueError for attempts that the broker cannot keep account of.
    """

    def __init__(
        self,
        subscriptions: Iterable[Subscription],
        *,
        broker: Broker,
        tables: Tables,
        providers: Mapping[Any, Provider],
        random: Callable[[], float],
        on_failure: Callable[[str, BaseException], None],
        on_attempt: Callable[[str, Call[Received], Exception], None] | None = None,
        observe: Observer | None = None,
        clock: Clock = FINE,
    ) -> None:
        self._broker = broker
        self._tables = tables
        self._providers = providers
        self._random = random
        self._on_failure = on_failure
        self._on_attempt = on_attempt
        self._observe = observe
        self._clock = clock
        self._backoff = Backoff(BackoffSettings(attempts=100, base=0.1, cap=2.0), random=random)
        self._bound = [(one, self._handler(one)) for one in subscriptions]
        self._open = {one.name: self._source(one) for one, _ in self._bound}
        self._draining = asyncio.Event()

    async def run(self) -> None:
        """Consume every subscription; return when all are drained."""
        loop = asyncio.get_running_loop()
        # Contexts of their own: what runs for as long as the process belongs to no call.
        tasks = [
            loop.create_task(self._keep(one, handler), context=Context())
            for one, handler in self._bound
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def drain(self) -> None:
        """Take nothing more, finish what runs, hand back the rest."""
        self._draining.set()
        for intake in self._open.values():
            intake.drain()

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return each open subscription's figures."""
        return {name: intake.statistics() for name, intake in self._open.items()}

    async def _keep(self, one: Subscription, handler: Handler[Received, Any]) -> None:
        """Consume one subscription, and again after its source ended or failed."""
        failures = 0
        while not self._draining.is_set():
            began = self._clock()
            intake = self._open.get(one.name) or self._source(one)
            self._open[one.name] = intake
            try:
                try:
                    await consume(intake, handler, lanes=one.lanes, parked=one.lanes)
                finally:
                    del self._open[one.name]
                    await intake.close()
            except Exception as error:  # noqa: BLE001 - told, and then opened again
                failures = 1 if self._clock() - began >= _STEADY else failures + 1
                self._on_failure(one.name, error)
            else:
                failures = 0
            await self._pause(_LEAST + (self._later(failures) if failures else 0.0))

    def _later(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        return self._backoff.delay(min(failures, 8), BAD_AGAIN, None) or 0.0

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            pass

    def _source(self, one: Subscription) -> Intake:
        reading = Reading(one.topic, one.name, 2 * one.lanes, one.attempts, one.deadline)
        return self._broker.source(reading)

    def _handler(self, one: Subscription) -> Handler[Received, Any]:
        bound = bind_subscription(one, self._providers)
        wait = one.deadline * _OPENING
        work = self._committed(bound.plan, wait) if bound.commits else self._outside(bound.plan)
        whole = Timeout(full=one.deadline, limit=inf, share=1.0)
        parts = [Part(Place.DEADLINE, whole)]
        run = stack(one.name, INBOUND, parts, work, observe=self._observe, clock=self._clock).run
        tell = self._on_attempt
        if tell is None:
            return run

        async def told(call: Call[Received]) -> Any:
            try:
                return await run(call)
            except Exception as error:
                tell(one.name, call, error)
                raise

        return told

    def _committed(
        self, plan: Plan, wait: float
    ) -> Callable[[Call[Received]], Coroutine[Any, Any, None]]:
        """Call with effect, inbox row and completion in one commit."""

        async def run(call: Call[Received]) -> None:
            received = call.payload
            async with AsyncExitStack() as held:
                tx = await self._opened(held, call.deadline, wait)
                if not await received.claim(tx):
                    return
                ambient.set(replace(call, payload=None))
                await _called(plan, _parts(received, tx))

        return run

    async def _opened(self, held: AsyncExitStack, deadline: float, wait: float) -> Transaction:
        """Open a transaction; `wait` is how long a server that is away or full is waited for.

        Raises a Fault that is a refusal where it did not open in time: what never came to its
        handler is no attempt at it, and a database that lets nobody in would bury the whole queue.
        The lane waits meanwhile: else it would empty the queue in one round, to no end.
        """
        until = self._clock() + wait
        failures = 0
        while True:
            away: Fault
            try:
                async with asyncio.timeout(max(0.0, until - self._clock())):
                    return await held.enter_async_context(self._tables.transaction(deadline))
            except TimeoutError:
                away = Fault(
                    Code.UNAVAILABLE,
                    f"no transaction could be opened within {wait:g} s",
                    effect=Effect.NONE,
                    refusal=Refusal.FULL,
                )
            except Fault as fault:
                if fault.code is not Code.UNAVAILABLE:
                    raise
                away = copy(fault)
                away.refusal = fault.refusal or Refusal.OPEN
            failures += 1
            pause = self._later(failures)
            if self._draining.is_set() or self._clock() + pause >= until:
                raise away
            await self._pause(pause)

    def _outside(self, plan: Plan) -> Callable[[Call[Received]], Coroutine[Any, Any, None]]:
        """Call for an effect elsewhere: the message is completed after it, by its settlement."""

        async def run(call: Call[Received]) -> None:
            ambient.set(replace(call, payload=None))
            await _called(plan, _parts(call.payload, None))

        return run


class Bound(NamedTuple):
    """A consumer's function, bound; `commits`: its effect and its message's end are one commit."""

    plan: Plan
    commits: bool


def bind_subscription(one: Subscription, providers: Mapping[Any, Provider]) -> Bound:
    """Bind one consumer's function.

    Raises Unbindable, also for one that takes neither a Transaction nor an IdempotencyKey and
    does not say `at_least_once`.
    """
    given = {**providers, Transaction: _transaction, IdempotencyKey: _key}
    plan = bind(one.function, injectors=given, offer=EVENT)
    made_by = {parameter.provider for parameter in plan.parameters}
    if not made_by & {_transaction, _key} and not one.at_least_once:
        raise Unbindable(
            f"{plan.where}: the consumer of {one.topic} takes neither a Transaction nor an"
            " IdempotencyKey, so its effect may happen twice: take one of them, or say"
            " at_least_once=True"
        )
    return Bound(plan, _transaction in made_by)


async def _called(plan: Plan, parts: Parts) -> None:
    """Call a plan. What is no ordinary error is a defect: it ends this attempt and no more."""
    driver = working()
    try:
        await plan.call(parts)
    except BaseException as error:
        confine(error, driver)
        raise


def _transaction(parts: Parts) -> Any:
    return parts.scope


def _key(parts: Parts) -> IdempotencyKey:
    return IdempotencyKey(parts.headers["message-id"])


def _parts(received: Received, tx: Transaction | None) -> Parts:
    message = received.message
    return Parts(message.body, headers={"message-id": message.id}, scope=tx)
