"""Lanes: one route on its way to one service, and everything that it learns there.

What learns from failures does so per route: a handler that always fails opens its own
route's breakers and no other's. What belongs to a process as a whole (its pool, its bulkhead,
whether it beats) is shared by its routes.

    service breaker -> retry -> balance -> [ breaker -> bulkhead -> timeout -> pool ] per process
"""

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Mapping
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from switchgear.core.clock import Clock
from switchgear.core.endings import streams
from switchgear.core.frames import Retry, Timeout
from switchgear.core.handler import Handler, Judge
from switchgear.core.observe import Observer
from switchgear.core.stack import OUTBOUND, Part, Place, Stack, stack
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.message import Request, Response
from switchgear.http.problem import FAULT_HEADER, fault_of, problem_within
from switchgear.http.stream import Whole
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.balance import Balancer, PeakEwma
from switchgear.policy.breaker import Breaker, BreakerSettings, State
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.lint import Plan
from switchgear.policy.verdict import GOOD

__all__ = ["Lane", "Process", "Shared", "attempts_of", "plan_of"]

TOGETHER: Final = 10.0  # seconds within which processes that come up are all new
SLOW: Final = 0.8  # a call counts as slow from this share of what an attempt may take


def attempts_of(deadline: float, attempt_timeout: float, settings: GatewaySettings) -> Timeout:
    """Say how long one attempt may take of a route's `deadline`, in seconds.

    Where the route does not say it (0), a repeatable call leaves time for all its attempts: a
    route with a long deadline means what it says, and is not cut after the default's second.
    """
    if attempt_timeout:
        return Timeout(full=deadline, limit=attempt_timeout, share=1.0)
    return Timeout(full=deadline, limit=max(settings.attempt_timeout, deadline / settings.attempts))


def plan_of(route: RouteEntry, settings: GatewaySettings) -> Plan:
    """Tell what is known of a route's lane before its first request, for the linter."""
    timeout = attempts_of(route.deadline, route.attempt_timeout, settings)
    allowed = timeout.allow(route.deadline, repeatable=route.repeatable)
    return Plan(
        name=route.name,
        deadline=route.deadline,
        # Where the route does not say it, it is made to fit.
        timeout=route.attempt_timeout or inf,
        share=timeout.share,
        repeatable=route.repeatable,
        retry=BackoffSettings(attempts=settings.attempts) if route.attempt_timeout else None,
        breaker=breaker_of(allowed),
    )


def breaker_of(allowed: float) -> BreakerSettings:
    """Return the settings of a breaker whose attempts may take `allowed` seconds.

    A probe holds its place for as long as it may take: else several would be out at a time.
    """
    lease = max(BreakerSettings().probe_lease, allowed)
    return BreakerSettings(slow_after=SLOW * allowed, probe_lease=lease)


class Shared(NamedTuple):
    """What all lanes to one service share. `transitions` is shown how breakers change."""

    service: str
    settings: GatewaySettings
    balancer: Balancer
    budget: RetryBudget
    judge: Judge
    random: Callable[[], float]
    transitions: Observer | None
    clock: Clock


class Process(Protocol):
    """One process of the service: whether new calls may go there, and what sends them."""

    name: str
    routable: bool
    bulkhead: Bulkhead

    async def send(self, call: Call[Request], /) -> Response: ...


class _Way:
    """A lane's way to one process: what a balancer looks at, and the stacks of one attempt.

    There is one for a request that is all here and one for a request whose body is on its way;
    in a panic the breaker is passed by.
    """

    def __init__(self, lane: "Lane", process: Process, since: float) -> None:
        self.process = process
        self.since = since  # a process that is new gets its part of the load by and by
        self.name = process.name
        self.in_flight = 0
        self.ewma = PeakEwma()
        self.breaker = lane.breaker(f"{lane.route.name} at {process.name}")
        gate, room = Part(Place.BREAKER, self.breaker), Part(Place.BULKHEAD, process.bulkhead)
        timeout = Part(Place.TIMEOUT, lane.timeout)
        patient = _patient(lane.stack([timeout], process.send).run)
        self.guarded = lane.stack([gate, room, timeout], process.send).run
        self.panicking = lane.stack([room, timeout], process.send).run
        self.uploading = lane.stack([gate, room], patient).run
        self.uploading_in_panic = lane.stack([room], patient).run

    def available(self, now: float) -> bool:
        """Say whether this route's breaker there lets calls through."""
        return self.breaker.available(now)

    def run(self, call: Call[Request], *, panic: bool) -> Coroutine[Any, Any, Response]:
        """Make one attempt."""
        if isinstance(call.payload.body, Whole):
            return (self.panicking if panic else self.guarded)(call)
        return (self.uploading_in_panic if panic else self.uploading)(call)


def _patient(send: Handler[Request, Response]) -> Handler[Request, Response]:
    """Take a timeout amid a body for its sender's slowness.

    Else a few clients who send theirs as slowly as they may would open everybody's breaker.
    """

    async def run(call: Call[Request]) -> Response:
        try:
            return await send(call)
        except Fault as fault:
            if fault.code is Code.DEADLINE_EXCEEDED and not _sent_whole(call):
                fault.refusal = Refusal.HURRIED
            raise

    return run


def _sent_whole(call: Call[Request]) -> bool:
    return call.payload.body.verdict == GOOD


class Lane:
    """One route to one service. `run` is its handler, `follow` takes the present processes."""

    def __init__(self, shared: Shared, route: RouteEntry) -> None:
        self.route = route
        self._shared = shared
        self._born = -inf  # since when it has any of its present processes
        self._ways: list[_Way] = []
        self._usable: list[_Way] = []
        self.timeout = attempts_of(route.deadline, route.attempt_timeout, shared.settings)
        self._allowed = self.timeout.allow(route.deadline, repeatable=route.repeatable)
        schedule = Backoff(BackoffSettings(attempts=shared.settings.attempts), random=shared.random)
        retry = Retry(schedule, shared.budget)
        self._breaker = self.breaker(f"{route.name} at {shared.service}")
        self.calls = self.stack(
            [Part(Place.SERVICE_BREAKER, self._breaker), Part(Place.RETRY, retry)],
            self._balanced,
        )
        self._calls: Handler[Request, Response] = self.calls.run

    async def run(self, call: Call[Request]) -> Response:
        """Answer a call by the service. Where there is no process at all, nobody waits for one."""
        if not self._usable:
            raise self._none([])
        return await self._calls(call)

    def follow(self, processes: Mapping[str, Process]) -> None:
        """Keep the ways to processes that are still there, and open those to new ones."""
        kept = {way.name: way for way in self._ways if processes.get(way.name) is way.process}
        if self._ways and not kept and self._breaker.state is not State.CLOSED:
            self._breaker.reset(self._shared.clock(), "every process was started anew")
        now = self._shared.clock()
        if not kept:
            self._born = now
        # Where all are new, none is spared; nor are those that come up with them.
        since = now if now - self._born > TOGETHER else -inf
        self._ways = [
            kept.get(name) or _Way(self, process, since) for name, process in processes.items()
        ]
        # Where none beats, it is likelier us who are late than all of them that hang: ask anyway.
        self._usable = [way for way in self._ways if way.process.routable] or self._ways

    def breaker(self, name: str) -> Breaker:
        """Make a breaker for this route."""
        shared = self._shared
        settings = breaker_of(self._allowed)
        return Breaker(name, settings, jitter=shared.random, on_transition=shared.transitions)

    def stack(self, parts: list[Part], handler: Handler[Any, Any]) -> Stack:
        """Compile a part of this lane."""
        shared = self._shared
        return stack(
            self.route.name,
            OUTBOUND,
            parts,
            handler,
            judge=shared.judge,
            clock=shared.clock,
        )

    def statistics(self) -> dict[str, Any]:
        """Return the state of the service's breaker and of the one at each process."""
        return {
            "breaker": self._breaker.statistics(),
            "endpoints": {way.name: way.breaker.statistics() for way in self._ways},
        }

    async def _balanced(self, call: Call[Request]) -> Response:
        """Send one attempt to the process that is likeliest to answer soon.

        A process whose own gates refuse (its breaker on the ramp, its bulkhead full) costs no
        attempt: the next is asked, until every one has refused.
        """
        tried = call.trail.endpoints
        refused: list[Fault] = []
        for _ in self._usable:
            started = self._shared.clock()
            pick = self._shared.balancer.pick(self._usable, started, tried)
            if pick is None or (refused and pick.endpoint.name in tried):
                break
            way = pick.endpoint
            tried.append(way.name)
            try:
                answer = await self._sent(way, call, started, panic=pick.panic)
            except Fault as fault:
                if not _ours(fault):
                    self._blame(fault, call)
                    raise
                refused.append(fault)
            else:
                if answer.status == 504:
                    self._blame_answer(answer, call)
                return answer
        raise self._none(refused)

    async def _sent(
        self, way: _Way, call: Call[Request], started: float, *, panic: bool
    ) -> Response:
        """Send to one process, and learn how long it takes: from what was really sent alone."""
        way.in_flight += 1
        flowing, took = False, self._allowed
        try:
            answer = await way.run(call, panic=panic)
            if answer.status < 500:
                took = self._shared.clock() - started
            if streams(answer):
                flowing = True
                answer.on_end(lambda _: self._ended(way))  # type: ignore[attr-defined]  # `streams`
        except BaseException as error:
            if isinstance(error, CancelledError) or (isinstance(error, Fault) and error.refusal):
                took = 0.0
            raise
        finally:
            now = self._shared.clock()
            call.trail.upstream += now - started
            if took:
                way.ewma.observe(took, now)
            if not flowing:
                way.in_flight -= 1
        return answer

    def _blame(self, fault: Fault, call: Call[Request]) -> bool:
        """Take back that the caller was in a hurry, if it was our own attempts that took long.

        What the process could not be blamed for, in the little time that was left, is the
        service's failure all the same: else one that hangs would never open its breaker.
        """
        if fault.refusal is not Refusal.HURRIED or fault.hops or not _sent_whole(call):
            return False
        had = call.trail.upstream + max(0.0, call.deadline - self._shared.clock())
        if had < self.timeout.fair(repeatable=False):
            return False
        fault.refusal = None
        return True

    def _blame_answer(self, answer: Response, call: Call[Request]) -> None:
        """Take the same back where the process has said itself that it was late."""
        fault = fault_of(answer, trusted=True)
        if fault is not None and self._blame(fault, call):
            within = problem_within(fault, fault.origin)
            answer.headers = answer.headers.also({FAULT_HEADER: within.headers[FAULT_HEADER]})

    def _none(self, refused: list[Fault]) -> Fault:
        """Make the fault of an attempt for which there was nobody."""
        service = self._shared.service
        if refused:
            soonest = min(fault.retry_after or 0.0 for fault in refused)
            detail = "; ".join(fault.detail for fault in refused)
            first = refused[0]
            return Fault(
                first.code,
                detail,
                effect=Effect.NONE,
                refusal=first.refusal,
                retry_after=soonest or None,
                origin=service,
            )
        return Fault(
            Code.UNAVAILABLE,
            f"no process of {service} is ready",
            effect=Effect.NONE,
            refusal=Refusal.DRAINING,
            retry_after=1.0,
            origin=service,
        )

    @staticmethod
    def _ended(way: _Way) -> None:
        way.in_flight -= 1


def _ours(fault: Fault) -> bool:
    """Say whether a gate of ours refused: it names no origin, for nothing was sent anywhere."""
    return fault.refusal is not None and not fault.origin
