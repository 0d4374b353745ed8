"""The express way: what a gateway does with a request where nothing is amiss.

It is everything between the door and a process once more, for what nearly every request is: whole,
its route known, its token verified before, every gate open, a kept connection at hand, an answer
that is whole and well and in time. Then all of it is one coroutine that sleeps once, where the
general way is fourteen. (`bench/proxy` holds the figures.)

    all that is asked, nothing spent  ->  spent, sent  ->  well: written
                    | a doubt                                | anything else
                    v                                        v
              the general way, from its beginning      the general way, from that attempt on

What refuses is never here: it is the general way that says no, in its order and its words. A test
holds the two to one another, history by history.
"""

from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, Protocol

from switchgear.core.clock import Clock
from switchgear.core.delivery import dispatch
from switchgear.core.drivers import Stepper
from switchgear.core.permits import settle
from switchgear.gateway.forward import WHO
from switchgear.gateway.lane import Lane, Way
from switchgear.gateway.notes import Inward, inward, outward
from switchgear.gateway.onward import FIRST, Trust, Web, key_of, owned
from switchgear.gateway.passage import NOBODY, Passage
from switchgear.gateway.sent import Sent
from switchgear.gateway.table import RouteEntry
from switchgear.http.exchange import Exchange
from switchgear.http.message import Request, Response
from switchgear.http.outgoing import framed
from switchgear.http.pool import Pool, deadline_line
from switchgear.http.stream import Whole
from switchgear.identity.internal import Vouched
from switchgear.identity.tokens import Verified
from switchgear.policy.bucket import TokenBucket
from switchgear.policy.call import Call
from switchgear.policy.gate import Permit
from switchgear.policy.remaining import HEADER
from switchgear.policy.shedder import Shedder
from switchgear.policy.verdict import GOOD

__all__ = ["Express", "Gates"]

# An answer to HEAD tells of a body that is not there; the others no route takes, whatever it says.
_ELSEWHERE: Final = frozenset({"HEAD", "OPTIONS", "TRACE", "CONNECT"})


class Door(Protocol):
    """What is behind: the general way, and what it makes of an outcome for the client."""

    async def handler(self, call: Call[Request], /) -> Response: ...
    async def answered(
        self, call: Call[Request], work: Coroutine[Any, Any, Response], /
    ) -> Response: ...


class Gates(NamedTuple):
    """What all routes of a door have in common."""

    shedder: Shedder
    address: TokenBucket
    principal: TokenBucket
    trust: Trust
    clock: Clock
    shared: bool


class Express:
    """The express way of one route. `send` is where all is asked."""

    def __init__(self, entry: RouteEntry, lane: Lane, gates: Gates) -> None:
        self.lane = lane
        self.own = owned(entry, gates.trust)
        self._name = entry.name
        self._public = entry.public
        self._scope = entry.scope
        self._service = entry.service
        self._shedder, self._address, self._principal, trust, self._clock, self._shared = gates
        self._recall, self._mint = trust.recall, trust.mint
        timeout = lane.timeout
        self._longest, self._share = timeout.limit, timeout.share

    def send(self, call: Call[Request], stepper: Stepper) -> Sent | None:
        """Send a request on its way; None where any part of the general way has to be asked."""
        request = call.payload
        body = request.body
        if (
            self._shedder.level
            or body.__class__ is not Whole
            or request.upgrade
            or request.method in _ELSEWHERE
        ):
            return None
        notes = inward(request.headers)
        if not notes.plain or notes.host is None:
            return None
        now = self._clock()
        toll = self._address.price(call.key, now)
        if toll is None:  # nobody looks at the token of who is held off
            return None
        passage: Passage = call.trail  # type: ignore[assignment]  # the door's intake made it
        verified: Verified | None = None
        key, due = "", 0.0
        if not self._public:
            verified = passage.verified = self._recall(notes.digest)
            if verified is None or (self._scope and self._scope not in verified.principal.scopes):
                return None
            key = key_of(self._name, verified.principal)
            price = self._principal.price(key, now)
            if price is None:
                return None
            due = price
        until = call.deadline - FIRST
        way = self.lane.swift(now)
        if way is None or until <= now:
            return None
        pool = way.process.pool
        if not isinstance(pool, Pool) or pool.stamp is not deadline_line:
            return None
        limit = until
        if call.repeatable:
            limit = min(until, now + min((until - now) * self._share, self._longest))
        vouched = NOBODY if verified is None else verified.vouched
        wire = self._wire(call, notes, passage, vouched, limit - now)
        connection = pool.take(repeatable=call.repeatable)
        if connection is None:
            return None
        # Nothing refuses from here on: it is spent, and sent.
        self._shedder.waved += 1
        self._address.pay(call.key, toll, now)
        if key:
            self._principal.pay(key, due, now)
        passage.vouched = vouched
        passage.attempts = 1
        passage.endpoints.append(way.name)
        sent = self._spend(way, call, now, limit, stepper)
        sent.connection, sent.wire = connection, wire
        sweep = pool.sweep
        slot = sweep.slot if sweep.start <= limit < sweep.end else sweep.slot_of(limit)
        slot.add(sent)
        sent.slot = slot
        pool.counters.requests += 1
        connection.launch(sent.waiter, call, wire, limit)
        return sent

    def _wire(
        self, call: Call[Request], notes: Inward, passage: Passage, vouched: Vouched, left: float
    ) -> bytes:
        """Write what is sent: as `owned` and the pool would, line by line.

        Each part was read strictly, or is our own, so that none of it can break out of its line.
        """
        request, trace = call.payload, call.trace
        assert trace is not None  # noqa: S101 - intake gave it one
        method, path, name = request.method, request.path, passage.request_id
        token = self._mint(vouched, self._service, method, path, name)
        query = f"?{request.query}" if request.query else ""
        flags = "01" if trace.sampled else "00"
        head = (
            f"{method} {path}{query} HTTP/1.1\r\n{notes.lines}"
            f"x-forwarded-for: {request.peer}\r\nx-forwarded-host: {notes.host}\r\n"
            f"x-forwarded-proto: {request.scheme}\r\nx-request-id: {name}\r\n"
            f"traceparent: 00-{trace.trace_id}-{trace.span_id}-{flags}\r\n"
            f"via: 1.{request.minor} {WHO}\r\nswitchgear-token: {token}\r\n"
            f"{HEADER}: {int(left * 1000)}\r\n"
        ).encode("latin-1")
        body: Whole = request.body  # type: ignore[assignment]  # `send` has looked
        return framed(head, method, body.data)

    def _spend(
        self, way: Way, call: Call[Request], now: float, limit: float, stepper: Stepper
    ) -> Sent:
        """Pass the gates of the lane by hand, all of which are open."""
        budget = self.lane.frame.budget
        if budget is not None:
            if now < budget.edge:
                budget.fresh += 1
            else:
                budget.deposit(now)
        over, breaker, bulkhead = self.lane.over, way.breaker, way.process.bulkhead
        over.admitted += 1
        breaker.admitted += 1
        bulkhead.entered += 1
        way.in_flight += 1
        return Sent(way, call, now, limit, stepper, over.generation)

    async def run(self, exchange: Exchange, door: Door) -> None:
        """Answer one exchange: send it, and write what comes of it; else `door` does."""
        stepper = exchange.stepper
        sent: Sent | None = None
        broken: Exception | None = None
        try:
            if stepper is not None:
                sent = self.send(exchange.call, stepper)
        except Exception as defect:  # noqa: BLE001 - nobody else would answer the client
            broken = defect
        if sent is None:
            await dispatch(door.handler if broken is None else _broken(broken), exchange)
            return
        exchange.begin(sent.work)
        connection = sent.connection
        try:
            sent.answer = await sent.waiter
        except BaseException as error:  # noqa: BLE001 - the lane takes it from here
            sent.error = error
        if sent.error is not None:
            connection.recall(sent.waiter)
            if sent.call.repeatable and connection.stale(sent.error):
                sent.error = None
                try:
                    sent.answer = await connection.pool.again(sent.call, sent.wire, sent.limit)
                except BaseException as error:  # noqa: BLE001 - as above
                    sent.error = error
        answer = sent.answer
        if sent.slot is not None:  # it has rung twice where the loop was busy behind the first time
            sent.slot.discard(sent)
        if sent.rings:
            sent.off()
        elif answer is not None and answer.__class__ is Response and answer.status < 400:
            self._well(sent, answer, exchange)
            return
        if isinstance(sent.error, GeneratorExit):  # its driver was thrown away
            await self._rest(sent)
        await dispatch(lambda call: door.answered(call, self._rest(sent)), exchange)

    async def _rest(self, sent: Sent) -> Response:
        """Go on the general way, from the end of the attempt on."""
        return await self.lane.resume(self.own(sent.call), sent)

    def _well(self, sent: Sent, answer: Response, exchange: Exchange) -> None:
        """Learn of an answer that is well, and write it."""
        now, at, way = self._clock(), sent.at, sent.way
        took = now - at
        bulkhead = way.process.bulkhead
        if bulkhead.queued:
            settle((bulkhead, bulkhead.named(at, sent.limit), None), GOOD, now)
        else:
            bulkhead.most += 1
        breaker, over = way.breaker, self.lane.over
        epoch = sent.epoch
        if epoch == breaker.generation and now < breaker.edge and took <= breaker.slow_after:
            breaker.fresh += 1
        else:
            settle((breaker, Permit(at, epoch), None), GOOD, now)
        epoch = sent.over
        if epoch == over.generation and now < over.edge and took <= over.slow_after:
            over.fresh += 1
        else:
            settle((over, Permit(at, epoch), None), GOOD, now)
        way.frame.tally.good += 1
        self.lane.frame.tally.good += 1
        way.in_flight -= 1
        way.ewma.observe(took, now)
        passage: Passage = exchange.call.trail  # type: ignore[assignment]  # as `send` has it
        passage.upstream += took
        tenths = int(took * 10_000 + 0.5)  # of milliseconds; to have them formatted costs 0.5 us
        notes = outward(answer.headers, shared=self._shared)
        lines = notes.https if exchange.call.payload.scheme == "https" else notes.http
        spent = f"{tenths // 10}.{tenths % 10}"
        own = (
            f"x-request-id: {passage.request_id}\r\nserver-timing: upstream;dur={spent}\r\n"
        ).encode("ascii")
        exchange.answer(answer.status, lines + own, answer.body, dated=notes.dated)


def _broken(defect: Exception) -> Web:
    """Make a handler that fails by what has failed before it."""

    async def run(_: Call[Request]) -> Response:
        raise defect

    return run
