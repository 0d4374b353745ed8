"""The door: what happens to a request between the client and the lane that answers it.

    shed -> address limit -> preflight -> [ what the route's own stack does ] -> lane

Where a request goes is looked up before it is let in, since its priority and its deadline
hang on that; that there is no such route is said only to who was let in. A fault that arises
anywhere becomes one problem document here, with the same headers as every other answer.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from math import ceil
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from switchgear.core.clock import FINE, Clock
from switchgear.core.delivery import dispatch
from switchgear.core.stack import INBOUND, Part, Place, Stack, stack
from switchgear.gateway.client_address import ClientAddress
from switchgear.gateway.cors import Cors
from switchgear.gateway.csrf import Csrf, Refused
from switchgear.gateway.express import Express, Gates
from switchgear.gateway.forward import named_by, outwards, stripped, trace_of
from switchgear.gateway.notes import inward, new_trace
from switchgear.gateway.onward import Limits, Trust, Web, onward
from switchgear.gateway.outlasting import outlasting
from switchgear.gateway.parts import Parts
from switchgear.gateway.passage import Passage, passage_of
from switchgear.gateway.settings import GatewaySettings, Limit
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Upstream
from switchgear.http.exchange import Exchange
from switchgear.http.headers import Headers
from switchgear.http.limits import network_of
from switchgear.http.message import NOTHING, Request, Response, json_response
from switchgear.http.methods import REPEATABLE
from switchgear.http.problem import FAULT_HEADER, fault_of, problem
from switchgear.http.refusals import refuse
from switchgear.http.stream import Whole
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault, Refusal
from switchgear.policy.gate import Gate
from switchgear.policy.route import NoMethod, NoRoute, Route, Router
from switchgear.policy.shedder import Shedder

__all__ = ["Door", "Local"]

Local = Callable[[], tuple[int, object]]
"""What this process answers itself: a status, and what is written as JSON."""

_BRIEF: Final = 3.0  # seconds for what no route takes, or this process answers itself
_MIDDLING: Final = 5  # the priority of what no route takes
_NEVER: Final = frozenset({"TRACE", "CONNECT"})


class _Way(NamedTuple):
    """Where a route leads, and what is known of it before anybody is let in."""

    name: str
    deadline: float
    priority: int
    run: Web
    express: Express | None = None
    setting: str = ""
    parts: "Parts[_Way] | None" = None


class Door:
    """Answer every request that reaches the gateway. `handler` is what a server serves.

    `upstreams` are the services by name, `local` what this process answers itself, by path.
    Raises ValueError for a route to a service that is not there, or two that claim one path.
    """

    def __init__(
        self,
        routes: Iterable[RouteEntry],
        upstreams: Mapping[str, Upstream],
        trust: Trust,
        settings: GatewaySettings,
        *,
        local: Mapping[str, Local],
        shedder: Gate,
        clock: Clock = FINE,
    ) -> None:
        self._clients = ClientAddress(settings.trusted_proxies)
        self._upstreams = upstreams
        self._trust = trust
        self._clock = clock
        self.refused: Refused | None = None  # is told of who is refused for what a browser says
        self._csrf = Csrf(settings, self._tell)
        self._cors = Cors(settings, self._takes, self._tell) if settings.origins else None

        def bucket(name: str, limit: Limit) -> TokenBucket:
            return TokenBucket(name, BucketSettings(limit.rate, limit.burst, settings.table))

        address = bucket("address limit", settings.address)
        principal = bucket("principal limit", settings.principal)
        self._limits = Limits(bucket("sign-in limit", settings.sign_in), principal)
        self.gates: tuple[Gate, ...] = (shedder, address, *self._limits)
        self._swift = None
        if isinstance(shedder, Shedder):
            self._swift = Gates(shedder, address, principal, trust, clock, self._cors is not None)
        self.inner: dict[str, Stack] = {}
        ways = [Route("GET", path, _local(path, answer)) for path, answer in local.items()]
        for entry in routes:
            way = self._way(entry)
            ways += [Route(method, template, way) for method, template in entry.templates]
        self._router: Router[_Way] = Router(ways)
        parts = [Part(Place.SHED, shedder), Part(Place.ADDRESS_LIMIT, address)]
        if self._cors is not None:
            parts.append(Part(Place.PREFLIGHT, self._cors.answering()))
        self.outer = stack("gateway", INBOUND, parts, _routed, clock=clock)

    def intake(self, request: Request, now: float) -> Call[Request]:
        """Make the call of a request: whose it is by address, where it leads, until when."""
        headers = request.headers
        client = self._clients.of(request.peer, headers)
        if client is not None:
            told = headers.get("x-forwarded-proto")
            scheme = told if told in ("http", "https") else request.scheme
            request = replace(request, peer=client, scheme=scheme)
        if request.target[:1] != "/":
            request = _at_its_word(request)
            headers = request.headers
        notes = inward(headers)
        parent, request_id = notes.traceparent, notes.request_id
        trace = new_trace() if parent is None else trace_of(parent)
        if request_id is None:
            request_id = named_by(trace)
        way = self._router.lead(request.method, request.path)
        name, within, priority = "", _BRIEF, _MIDDLING
        if isinstance(way, _Way):
            if way.parts is not None:
                way = way.parts.of(request.method, request.path) or way
            name, within, priority = way.name, way.deadline, way.priority
        asked = notes.asked
        return Call(
            request,
            now + (within if asked is None or asked > within else asked),
            1,
            request.method in REPEATABLE and isinstance(request.body, Whole),
            network_of(request.peer),
            priority,
            None,
            trace,
            Passage(name, way, request_id),
        )

    def run(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer one exchange, by the express way where nothing is amiss: what a server runs."""
        way = passage_of(exchange.call).way
        if way.__class__ is _Way and way.express is not None:
            return way.express.run(exchange, self)
        return dispatch(self.handler, exchange)

    async def handler(self, call: Call[Request]) -> Response:
        """Answer one request; a fault becomes its problem document."""
        return await self.answered(call, self.outer.run(call))

    async def answered(self, call: Call[Request], work: Coroutine[Any, Any, Response]) -> Response:
        """Make of what a call has come to what its client sees."""
        passage = passage_of(call)
        try:
            answer = await work
        except Fault as fault:
            self._failed(call, fault)
            _note(passage, fault)
            answer = _refusal(fault)
        else:
            if answer.status >= 500:
                self._failed(call, answer)
            if answer.__class__ is not Response:
                self._outlasts(passage, answer)
            if answer.status == 101:  # a session: the handshake was the call, and is over
                session: Response = answer.body
                self._outlasts(passage, session)
                session.headers = Headers.parsed(stripped(session.headers), None)
                return session
            if answer.status >= 400 and FAULT_HEADER in answer.headers:
                told = fault_of(answer, trusted=True)
                if told is not None:
                    _note(passage, told)
        own = [
            ("x-request-id", passage.request_id),
            ("server-timing", f"upstream;dur={1000 * passage.upstream:.1f}"),
        ]
        cors, secure = self._cors, call.payload.scheme == "https"
        if cors is not None:
            own += cors.marks(call.payload, answer.headers, own)
        answer.headers = outwards(answer.headers, own, secure=secure, shared=cors is not None)
        return answer

    def problem(self, fault: Fault, asked: Headers) -> Response:
        """Answer what never became a call, or was a defect, as everything else is answered.

        `asked` are the client's fields, where they could be read: it may be a page.
        """
        answer = problem(fault)
        cors = self._cors
        own = [] if cors is None else cors.marks(Request("", "", "", asked), answer.headers, [])
        answer.headers = outwards(answer.headers, own, secure=False, shared=cors is not None)
        return answer

    def full(self) -> bytes:
        """Write what a connection over the cap is told before it is closed."""
        fault = Fault(Code.UNAVAILABLE, effect=Effect.NONE, refusal=Refusal.FULL, retry_after=1.0)
        answer = self.problem(fault, NOTHING)
        head = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(answer.body)
        return head + answer.headers.wire() + length + bytes(answer.body)

    def _failed(self, call: Call[Request], outcome: Response | Fault) -> None:
        """Tell the mount, if it was one, what came of a call."""
        way = passage_of(call).way
        if way.__class__ is _Way and way.parts is not None:
            way.parts.failed(call.payload.method, call.payload.path, outcome)

    def _outlasts(self, passage: Passage, answer: Response) -> None:
        """Have what goes on behind its token end with the session."""
        verified, revocations = passage.verified, self._trust.revocations
        if verified is not None and revocations is not None:
            outlasting(answer, verified, revocations)

    def _takes(self, path: str) -> tuple[str, ...] | None:
        """Return the methods that lead on from a path, none for any, None where nothing is."""
        way = self._router.lead("", path)
        if isinstance(way, NoMethod):
            return way.allow
        # No route is of no method: one that is found all the same takes any.
        return () if isinstance(way, _Way) else None

    def _tell(self, peer: str, reason: str, status: int, detail: str) -> None:
        if self.refused is not None:
            self.refused(peer, reason, status, detail)

    def _way(self, entry: RouteEntry) -> _Way:
        upstream = self._upstreams.get(entry.service)
        if upstream is None:
            raise ValueError(f"route {entry.name}: there is no service {entry.service!r}")
        whole, inner = self._by(entry, upstream)
        self.inner[entry.name] = inner
        if not entry.prefix:
            return whole
        parts = Parts(lambda part: self._by(entry, upstream, part)[0], upstream.lane(entry).forgive)
        return whole._replace(parts=parts)

    def _by(self, entry: RouteEntry, upstream: Upstream, part: str = "") -> tuple[_Way, Stack]:
        """Make the way by one lane, and what stands on it."""
        lane = upstream.lane(entry, part=part)
        inner = onward(entry, lane.run, self._trust, self._limits, self._clock, self._csrf)
        express = None
        if self._swift is not None and not entry.sign_in:
            express = Express(entry, lane, self._swift)
        way = _Way(entry.name, entry.deadline, entry.priority, inner.run, express, entry.setting)
        return way, inner


def _at_its_word(request: Request) -> Request:
    """Take what an absolute target says of itself: its host is the request's, and its scheme true.

    Raises Fault (421) for https that came in the clear. Source: RFC 9112 section 3.2.2, RFC 9110
    section 7.4.
    """
    scheme, absolute, rest = request.target.partition("://")
    if absolute and scheme.lower() == "https" and request.scheme != "https":
        raise refuse("target", "a target of https came in the clear", status=421)
    if not absolute or "host" in request.headers:
        return request
    host = rest.partition("/")[0].partition("?")[0]
    return replace(request, headers=request.headers.also({"host": host}))


def _local(path: str, answer: Local) -> _Way:
    async def run(_: Call[Request]) -> Response:
        status, body = answer()
        return json_response(body, status)

    return _Way(f"GET {path}", _BRIEF, _MIDDLING, run)


async def _routed(call: Call[Request]) -> Response:
    """Go where the door has found that the request leads."""
    way = passage_of(call).way
    if isinstance(way, _Way) and call.payload.method not in _NEVER:
        answer: Response = await way.run(call)
        return answer
    raise _missing(call.payload, way)


def _note(passage: Passage, fault: Fault) -> None:
    """Note a fault for the log: of a deadline that nobody declared, where to set it, too."""
    passage.fault, passage.detail = fault.code.value, fault.detail
    way = passage.way
    if fault.code is Code.DEADLINE_EXCEEDED and isinstance(way, _Way) and way.setting:
        passage.detail += f"; the route's deadline is {way.setting}: {way.deadline:g} s"


def _missing(request: Request, way: _Way | NoMethod | NoRoute) -> Fault:
    path, method = request.path[:200], request.method
    if isinstance(way, NoMethod):
        allow = ", ".join(way.allow)
        return Fault(
            Code.UNIMPLEMENTED,
            f"{path} takes {allow}, not {method}",
            effect=Effect.NONE,
            public=f"This takes {allow}, not {method}.",
            extra={"status": 405, "allow": list(way.allow)},
        )
    if isinstance(way, _Way):
        return Fault(Code.UNIMPLEMENTED, f"{method} is served nowhere", effect=Effect.NONE)
    return Fault(Code.NOT_FOUND, f"no route takes {path}", effect=Effect.NONE)


def _refusal(fault: Fault) -> Response:
    """Answer a fault that arose here. Which rule an upstream broke is ours to know."""
    if fault.origin and "reason" in fault.extra:
        fault.extra = {name: value for name, value in fault.extra.items() if name != "reason"}
    answer = problem(fault)
    if fault.refusal is Refusal.LIMITED and fault.retry_after is not None:
        # In the words of draft-ietf-httpapi-ratelimit-headers: none remain, for so long.
        left = f'"default";r=0;t={max(0, ceil(fault.retry_after))}'
        answer.headers = answer.headers.also({"ratelimit": left})
    return answer
