"""Scopes: what an ASGI app is told of its request before it runs.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html and its extensions.
"""

from typing import Any, Final
from urllib.parse import unquote

from switchgear.http.lifespan import Scope
from switchgear.http.limits import UNIX
from switchgear.http.message import Request
from switchgear.policy.call import Call

__all__ = ["DENIAL", "EARLY_HINT", "PATHSEND", "TRAILERS", "http_scope", "socket_scope"]

TRAILERS: Final = "http.response.trailers"
PATHSEND: Final = "http.response.pathsend"
EARLY_HINT: Final = "http.response.early_hint"
DENIAL: Final = "websocket.http.response"


def http_scope(call: Call[Request], root_path: str, state: dict[str, Any]) -> Scope:
    """Make the scope of a request.

    The extensions that hang on the client are offered to those apps alone whose client can take
    them: trailers where it says `TE: trailers`, early hints where it speaks HTTP/1.1.
    """
    request = call.payload
    scope = _scope(call, "http", root_path, state)
    scope["method"] = request.method
    extensions = scope["extensions"]
    extensions[PATHSEND] = {}
    if request.minor:
        if "trailers" in request.headers.tokens("te"):
            extensions[TRAILERS] = {}
        if request.arrival is not None:
            extensions[EARLY_HINT] = {}
    return scope


def socket_scope(call: Call[Request], root_path: str, state: dict[str, Any]) -> Scope:
    """Make the scope of a WebSocket."""
    request = call.payload
    scope = _scope(call, "websocket", root_path, state)
    scope["scheme"] = "wss" if request.scheme == "https" else "ws"
    offered = request.headers.get("sec-websocket-protocol") or ""
    scope["subprotocols"] = [name for part in offered.split(",") if (name := part.strip())]
    scope["extensions"][DENIAL] = {}
    return scope


def _scope(call: Call[Request], kind: str, root_path: str, state: dict[str, Any]) -> Scope:
    request = call.payload
    client, server = _ends(request)
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1" if request.minor else "1.0",
        "scheme": request.scheme,
        # Both are the normal form, the one that was routed and authorised (rule 24): an app that
        # took the bytes as they came would have a second opinion of where it stands.
        "path": unquote(request.path),
        "raw_path": request.path.encode("ascii"),
        "query_string": request.query.encode("ascii"),
        "root_path": root_path,
        "headers": [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers
        ],
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": {"switchgear": {"call": call}},
    }


def _ends(request: Request) -> tuple[tuple[str, int] | None, tuple[str, int | None] | None]:
    """Return the client's and our own address; on a Unix socket a peer has none of its own."""
    if request.arrival is None:
        return ((request.peer, 0) if request.peer else None), None
    client, server = request.arrival.ends()
    # Somebody who is trusted has told of another: a proxy, or on a Unix socket one of our gateways.
    if request.peer != UNIX and (client is None or client[0] != request.peer):
        client = (request.peer, 0)
    return client, server
