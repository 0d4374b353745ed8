"""The WebSocket handshake, checked on both sides (rule 30). Source: RFC 6455 section 4."""

import base64
import binascii
import hashlib
import os
from collections.abc import Collection
from typing import Final

from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.http.refusals import refuse
from switchgear.policy.fault import Code, Effect, Fault

__all__ = [
    "accept_of",
    "check_answer",
    "check_chosen",
    "check_origin",
    "check_request",
    "check_switch",
    "is_own",
    "new_key",
]

_PORTS: Final = {"http": ":80", "https": ":443"}
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> str:
    """Return a fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode("ascii")


def accept_of(key: str) -> str:
    """Return the Sec-WebSocket-Accept that proves that a key was read."""
    digest = hashlib.sha1(key.encode("ascii") + _MAGIC, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def check_request(request: Request) -> str:
    """Check a client's handshake; return its key.

    Raises Fault: 426 for another protocol or version, 400 for a malformed key.
    """
    if request.upgrade != "websocket":
        raise refuse("websocket", "this is a WebSocket: an upgrade is required", status=426)
    if request.headers.get("sec-websocket-version") != "13":
        raise refuse("websocket-version", "only WebSocket version 13 is spoken", status=426)
    key = request.headers.get("sec-websocket-key", "")
    try:
        raw = base64.b64decode(key or "", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 16 or not key:
        raise refuse("websocket-key", "Sec-WebSocket-Key is not 16 bytes of base64")
    return key


def check_origin(request: Request, origins: Collection[str] | None, *, own: bool = False) -> None:
    """Check that a browser's page may open this socket.

    `origins` lists whole origins ("https://a.example"), or "*" for any; None allows only the
    request's own host, and `own` allows that besides. A client that is no browser sends no Origin
    and is not concerned.

    Raises Fault (403) for any other.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    allowed = origins is not None and ("*" in origins or origin in origins)
    if not allowed and (own or origins is None):
        allowed = is_own(origin, request)
    if not allowed:
        raise Fault(
            Code.PERMISSION_DENIED,
            f"the origin {origin[:80]!r} may not open a WebSocket here",
            effect=Effect.NONE,
            extra={"reason": "origin"},
        )


def is_own(origin: str, request: Request) -> bool:
    """Say whether a page of this very host asks: over TLS, one that came over TLS itself.

    (Where somebody else ends TLS for us, we may not know, and then the page knows better.)
    """
    scheme, mark, authority = origin.lower().partition("://")
    host = (request.headers.get("host") or "").lower()
    if not mark or scheme not in _PORTS or (scheme == "http" and request.scheme == "https"):
        return False
    port = _PORTS[scheme]
    return authority.removesuffix(port) == host.removesuffix(port) and bool(host)


def check_switch(headers: Headers, key: str) -> None:
    """Check that a 101 switches to WebSocket and answers the handshake with `key`."""
    upgrade = headers.get("upgrade", "") or ""
    if upgrade.lower() != "websocket" or "upgrade" not in headers.tokens("connection"):
        raise refuse("websocket", "the answer 101 does not upgrade to a WebSocket", status=502)
    if headers.get("sec-websocket-accept") != accept_of(key):
        raise refuse("websocket-accept", "Sec-WebSocket-Accept does not fit the key", status=502)


def check_answer(headers: Headers, key: str, offered: Collection[str]) -> str:
    """Check a server's 101; return the subprotocol it chose.

    Raises Fault when it has not read our handshake.
    """
    check_switch(headers, key)
    return _chosen(headers, (), offered)


def check_chosen(offer: Headers, answer: Headers) -> None:
    """Check that a 101 that is passed on chooses nothing that the client did not offer.

    Raises Fault (502) for an extension or a subprotocol that it cannot know.
    """
    names = [one.partition(";")[0].strip() for one in offer.tokens("sec-websocket-extensions")]
    _chosen(answer, names, [one.strip() for one in _listed(offer, "sec-websocket-protocol")])


def _chosen(answer: Headers, extensions: Collection[str], offered: Collection[str]) -> str:
    for one in answer.tokens("sec-websocket-extensions"):
        if one.partition(";")[0].strip() not in extensions:
            raise refuse("websocket-extension", "an extension that was not offered", status=502)
    chosen = answer.get("sec-websocket-protocol", "") or ""
    if chosen and chosen not in offered:
        raise refuse("websocket-protocol", f"{chosen[:40]!r} was not offered", status=502)
    return chosen


def _listed(headers: Headers, name: str) -> list[str]:
    """Return a list's members as they were written: subprotocols differ by their letters."""
    return (headers.get(name) or "").split(",")
