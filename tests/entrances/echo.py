"""A WebSocket echo: the session lasts, and each of its frames is a call."""

import asyncio
from math import inf
from typing import Any

from switchgear.core.clock import FINE
from switchgear.core.consume import consume
from switchgear.core.frames import Timeout
from switchgear.core.outcome import Done, Outcome
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.http.message import Request, Response
from switchgear.http.server import Drive, Server
from switchgear.http.websocket import Message, WebSocket, upgrade
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Fault
from switchgear.policy.gate import Gate


async def echo(call: Call[Message]) -> Message:
    """Answer a frame with itself; `boom` is a fault, which costs one answer and no session."""
    word, _, seconds = str(call.payload).partition(" after ")
    if word == "boom":
        raise Fault(Code.INVALID_ARGUMENT, "boom", public="That was no word.")
    await asyncio.sleep(float(seconds or 0))
    return word


def reply(outcome: Outcome[Any]) -> Message:
    """Tell the peer of a fault, and go on; anything else that was raised ends the session."""
    if isinstance(outcome, Done):
        return str(outcome.value)
    if isinstance(outcome.error, Fault):
        return f"{outcome.error.code}: {outcome.error.public}"
    raise outcome.error


def serve_echo(gate: Gate, deadline: float = 3.0) -> Server:
    """Serve the echo; its frames stand behind a gate and under a deadline of their own."""
    whole = Timeout(full=deadline, limit=inf, share=1.0)
    parts = [Part(Place.DEADLINE, whole), Part(Place.SHED, gate)]
    handler = stack("echo", INBOUND, parts, echo).run

    def frame(message: Message) -> Call[Message]:
        return Call(message, FINE() + deadline)

    async def session(socket: WebSocket) -> None:
        await consume(socket.frames(frame, reply), handler)

    async def door(call: Call[Request]) -> Response:
        return upgrade(call.payload, session)

    return Server(door, drive=Drive.PARKED)
