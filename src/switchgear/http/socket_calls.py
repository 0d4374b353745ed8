"""The messages of a WebSocket as calls: a source whose deliveries are settled by replies."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from switchgear.core.drivers import Work
from switchgear.core.outcome import Done, Failed, Outcome
from switchgear.policy.call import Call

if TYPE_CHECKING:
    from switchgear.http.session import WebSocket

__all__ = ["FrameDelivery", "FrameSource", "Reply", "reply_with"]

Message = str | bytes
Reply = Callable[[Outcome[Any]], Message | None]


def reply_with(outcome: Outcome[Any]) -> Message | None:
    """Send what the handler returned; a failed call ends the session, as an exception would."""
    if isinstance(outcome, Done):
        value: Message | None = outcome.value
        return value
    raise outcome.error


class FrameDelivery:
    """One message of a socket: it is settled by sending the reply, if there is one."""

    __slots__ = ("_socket", "_source", "call")

    def __init__(self, source: "FrameSource", call: Call[Message]) -> None:
        self.call = call
        self._source = source

    def begin(self, work: Work) -> None:
        """Do nothing: a session that is cancelled cancels its calls."""

    async def settle(self, outcome: Outcome[Any]) -> None:
        """Send the reply."""
        if isinstance(outcome, Failed) and isinstance(outcome.error, CancelledError):
            return
        reply = self._source.reply(outcome)
        if reply is not None:
            await self._source.socket.send(reply)


class FrameSource:
    """The messages of a socket as deliveries; drained when the peer has closed."""

    __slots__ = ("call", "reply", "socket")

    def __init__(
        self, socket: "WebSocket", call: Callable[[Message], Call[Message]], reply: Reply
    ) -> None:
        self.socket = socket
        self.call = call
        self.reply = reply

    async def take(self) -> FrameDelivery | None:
        """Return the next message, or None when there will be no more."""
        message = await self.socket.receive()
        return None if message is None else FrameDelivery(self, self.call(message))
