"""Onward: what stands between the door and the lane of one route, compiled once for it.

    deadline -> cross-site -> sign-in limit | authenticate -> principal limit -> authorise
        -> forward -> lane

What a route does not need is not there: a public one knows no principal.
"""

from collections.abc import Awaitable, Callable, Collection
from math import inf
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from switchgear.core.clock import Clock
from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler, Layer
from switchgear.core.stack import INBOUND, Part, Place, Stack, stack
from switchgear.gateway.csrf import Csrf
from switchgear.gateway.forward import hops_left, inwards
from switchgear.gateway.notes import inward
from switchgear.gateway.passage import passage_of
from switchgear.gateway.table import RouteEntry
from switchgear.http.handshake import check_origin, check_request
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.identity.internal import Vouched
from switchgear.identity.revocations import Revocations
from switchgear.identity.tokens import Verified, bearer
from switchgear.policy.call import Call, Principal
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.gate import Gate

__all__ = ["FIRST", "Limits", "Trust", "Web", "client_of", "key_of", "onward", "owned"]

Web = Handler[Request, Response]

# The lane's time is over before ours, by more than two alarms can be mixed up (seconds): called off
# by us, it could not tell a service that hangs from a client that leaves.
FIRST: Final = 0.025


class Trust(NamedTuple):
    """How the gateway proves who calls, and proves itself to services.

    `recall` returns what a bearer token that was verified before says, by its digest,
    `authenticate` what any says, or raises a fault. `mint` makes the internal token for (what we
    vouch for, service, method, path, request id). `revocations` end what outlasts its token.
    """

    recall: Callable[[bytes | None], Verified | None]
    authenticate: Callable[[str], Awaitable[Verified]]
    mint: Callable[[Vouched, str, str, str, str], str]
    revocations: Revocations | None = None


class Limits(NamedTuple):
    """The limits that some routes have: for who signs in, and for who has."""

    sign_in: Gate
    principal: Gate


def onward(
    entry: RouteEntry,
    lane: Web,
    trust: Trust,
    limits: Limits,
    clock: Clock,
    csrf: Csrf,
) -> Stack:
    """Compile what stands before one route's lane."""
    parts: list[Part] = [Part(Place.DEADLINE, Timeout(full=entry.deadline, limit=inf, share=1.0))]
    if csrf.mode != "off":
        parts.append(Part(Place.CROSS_SITE, csrf.guarding(entry)))
    if entry.sign_in:
        parts.append(Part(Place.PRINCIPAL_LIMIT, limits.sign_in))
    if not entry.public:
        parts.append(Part(Place.AUTHENTICATE, _authenticated(entry.name, trust)))
        parts.append(Part(Place.PRINCIPAL_LIMIT, limits.principal))
    if entry.scope:
        parts.append(Part(Place.AUTHORISE, _authorised(entry.scope)))
    return stack(
        entry.name, INBOUND, parts, _forwarded(entry, lane, trust, csrf.origins), clock=clock
    )


def _authenticated(route: str, trust: Trust) -> Layer:
    """Prove who calls; from here on limits count by principal and route."""
    recall, authenticate = trust.recall, trust.authenticate

    def authenticated(inner: Handler[Any, Any]) -> Handler[Any, Any]:
        async def run(call: Call[Request]) -> Response:
            passage = passage_of(call)
            verified = passage.verified
            if verified is None:
                headers = call.payload.headers
                token = bearer(headers.get("authorization"))
                verified = recall(inward(headers).digest) or await authenticate(token)
                passage.verified = verified
            passage.vouched = verified.vouched
            who = verified.principal
            key = key_of(route, who)
            answer: Response = await inner(replace(call, principal=who, key=key))
            return answer

        return run

    return authenticated


def key_of(route: str, who: Principal) -> str:
    """Return by what the limits count a principal: on each route alone."""
    return f"{route}\0{who.tenant}\0{who.subject}"  # which no two others come to


def client_of(key: str) -> str:
    """Return whom a call is for by its key, whatever the route: a principal, or an address."""
    return key.partition("\0")[2] or key


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


def _forwarded(entry: RouteEntry, lane: Web, trust: Trust, origins: Collection[str]) -> Web:
    """Hand the request to the lane as one of our own."""
    own, speaks = owned(entry, trust), entry.prefix

    async def forward(call: Call[Request]) -> Response:
        request = call.payload
        if hops_left(request) == 0:
            return Response(204)  # it asks whoever it has come to, and that is us
        if request.upgrade and speaks:
            check_request(request)
            check_origin(request, origins, own=True)
        return await lane(own(call))

    return forward


def owned(entry: RouteEntry, trust: Trust) -> Callable[[Call[Request]], Call[Request]]:
    """Make what turns a call into one of our own: cleaned, named, signed."""
    mint, service, speaks = trust.mint, entry.service, entry.prefix

    def own(call: Call[Request]) -> Call[Request]:
        request, trace, passage = call.payload, call.trace, passage_of(call)
        assert trace is not None  # noqa: S101 - intake gave it one
        name = passage.request_id
        fields = inwards(request, name, trace)
        token = mint(passage.vouched, service, request.method, request.path, name)
        fields.append(("switchgear-token", token))
        # Only an application of its own may change the protocol: an endpoint answers requests.
        upgrade = request.upgrade if speaks else ""
        sent = replace(request, headers=Headers.parsed(fields, None), upgrade=upgrade)
        return replace(call, payload=sent, deadline=call.deadline - FIRST)

    return own
