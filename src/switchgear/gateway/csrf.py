"""Cross-site requests: what a page of another site must not have a browser do (rule 38).

A browser adds cookies to what any page makes it send. So a request that changes something, and that
a browser says comes from another site, is refused where it carries what a browser adds by itself:

    safe method, or not from afar   ->  on       (no browser says so, or one says that it is ours)
    a listed origin, the host's own ->  on
    cookies, or a password          ->  403      (a bearer token is the page's own to send)
    to a mounted application that is
    public, and a form could send it -> 403      (signing in, and what trusts its network)
    else                            ->  on

Source: https://words.filippo.io/csrf and net/http.CrossOriginProtection, which also go by
Sec-Fetch-Site, and by Origin where that is missing; OWASP CSRF Prevention Cheat Sheet, "Fetch
Metadata Headers".
"""

from collections.abc import Callable
from typing import Any, Final

from switchgear.core.handler import Handler, Layer
from switchgear.gateway.notes import inward
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.http.handshake import is_own
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.http.methods import SAFE
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.route import Found, Route, Router

__all__ = ["Csrf", "Refused"]

Refused = Callable[[str, str, int, str], None]
"""Is told of each refusal: the peer, the reason, the status (0: let through all the same), why."""

# What a form can send, and a script without asking first. Source: Fetch, "CORS-safelisted".
_OF_FORMS: Final = frozenset(
    {"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)


class Csrf:
    """Make the layer of each route that tells forged requests from others.

    `refused` is told of each that was. The exempt paths are matched as routes are, on the path
    that is routed and forwarded: no other way of writing it is exempt. `origins` are the listed.
    """

    def __init__(self, settings: GatewaySettings, refused: Refused) -> None:
        self.mode = settings.csrf.mode
        self._enforced = self.mode == "enforce"
        self.origins = frozenset(settings.origins)
        self._any = "*" in self.origins
        self._exempt = Router(Route("*", path, True) for path in settings.csrf.exempt)
        self._refused = refused

    def guarding(self, entry: RouteEntry) -> Layer:
        """Make the layer of one route."""
        # What an application of its own takes for proof is not known here: it may be the address.
        trusting = entry.public and entry.prefix

        def guarded(inner: Handler[Any, Any]) -> Handler[Any, Any]:
            async def run(call: Call[Request]) -> Response:
                request = call.payload
                if request.method not in SAFE and inward(request.headers).afar:
                    self._look(request, trusting=trusting)
                answer: Response = await inner(call)
                return answer

            return run

        return guarded

    def _look(self, request: Request, *, trusting: bool) -> None:
        """Let a request from afar go on, or raise the fault that refuses it."""
        headers = request.headers
        if self._invited(request):
            return
        bears = _borne(headers)
        if not bears:
            if not (trusting and _form_like(request)) or self._any:
                return
            bears = "what a form could send"
        if isinstance(self._exempt.match(request.method, request.path), Found):
            return
        detail = f"a page of {_whose(headers)} sends {request.method} with {bears}"
        if not self._enforced:
            self._refused(request.peer, "cross-site-observed", 0, detail)
            return
        self._refused(request.peer, "cross-site", 403, detail)
        raise Fault(
            Code.PERMISSION_DENIED,
            f"{detail}: allowed are gateway.origins, and any on the paths of gateway.csrf.exempt",
            effect=Effect.NONE,
            public="A page of another site may not do this.",
            extra={"reason": "cross-site"},
        )

    def _invited(self, request: Request) -> bool:
        """Say whether it is a listed page that asks, or, where no browser says it is not, our own.

        A browser that speaks of another site while the origin has our host means its scheme: a page
        that came in the clear may be anybody's.
        """
        origin = request.headers.get("origin")
        if origin is None:
            return False
        if origin in self.origins:
            return True
        return request.headers.get("sec-fetch-site") is None and is_own(origin, request)


def _borne(headers: Headers) -> str:
    """Name what a browser adds by itself; nothing where all that is there is the page's own."""
    if headers.get("cookie") is not None:
        return "cookies"
    given = headers.get("authorization")
    if given is not None and given[:7].lower() != "bearer ":
        return "a password"  # or a ticket: Basic, Digest and Negotiate are the browser's own
    return ""


def _form_like(request: Request) -> bool:
    """Say whether a page can send it without a preflight, which whoever reads it has allowed."""
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    plain = request.headers.get("authorization") is None
    return plain and request.method == "POST" and kind in _OF_FORMS


def _whose(headers: Headers) -> str:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    told = "no origin" if origin is None else f"the origin {origin[:80]!r}"
    return told if site is None else f"{told} ({site[:20]})"
