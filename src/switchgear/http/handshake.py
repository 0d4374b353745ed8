"""The WebSocket handshake, checked on both sides (rule 30). Source: RFC 6455 section 4."""

import base64
import binascii
import hashlib
import os
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from switchgear.http.headers import Headers
from switchgear.http.message import Request
from switchgear.http.refusals import refuse
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["accept_of", "check_answer", "check_origin", "check_request", "check_switch", "new_key"]

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


def check_origin(request: Request, origins: Collection[str] | None) -> None:
    """Check that a browser's page may open this socket.

    `origins` lists whole origins ("https://a.example"), or "*" for any; None allows only the
    request's own host. A client that is no browser sends no Origin and is not concerned.

    Raises Fault (403) for any other.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    if origins is None:
        host = request.headers.get("host", "")
        allowed = origin != "null" and urlsplit(origin).netloc.lower() == (host or "").lower()
    else:
        allowed = "*" in origins or origin in origins
    if not allowed:
        raise Fault(
            Code.PERMISSION_DENIED,
            f"the origin {origin[:80]!r} may not open a WebSocket here",
            effect=Effect.NONE,
            extra={"reason": "origin"},
        )


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
    if headers.get("sec-websocket-extensions"):
        raise refuse("websocket-extension", "an extension that was not offered", status=502)
    chosen = headers.get("sec-websocket-protocol", "") or ""
    if chosen and chosen not in offered:
        raise refuse("websocket-protocol", f"{chosen[:40]!r} was not offered", status=502)
    return chosen
