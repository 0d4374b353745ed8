"""WebSockets: answering the handshake, and opening one. Source: RFC 6455.

async def session(socket: WebSocket) -> None:
    await consume(socket.frames(make_call), handler)

async def handler(call: Call[Request]) -> Response:
    return upgrade(call.payload, session)
"""

from collections.abc import Collection, Sequence

import msgspec

from switchgear.core.handler import Handler
from switchgear.http.handshake import accept_of, check_answer, check_origin, check_request, new_key
from switchgear.http.headers import Headers
from switchgear.http.message import Request, Response, Upgrade
from switchgear.http.session import Message, Session, WebSocket
from switchgear.http.settings import SocketSettings
from switchgear.http.socket_calls import FrameDelivery, FrameSource
from switchgear.http.spoken import speak
from switchgear.http.tunnel import Relay
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

__all__ = ["FrameDelivery", "FrameSource", "Message", "Session", "WebSocket", "connect", "upgrade"]


def upgrade(
    request: Request,
    session: Session,
    settings: SocketSettings | None = None,
    *,
    origins: Collection[str] | None = None,
    subprotocols: Sequence[str] = (),
) -> Upgrade:
    """Answer a handshake: the connection becomes a WebSocket, and `session` runs on it.

    Raises Fault when it is no handshake (426, 400), or comes from a page of another origin (403).
    """
    key = check_request(request)
    check_origin(request, origins)
    headers = [("sec-websocket-accept", accept_of(key))]
    offered = [
        name.strip() for name in (request.headers.get("sec-websocket-protocol") or "").split(",")
    ]
    chosen = next((name for name in subprotocols if name in offered), "")
    if chosen:
        headers.append(("sec-websocket-protocol", chosen))
    socket = WebSocket(session, settings, request=request, subprotocol=chosen)
    return Upgrade(101, Headers(headers), socket)


def _nobody() -> None:
    """Call nobody off: whoever holds a client's socket finds out by `receive`."""


async def connect(
    handler: Handler[Request, Response],
    call: Call[Request],
    settings: SocketSettings | None = None,
    *,
    subprotocols: Sequence[str] = (),
) -> WebSocket:
    """Open a WebSocket through a pool. The caller closes it.

    Raises Fault when the server does not answer the handshake as it must.
    """
    key = new_key()
    request = call.payload
    asked = {"sec-websocket-key": key, "sec-websocket-version": "13"}
    if subprotocols:
        asked["sec-websocket-protocol"] = ", ".join(subprotocols)
    request = msgspec.structs.replace(
        request, method="GET", headers=request.headers.also(asked), upgrade="websocket"
    )
    answer = await handler(msgspec.structs.replace(call, payload=request))
    if not isinstance(answer, Upgrade) or not isinstance(answer.body, Relay):
        status = answer.status
        body = await answer.read(65536)
        raise Fault(
            Code.FAILED_PRECONDITION,
            f"the handshake was answered {status}: {body[:200]!r}",
            effect=Effect.NONE,
            extra={"status": 502},
        )
    try:
        chosen = check_answer(answer.headers, key, subprotocols)
    except Fault:
        answer.abandon()
        raise
    socket = WebSocket(None, settings, request=request, subprotocol=chosen)
    transport, early = answer.body.take()
    speak(transport, socket)
    socket.attach(transport, _nobody)
    transport.resume_reading()
    if early:
        socket.data_received(early)
    return socket
