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

from switchgear.core.attempt import Attempt
from switchgear.core.clock import Clock
from switchgear.core.endings import streams
from switchgear.core.frames import Retry
from switchgear.core.handler import Handler, Judge
from switchgear.core.observe import Observer
from switchgear.core.permits import Held
from switchgear.core.stack import OUTBOUND, Part, Place, Stack, stack
from switchgear.gateway.lasting import attempted, lasting, may_last
from switchgear.gateway.passage import Passage, passage_of
from switchgear.gateway.patience import attempts_of, breaker_of
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.message import Request, Response
from switchgear.http.problem import FAULT_HEADER, fault_of, problem_within
from switchgear.http.stream import Whole
from switchgear.policy.backoff import Backoff, BackoffSettings
from switchgear.policy.balance import PeakEwma, PeakEwmaBalancer
from switchgear.policy.breaker import Breaker, State, Transition
from switchgear.policy.budget import RetryBudget
from switchgear.policy.bulkhead import Bulkhead
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Permit
from switchgear.policy.verdict import GOOD

__all__ = ["Attempted", "Lane", "Process", "Shared", "Way"]

TOGETHER: Final = 10.0  # seconds within which processes that come up are all new
ELSEWHERE: Final = 2  # processes that one attempt may find unreachable, and go on


class Shared(NamedTuple):
    """What all lanes to one service share. `transitions` is shown how breakers change."""

    service: str
    settings: GatewaySettings
    balancer: PeakEwmaBalancer
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

    @property
    def pool(self) -> Handler[Request, Response]: ...

    async def send(self, call: Call[Request], /) -> Response: ...

    def received(self, answer: Response, /) -> Response:
        """Take what the pool has brought for what `send` returns."""
        ...


class Way:
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
        self.breaker = lane.breaker(f"{lane.name} at {process.name}")
        gate, room = Part(Place.BREAKER, self.breaker), Part(Place.BULKHEAD, process.bulkhead)
        timeout = Part(Place.TIMEOUT, lane.timeout)
        patient = _patient(lane.stack([timeout], process.send).run)
        guarded = lane.stack([gate, room, timeout], process.send)
        self.frame = guarded.frames[0]
        self.guarded = guarded.run
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
    """One route to one service. `run` is its handler, `follow` takes the present processes.

    One that is `unbroken` goes by no breaker: for what a gateway itself asks now and then. That
    spares nobody anything, and would be asked again long after the service was well. `part` names
    what of the route it is for, where that is not all of it.
    """

    def __init__(
        self, shared: Shared, route: RouteEntry, *, unbroken: bool = False, part: str = ""
    ) -> None:
        self.route = route
        self.name = part or route.name
        self._unbroken = unbroken
        self._keyed = route.keyed
        self._shared = shared
        self._born = -inf  # since when it has any of its present processes
        self._ways: list[Way] = []
        self._usable: list[Way] = []
        self._old_at = inf  # from when on none of them is new
        self._mostly_well = False
        self.timeout = attempts_of(route.deadline, route.attempt_timeout, shared.settings)
        self._allowed = self.timeout.allow(route.deadline, repeatable=route.repeatable)
        schedule = Backoff(BackoffSettings(attempts=shared.settings.attempts), random=shared.random)
        retry = Retry(schedule, shared.budget)
        self.over = self.breaker(f"{self.name} at {shared.service}")
        gate = [] if unbroken else [Part(Place.SERVICE_BREAKER, self.over)]
        self.calls = self.stack([*gate, Part(Place.RETRY, retry)], self._balanced)
        self.frame = self.calls.frames[0]
        self._calls: Handler[Request, Response] = self.calls.run

    async def run(self, call: Call[Request]) -> Response:
        """Answer a call by the service. Where there is no process at all, nobody waits for one."""
        if not self._usable:
            raise self._none([])
        return await self._calls(await lasting(call) if self._keyed else call)

    def follow(self, processes: Mapping[str, Process]) -> None:
        """Keep the ways to processes that are still there, and open those to new ones."""
        kept = {way.name: way for way in self._ways if processes.get(way.name) is way.process}
        if self._ways and not kept and self.over.state is not State.CLOSED:
            self.over.reset(self._shared.clock(), "every process was started anew")
        now = self._shared.clock()
        if not kept:
            self._born = now
        # Where all are new, none is spared; nor are those that come up with them.
        since = now if now - self._born > TOGETHER else -inf
        self._ways = [
            kept.get(name) or Way(self, process, since) for name, process in processes.items()
        ]
        # Where none beats, it is likelier us who are late than all of them that hang: ask anyway.
        self._usable = [way for way in self._ways if way.process.routable] or self._ways
        newest = max((way.since for way in self._usable), default=inf)
        self._old_at = newest + self._shared.balancer.slow_start
        self._count()

    def forgive(self) -> None:
        """Forget what failed, and what is under way: it was a part, which has a lane of its own."""
        for breaker in (self.over, *(way.breaker for way in self._ways)):
            breaker.reset(self._shared.clock(), "a path that fails went apart")

    def _count(self) -> None:
        """Count the ways whose breaker is not closed: from half of them on there may be a panic."""
        shut = sum(way.breaker.state is not State.CLOSED for way in self._usable)
        self._mostly_well = 2 * shut < len(self._usable)

    def _moved(self, event: Transition) -> None:
        self._count()
        if self._shared.transitions is not None:
            self._shared.transitions(event)

    def swift(self, now: float) -> Way | None:
        """Return the way for a call where nothing is amiss, or None to have it looked into."""
        if now < self._old_at or not self._mostly_well or not self.over.freely:
            return None
        way = self._shared.balancer.swift(self._usable, now)
        inside = way.process.bulkhead
        if not way.breaker.freely or inside.entered >= inside.most or inside.queued:
            return None
        return way

    async def resume(self, call: Call[Request], sent: "Attempted") -> Response:
        """Go on with a call whose first attempt was made already, and is not simply well."""
        held: Held = (self.over, Permit(sent.at, sent.over), None)
        call = may_last(call) if self._keyed else call
        attempt = Attempt(self.frame, sent.at, call.deadline, held, repeatable=call.repeatable)
        passage = passage_of(call)
        passage.sent, passage.begun = sent, sent.at
        answer: Response = await self.frame.run(call, attempt=attempt)
        return answer

    def breaker(self, name: str) -> Breaker:
        """Make a breaker for this route."""
        settings = breaker_of(self._allowed)
        return Breaker(name, settings, jitter=self._shared.random, on_transition=self._moved)

    def stack(self, parts: list[Part], handler: Handler[Any, Any]) -> Stack:
        """Compile a part of this lane."""
        shared = self._shared
        name, judge = self.route.name, shared.judge
        return stack(name, OUTBOUND, parts, handler, judge=judge, clock=shared.clock)

    def statistics(self) -> dict[str, Any]:
        """Return the state of the service's breaker and of the one at each process."""
        return {
            "breaker": self.over.statistics(),
            "endpoints": {way.name: way.breaker.statistics() for way in self._ways},
        }

    async def _balanced(self, call: Call[Request]) -> Response:
        """Send one attempt to the process that is likeliest to answer soon.

        A process whose own gates refuse (its breaker on the ramp, its bulkhead full) costs no
        attempt: the next is asked, until every one has refused. Nor does one to which there is no
        connection, up to `ELSEWHERE` of them: nothing was sent, and a budget that is spent must not
        keep those shut that are well.
        """
        call = attempted(call) if self._keyed else call
        tried = call.trail.endpoints
        refused: list[Fault] = []
        unreached: list[Fault] = []
        early = _early(call)
        if early is not None:
            try:
                return await self._answered(early.way, call, early.at, early.conclude())
            except Fault as fault:
                _sort(fault, early.way, refused, unreached)
        for _ in self._usable:
            started = self._shared.clock()
            pick = self._shared.balancer.pick(self._usable, started, tried)
            if pick is None or ((refused or unreached) and pick.endpoint.name in tried):
                break
            way = pick.endpoint
            tried.append(way.name)
            way.in_flight += 1
            try:
                work = way.run(call, panic=pick.panic or self._unbroken)
                return await self._answered(way, call, started, work)
            except Fault as fault:
                _sort(fault, way, refused, unreached)
        raise unreached[-1] if unreached else self._none(refused)

    async def _answered(
        self, way: Way, call: Call[Request], started: float, work: Coroutine[Any, Any, Response]
    ) -> Response:
        """Await one attempt, and see who is to blame where it was late."""
        try:
            answer = await self._sent(way, call, started, work)
        except Fault as fault:
            if not _ours(fault):
                self._blame(fault, call)
            raise
        if answer.status == 504:
            self._blame_answer(answer, call)
        return answer

    async def _sent(
        self, way: Way, call: Call[Request], started: float, work: Coroutine[Any, Any, Response]
    ) -> Response:
        """Await one attempt, and learn how long it takes: from what was really sent alone."""
        flowing, took = False, self._allowed
        try:
            answer = await work
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
            after = min(fault.retry_after or 0.0 for fault in refused) or None
            detail = "; ".join(fault.detail for fault in refused)
            code, why = refused[0].code, refused[0].refusal
            return Fault(
                code, detail, effect=Effect.NONE, refusal=why, retry_after=after, origin=service
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
    def _ended(way: Way) -> None:
        way.in_flight -= 1


class Attempted(Protocol):
    """A first attempt that was made by hand: at which instant, on which way, and what came of it.

    `over` is the generation of the service's breaker. `conclude` settles the gates of the way, and
    returns or raises what the attempt came to.
    """

    at: float
    over: int
    way: Way

    async def conclude(self) -> Response: ...


def _early(call: Call[Request]) -> Attempted | None:
    """Take the attempt that was made already, once."""
    trail = call.trail
    if not isinstance(trail, Passage):
        return None
    early: Attempted | None = trail.sent
    trail.sent = None
    return early


def _sort(fault: Fault, way: Way, refused: list[Fault], unreached: list[Fault]) -> None:
    """Note why a process was not asked; raise what is to be said of one that was."""
    if _ours(fault):
        refused.append(fault)
        return
    nothing = fault.code is Code.UNAVAILABLE and fault.effect is Effect.NONE
    if not nothing or fault.refusal is not None or fault.origin != way.name:
        raise fault
    if len(unreached) == ELSEWHERE:
        raise fault
    unreached.append(fault)


def _ours(fault: Fault) -> bool:
    """Say whether a gate of ours refused: it names no origin, for nothing was sent anywhere."""
    return fault.refusal is not None and not fault.origin
