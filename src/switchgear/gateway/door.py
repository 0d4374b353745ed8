"""The door: what happens to a request between the client and the lane that answers it.

    shed -> address limit -> route -> [ deadline -> authenticate -> principal limit -> authorise ]
         -> lane

The part in brackets is compiled for each route. A fault that arises anywhere becomes one problem
document here, with the same headers as every other answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from switchgear.core.clock import FINE, Clock
from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler, Layer
from switchgear.core.stack import INBOUND, Part, Place, Stack, stack
from switchgear.gateway.client_address import ClientAddress, network_of
from switchgear.gateway.forward import inwards, outwards, request_id_of, trace_of
from switchgear.gateway.hurry import asked_for
from switchgear.gateway.settings import GatewaySettings, Limit
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Upstream
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, json_response
from switchgear.http.problem import FAULT_HEADER, fault_of, problem
from switchgear.http.stream import Whole
from switchgear.policy.bucket import BucketSettings, TokenBucket
from switchgear.policy.call import Call, Principal, Trail
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.gate import Gate
from switchgear.policy.route import Found, NoMethod, Route, Router

__all__ = ["Door", "Trust"]

Web = Handler[Request, Response]
LONGEST: Final = 300.0  # seconds; no route may take longer, so no client holds us for longer
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_NEVER: Final = frozenset({"TRACE", "CONNECT"})


class Trust(NamedTuple):
    """How the gateway proves who calls, and proves itself to services.

    `known` returns the principal of a bearer token that was verified before, `authenticate` that
    of any, or raises a fault. `mint` makes the internal token for (service, method, path, request
    id, principal).
    """

    known: Callable[[str], Principal | None]
    authenticate: Callable[[str], Awaitable[Principal]]
    mint: Callable[[str, str, str, str, Principal | None], str]


class _Onward(NamedTuple):
    """A route as it is run: its entry, its stack, and the lane behind."""

    entry: RouteEntry
    stack: Stack


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
        local: Mapping[str, Callable[[], tuple[int, object]]],
        shedder: Gate,
        clock: Clock = FINE,
    ) -> None:
        self._trust = trust
        self._settings = settings
        self._clock = clock
        self._clients = ClientAddress(settings.trusted_proxies)
        self._sign_in = self._bucket("sign-in limit", settings.sign_in)
        self._principals = self._bucket("principal limit", settings.principal)
        self._local = dict(local)
        self._upstreams = upstreams
        entries = list(routes)
        self._router: Router[_Onward] = Router(
            Route("*" if one.prefix else one.method, _template(one), self._onward(one))
            for one in entries
        )
        address = self._bucket("address limit", settings.address)
        parts = [Part(Place.SHED, shedder), Part(Place.ADDRESS_LIMIT, address)]
        self.gates: list[Gate] = [shedder, address, self._sign_in, self._principals]
        self.outer = stack("gateway", INBOUND, parts, self._routed, clock=clock)

    def intake(self, request: Request, now: float) -> Call[Request]:
        """Make the call of a request: the client by address, its trace, its latest deadline."""
        headers = request.headers
        asked = asked_for(headers)
        return Call(
            request,
            now + (LONGEST if asked is None else asked),
            repeatable=request.method in _REPEATABLE and isinstance(request.body, Whole),
            key=network_of(self._clients.of(request.peer, headers)),
            trace=trace_of(headers.get("traceparent")),
            trail=Trail(),
        )

    async def handler(self, call: Call[Request]) -> Response:
        """Answer one request; a fault becomes its problem document."""
        try:
            answer: Response = await self.outer.run(call)
        except Fault as fault:
            call.trail.fault = fault.code.value
            call.trail.detail = fault.detail
            answer = problem(fault)
        else:
            self._note(call.trail, answer)
        return self._dressed(call, answer)

    async def _routed(self, call: Call[Request]) -> Response:
        request = call.payload
        local = self._local.get(request.path)
        if local is not None and request.method in ("GET", "HEAD"):
            call.trail.route = f"GET {request.path}"
            status, body = local()
            return json_response(body, status)
        found = self._router.match(request.method, request.path)
        if not isinstance(found, Found) or request.method in _NEVER:
            raise _missing(request, found)
        onward = found.route.value
        entry = onward.entry
        call.trail.route = entry.name
        deadline = min(call.deadline, self._clock() + entry.deadline)
        answer: Response = await onward.stack.run(
            replace(call, deadline=deadline, priority=entry.priority)
        )
        return answer

    def _onward(self, entry: RouteEntry) -> _Onward:
        """Compile what stands before one route's lane."""
        upstream = self._upstreams.get(entry.service)
        if upstream is None:
            raise ValueError(f"route {entry.name}: there is no service {entry.service!r}")
        whole = Timeout(full=entry.deadline, limit=inf, share=1.0)
        parts: list[Part] = [Part(Place.DEADLINE, whole)]
        if entry.sign_in:
            parts.append(Part(Place.PRINCIPAL_LIMIT, self._sign_in))
        if not entry.public:
            parts.append(Part(Place.AUTHENTICATE, self._authenticated(entry)))
            parts.append(Part(Place.PRINCIPAL_LIMIT, self._principals))
        if entry.scope:
            parts.append(Part(Place.AUTHORISE, _authorised(entry.scope)))
        forward = self._forwarded(entry, upstream.lane(entry).run)
        return _Onward(entry, stack(entry.name, INBOUND, parts, forward, clock=self._clock))

    def _authenticated(self, entry: RouteEntry) -> Layer:
        """Prove who calls; from here on limits count by principal and route."""
        known, authenticate = self._trust.known, self._trust.authenticate

        def authenticated(inner: Handler[Any, Any]) -> Handler[Any, Any]:
            async def run(call: Call[Request]) -> Response:
                token = _bearer(call.payload.headers)
                principal = known(token) or await authenticate(token)
                key = f"{entry.name} {principal.tenant} {principal.subject}"
                answer: Response = await inner(replace(call, principal=principal, key=key))
                return answer

            return run

        return authenticated

    def _forwarded(self, entry: RouteEntry, lane: Web) -> Web:
        """Hand the request to the lane as one of our own: cleaned, named, signed."""
        mint, clients = self._trust.mint, self._clients

        async def forward(call: Call[Request]) -> Response:
            request, trace = call.payload, call.trace
            assert trace is not None  # noqa: S101 - intake gave it one
            headers = request.headers
            request_id = request_id_of(headers.get("x-request-id"), trace)
            peer = request.peer
            fields = inwards(
                headers,
                client=clients.of(peer, headers),
                scheme=_scheme(request, trusted=clients.trusts(peer)),
                request_id=request_id,
                trace=trace,
            )
            token = mint(entry.service, request.method, request.path, request_id, call.principal)
            fields.append(("switchgear-token", token))
            onward = replace(request, headers=Headers.parsed(fields, None))
            return await lane(replace(call, payload=onward))

        return forward

    def problem(self, fault: Fault) -> Response:
        """Answer what never became a call, or was a defect, as everything else is answered."""
        answer = problem(fault)
        answer.headers = outwards(answer.headers, [], secure=False)
        return answer

    @staticmethod
    def _note(trail: Trail, answer: Response) -> None:
        """Remember for the log which fault a service answered with."""
        if answer.status >= 400:
            fault = fault_of(answer, trusted=True)
            if fault is not None and FAULT_HEADER in answer.headers:
                trail.fault, trail.detail = fault.code.value, fault.detail

    def _dressed(self, call: Call[Request], answer: Response) -> Response:
        """Dress an answer for the outside."""
        request, trace = call.payload, call.trace
        assert trace is not None  # noqa: S101 - intake gave it one
        secure = _scheme(request, trusted=self._clients.trusts(request.peer)) == "https"
        own = [
            ("x-request-id", request_id_of(request.headers.get("x-request-id"), trace)),
            ("server-timing", f"upstream;dur={1000 * call.trail.upstream:.1f}"),
        ]
        answer.headers = outwards(answer.headers, own, secure=secure)
        return answer

    def _bucket(self, name: str, limit: Limit) -> TokenBucket:
        settings = BucketSettings(rate=limit.rate, burst=limit.burst, keys=self._settings.table)
        return TokenBucket(name, settings)


def _template(entry: RouteEntry) -> str:
    return f"{entry.path.rstrip('/')}/{{rest...}}" if entry.prefix else entry.path


def _scheme(request: Request, *, trusted: bool) -> str:
    told = request.headers.get("x-forwarded-proto") if trusted else None
    return told if told in ("http", "https") else request.scheme


def _bearer(headers: Headers) -> str:
    """Take the token from the Authorization header. Source: RFC 6750 section 2.1."""
    value = headers.get("authorization")
    if value is None:
        raise Fault(
            Code.UNAUTHENTICATED,
            "no Authorization header",
            effect=Effect.NONE,
            public="This needs a token: send Authorization: Bearer <token>.",
        )
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Fault(
            Code.UNAUTHENTICATED,
            f"the Authorization scheme is {scheme[:20]!r}, not Bearer",
            effect=Effect.NONE,
            public="This needs a token: send Authorization: Bearer <token>.",
        )
    return token.strip()


def _authorised(scope: str) -> Layer:
    """Let only principals through that were granted a scope."""

    def authorised(inner: Handler[Any, Any]) -> Handler[Any, Any]:
        async def run(call: Call[Request]) -> Response:
            principal = call.principal
            if principal is None or scope not in principal.scopes:
                raise Fault(
                    Code.PERMISSION_DENIED,
                    f"the token does not bear the scope {scope!r}",
                    effect=Effect.NONE,
                    public=f"Your token does not bear the scope {scope}.",
                )
            answer: Response = await inner(call)
            return answer

        return run

    return authorised


def _missing(request: Request, found: object) -> Fault:
    if isinstance(found, NoMethod):
        allow = ", ".join(found.allow)
        return Fault(
            Code.UNIMPLEMENTED,
            f"{request.path[:200]} takes {allow}, not {request.method}",
            effect=Effect.NONE,
            public=f"This takes {allow}, not {request.method}.",
            extra={"status": 405, "allow": list(found.allow)},
        )
    return Fault(Code.NOT_FOUND, f"no route takes {request.path[:200]}", effect=Effect.NONE)
