"""CORS: which pages of other origins may call and read, and how they are told (rule 38).

There is one owner. Where `gateway.origins` lists any, it is the gateway: one list says who may
call, read, open WebSockets and spend cookies, and refusals say so too, which no application behind
can write. What such an application says itself of CORS is left out then: of two values of one field
a browser believes none. Where none is listed, the gateway says nothing, and the application's word
(a preflight's answer, too) passes as it stands.

    OPTIONS, Origin, Access-Control-Request-Method -> answered here, by what the router knows
    anything else                                  -> goes its way; its answer is marked

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Callable
from typing import Any, Final

from switchgear.core.handler import Handler, Layer
from switchgear.gateway.csrf import Refused
from switchgear.gateway.forward import PROTECTIVE, stripped
from switchgear.gateway.notes import inward
from switchgear.gateway.settings import GatewaySettings
from switchgear.http.handshake import is_own
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response
from switchgear.http.methods import METHODS
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["Cors"]

Pairs = list[tuple[str, str]]

# As the server reads them, and no more than it would take.
_METHOD: Final = re.compile(r"(?!(?:TRACE|CONNECT)\Z)[A-Z][A-Z0-9_-]{0,31}")
_NAME: Final = re.compile(r"[!#$%&'+\-.^_`|~0-9a-z]+")  # without "*", which would be all
_RESOURCE: Final = "cross-origin-resource-policy"
# What a page reads of any answer, or of none; and what is for the browser alone.
_UNTOLD: Final = frozenset(
    {
        "cache-control", "content-language", "content-length", "content-security-policy",
        "content-type", "expires", "last-modified", "pragma", "set-cookie", "set-cookie2",
        "strict-transport-security", "vary", *(name for name, _ in PROTECTIVE),
    }
)  # fmt: skip


class Cors:
    """Answer preflights, and mark answers for pages of listed origins.

    `takes` returns the methods that a path takes, none where it takes any, and None where there is
    no such path. `refused` is told of each that was.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        takes: Callable[[str], tuple[str, ...] | None],
        refused: Refused,
    ) -> None:
        self._listed = frozenset(settings.origins) - {"*"}
        self._any = "*" in settings.origins
        self._credentials = settings.cors.credentials
        self._max_age = str(int(settings.cors.max_age))
        self._takes = takes
        self._refused = refused

    def answering(self) -> Layer:
        """Make the layer that answers preflights.

        They bear no credentials, so that they are answered before any are asked for. One from an
        origin that is not listed is refused, and not answered without a word: a browser treats both
        alike, and only a refusal is counted and told of.
        """

        def preflighted(inner: Handler[Any, Any]) -> Handler[Any, Any]:
            async def run(call: Call[Request]) -> Response:
                request = call.payload
                if _asks_first(request) and self._concerns(request):
                    return self._preflight(request)
                answer: Response = await inner(call)
                return answer

            return run

        return preflighted

    def marks(self, request: Request, headers: Headers, own: Pairs) -> Pairs:
        """Return what the answer with `headers`, and `own` beside them, says to the page that asks.

        Nothing to a page that is not listed, nor to one of our own. What else an answer needs for
        it (Vary, and nothing of an application's) it has whoever asks: see `outwards`.
        """
        if not inward(request.headers).afar:
            return []
        allowed = self._allowed(request.headers.get("origin"))
        if not allowed:
            return []
        told = [("access-control-allow-origin", allowed)]
        if self._credentials:
            told.append(("access-control-allow-credentials", "true"))
        if _RESOURCE not in headers:
            # By ours, a listed page that posts by no-cors would take it for not done.
            told.append((_RESOURCE, "cross-origin"))
        if not _asks_first(request):
            named = dict.fromkeys(name for name, _ in (*stripped(headers), *own))
            exposed = ", ".join(name for name in named if _told(name))
            return [*told, ("access-control-expose-headers", exposed)]
        takes = headers.get("allow")
        if takes is not None:  # it was answered here
            told += (
                ("access-control-allow-methods", takes),
                ("access-control-max-age", self._max_age),
            )
            sent = _crossing(request.headers.tokens("access-control-request-headers"))
            if sent:
                told.append(("access-control-allow-headers", ", ".join(sent)))
        return told

    def _allowed(self, origin: str | None) -> str:
        """Return what Access-Control-Allow-Origin says to an origin; nothing to a stranger's."""
        if origin is None:
            return ""
        if origin in self._listed:
            return origin
        return "*" if self._any else ""

    def _concerns(self, request: Request) -> bool:
        """Say whether a preflight is anybody else's than our own page's, which needs none."""
        origin = request.headers.get("origin") or ""
        return bool(self._allowed(origin)) or not is_own(origin, request)

    def _preflight(self, request: Request) -> Response:
        """Tell which methods a path takes. What else a preflight is told stands in `marks`."""
        origin = request.headers["origin"]
        if not self._allowed(origin):
            detail = f"the origin {origin[:80]!r} is not among gateway.origins"
            self._refused(request.peer, "origin", 403, detail)
            raise Fault(
                Code.PERMISSION_DENIED,
                detail,
                effect=Effect.NONE,
                public="Pages of this origin may not call here.",
                extra={"reason": "origin"},
            )
        takes = self._takes(request.path)
        if takes is None:
            detail = f"no route takes {request.path[:200]}"
            raise Fault(Code.NOT_FOUND, detail, effect=Effect.NONE)
        if not takes:
            asked = request.headers["access-control-request-method"]
            more = (asked,) if asked not in METHODS and _METHOD.fullmatch(asked) else ()
            takes = (*METHODS, *more)
        return Response(204, Headers({"allow": ", ".join(takes)}))


def _asks_first(request: Request) -> bool:
    """Say whether a request is a preflight. Source: Fetch, "CORS-preflight request"."""
    if request.method != "OPTIONS":
        return False
    headers = request.headers
    asks = headers.get("access-control-request-method") is not None
    return asks and headers.get("origin") is not None


def _crossing(names: list[str]) -> list[str]:
    """Return the fields that a page may send, of those it asks for: all that a service would see.

    A list of ours would protect nobody, since those who are listed may call, and would lack what
    a handler reads. What the door drops in any case (claims of identity, what is a hop's) is not
    promised.
    """
    asked = Headers.parsed([(name, "") for name in names if _NAME.fullmatch(name)], None)
    return list(dict.fromkeys(name for name, _ in asked.forwardable()))


def _told(name: str) -> bool:
    """Say whether a page has to be allowed to read a field, and may be."""
    return name not in _UNTOLD and not name.startswith("access-control-")
