"""WebSockets of a hosted ASGI app: `websocket.accept` upgrades, the app's messages are frames.

```
  CONNECT --accept--> OPEN --close, or the peer's--> CLOSED
     +--close: 403, or an answer of the app's own (websocket.http.response)--> DENIED
```
"""

import asyncio
from asyncio import CancelledError, Future
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from switchgear.core.clock import FINE
from switchgear.http.asgi_run import AFTERWARDS, Run
from switchgear.http.asgi_scope import DENIAL
from switchgear.http.asgi_shape import piece, read_headers
from switchgear.http.handshake import accept_of, check_request
from switchgear.http.headers import Headers
from switchgear.http.lifespan import Message
from switchgear.http.message import Request, Upgrade
from switchgear.http.websocket import WebSocket
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault

if TYPE_CHECKING:
    from switchgear.http.asgi import AsgiHost

__all__ = ["SocketRun"]

# Ours to write: they answer the handshake.
_OURS: Final = frozenset(
    {"sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol"}
)


class Door(IntEnum):
    """How far the socket has come."""

    CONNECT = 0
    DENIED = 1
    OPEN = 2
    CLOSED = 3


class SocketRun(Run):
    """One run of the app for one WebSocket.

    Raises Fault where the request is no handshake. The origin is the app's to check: it knows
    its pages, and `websocket.close` before `websocket.accept` refuses.
    """

    def __init__(self, host: "AsgiHost", call: Call[Request]) -> None:
        self._accept = accept_of(check_request(call.payload))
        super().__init__(host, call)
        self._door = Door.CONNECT
        self._socket: WebSocket | None = None
        self._connected = False
        self._parted = False  # the app was told that its peer has gone
        self._attached: Future[None] = self._loop.create_future()  # the socket can be used, or not
        self._returned: Future[None] = self._loop.create_future()
        self._session_on = False

    async def run(self) -> None:
        """Call the app."""
        try:
            await super().run()
        except Exception as error:
            if not self._session_on:
                raise
            if self._parted:
                self._aftermath(error)
                self._returned.set_result(None)
            else:
                self._returned.set_exception(error)  # the session raises it: 1011, and the log
        except CancelledError:
            self._returned.cancel()
            raise
        else:
            self._returned.set_result(None)

    def call_off(self) -> None:
        """Take note that the client has gone before the app had answered it."""
        super().call_off()
        if self._socket is not None and not self._session_on:
            self._socket.abandon()

    # What the app calls

    async def receive(self) -> Message:
        """Return the handshake, then every message, then the peer's leaving."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        socket = self._socket
        if socket is None:
            await self._until_over()
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        message = await socket.receive()
        if message is None:
            self._parted = self._door is Door.OPEN
            code, reason = socket.code or 1006, socket.reason
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message, "bytes": None}
        return {"type": "websocket.receive", "bytes": message, "text": None}

    async def send(self, message: Message) -> None:
        """Accept, speak, or close.

        Raises OSError when the peer has gone, RuntimeError for a message out of turn, TypeError
        or ValueError for one of the wrong shape.
        """
        kind = message["type"]
        if self._door is Door.OPEN and self._socket is not None:
            await self._speak(self._socket, kind, message)
        elif self._off:
            raise OSError("the client has left")
        elif self._door is Door.CONNECT and kind == "websocket.accept":
            await self._upgrade(message)
        elif self._door is Door.CONNECT and kind == "websocket.close":
            self._door = Door.DENIED
            self._give_up(Fault(Code.PERMISSION_DENIED, "the app closed before it accepted",
                                effect=Effect.NONE))  # fmt: skip
        elif self._door is Door.CONNECT and kind == f"{DENIAL}.start":
            self._begin(message, "websocket")
            self._door = Door.DENIED
        elif self._door is Door.DENIED and kind == f"{DENIAL}.body":
            await self._body(piece(message), bool(message.get("more_body", False)))
        else:
            raise RuntimeError(f"an app must not send {kind!r} now")

    def _give_up(self, fault: Fault) -> None:
        if not self.head.done():
            self.head.set_exception(fault)
        self._failure = fault
        self.disconnect()

    async def _upgrade(self, message: Message) -> None:
        """Accept the handshake, and wait until there is a connection to speak on."""
        headers = [
            pair for pair in read_headers(message.get("headers", ())) if pair[0] not in _OURS
        ]
        headers.append(("sec-websocket-accept", self._accept))
        chosen = message.get("subprotocol")
        if chosen:
            offered = self.call.payload.headers.get("sec-websocket-protocol") or ""
            if chosen not in [name.strip() for name in offered.split(",")]:
                raise ValueError(f"the subprotocol {chosen!r} was not offered")
            headers.append(("sec-websocket-protocol", chosen))
        self._door = Door.OPEN
        self._socket = socket = WebSocket(
            self._session, self.host.socket, request=self.call.payload, subprotocol=chosen or ""
        )
        socket.on_end(lambda _: self._attach())
        self._give(Upgrade(101, Headers(headers), socket))
        await self._attached
        if not self._session_on:
            self._parted = True
            raise OSError("the client left amid the handshake")

    def _attach(self) -> None:
        if not self._attached.done():
            self._attached.set_result(None)

    async def _speak(self, socket: WebSocket, kind: str, message: Message) -> None:
        if kind == "websocket.close":
            await self._close(socket, message)
            return
        if kind != "websocket.send":
            raise RuntimeError(f"an app must not send {kind!r} now")
        data = message.get("text")
        if data is None:
            data = message.get("bytes")
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError("a message has a text, or bytes")
            data = bytes(data)
        elif not isinstance(data, str):
            raise TypeError(f"a text is a str, not {type(data).__name__}")
        try:
            await socket.send(data)
        except Fault as fault:
            self._parted = True
            raise OSError(fault.detail) from fault

    async def _close(self, socket: WebSocket, message: Message) -> None:
        code = message.get("code")
        closing = socket.close(1000 if code is None else code, message.get("reason") or "")
        self._door = Door.CLOSED
        try:
            await closing
        except ValueError:  # no code to be sent: the socket stays as it was
            self._door = Door.OPEN
            raise

    # What the connection calls

    async def _session(self, _: WebSocket) -> None:
        """Hold the connection until the app has returned."""
        self._session_on = True
        self._attach()
        try:
            await asyncio.shield(self._returned)
        except CancelledError:
            if not self._returned.done():
                self._parted = True
                self._off = True
                self.cancel_at(FINE() + AFTERWARDS)
            raise
