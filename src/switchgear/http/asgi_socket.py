"""WebSockets of a hosted ASGI app: `websocket.accept` upgrades, the app's messages are frames."""

import asyncio
from asyncio import CancelledError, Future
from typing import TYPE_CHECKING, Final

from switchgear.core.clock import FINE
from switchgear.core.sweep import sweep_of
from switchgear.http.asgi import Run, read_headers
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

AFTERWARDS: Final = 5.0  # seconds that an app gets to return once its peer has gone

_DENIAL: Final = "websocket.http.response"


class SocketRun(Run):
    """One run of the app for one WebSocket.

    Raises Fault where the request is no handshake. The origin is the app's to check: it knows
    its pages, and `websocket.close` before `websocket.accept` refuses.
    """

    def __init__(self, host: "AsgiHost", call: Call[Request]) -> None:
        super().__init__(host, call)
        self._accept = accept_of(check_request(call.payload))
        self._socket: WebSocket | None = None
        self._connected = False
        self._returned: Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Call the app."""
        request = self.call.payload
        scope = self.host.scope(self.call, "websocket")
        del scope["method"]
        scope["scheme"] = "wss" if request.scheme == "https" else "ws"
        offered = request.headers.get("sec-websocket-protocol")
        scope["subprotocols"] = [one.strip() for one in offered.split(",")] if offered else []
        scope["extensions"][_DENIAL] = {}
        try:
            await self.host.app(scope, self.receive, self.send)
        except Exception as error:
            if self._socket is None:
                raise
            self._returned.set_exception(error)  # the session raises it: 1011, and the log
        except CancelledError:
            self._returned.cancel()
            raise
        else:
            self._returned.set_result(None)

    async def receive(self) -> Message:
        """Return the handshake, then every message, then the peer's leaving."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        socket = self._socket
        if socket is None:
            await asyncio.shield(self._left)
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        message = await socket.receive()
        if message is None:
            return {
                "type": "websocket.disconnect",
                "code": socket.code or 1006,
                "reason": socket.reason,
            }
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message, "bytes": None}
        return {"type": "websocket.receive", "bytes": message, "text": None}

    async def send(self, message: Message) -> None:
        """Accept, speak, or close."""
        kind = message["type"]
        socket = self._socket
        if kind.startswith(_DENIAL):
            await super().send({**message, "type": kind.removeprefix("websocket.")})
        elif kind == "websocket.accept" and socket is None:
            self._upgrade(message)
        elif kind == "websocket.close" and socket is None:
            fault = Fault(Code.PERMISSION_DENIED, "the app closed before it accepted",
                          effect=Effect.NONE)  # fmt: skip
            if not self.head.done():
                self.head.set_exception(fault)
        elif kind == "websocket.close" and socket is not None:
            await socket.close(message.get("code", 1000), message.get("reason") or "")
        elif kind == "websocket.send" and socket is not None:
            text = message.get("text")
            try:
                await socket.send(bytes(message["bytes"]) if text is None else text)
            except Fault as fault:
                raise OSError(fault.detail) from fault
        else:
            raise RuntimeError(f"an app must not send {kind!r} now")

    def _upgrade(self, message: Message) -> None:
        headers = [
            ("sec-websocket-accept", self._accept),
            *read_headers(message.get("headers", ())),
        ]
        chosen = message.get("subprotocol")
        if chosen:
            headers.append(("sec-websocket-protocol", chosen))
        self._socket = WebSocket(self._session, request=self.call.payload, subprotocol=chosen or "")
        if not self.head.done():
            self.head.set_result(Upgrade(101, Headers(headers), self._socket))

    async def _session(self, _: WebSocket) -> None:
        """Hold the connection until the app has returned."""
        try:
            await asyncio.shield(self._returned)
        except CancelledError:
            if not self._returned.done():
                sweep_of(self._loop).arm(FINE() + AFTERWARDS, self)
                self._returned.add_done_callback(self._late)
            raise

    def _late(self, returned: "Future[None]") -> None:
        """Take what the app raised after its peer had gone: nobody else will."""
        if not returned.cancelled() and (error := returned.exception()) is not None:
            self.host.on_defect(error, self.call)

    def ring(self) -> None:
        """Call off an app that did not return after its peer had gone."""
        self.call_off()
