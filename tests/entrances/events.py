"""Server-sent events: a stream that outlives its route's deadline, until its client leaves."""

import asyncio
from collections.abc import AsyncGenerator
from math import inf

from switchgear.core.frames import Timeout
from switchgear.core.stack import INBOUND, Part, Place, stack
from switchgear.http.message import Request, Response, StreamResponse
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate


class Ticker:
    """Ticks for whoever listens, and knows how many listen."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.listeners = 0

    async def ticks(self) -> AsyncGenerator[bytes, None]:
        """Yield one event after another, for as long as they are taken."""
        self.listeners += 1
        try:
            tick = 0
            while True:
                tick += 1
                yield f"id: {tick}\ndata: tick\n\n".encode()
                await asyncio.sleep(self.every)
        finally:
            self.listeners -= 1

    async def handler(self, call: Call[Request]) -> Response:
        """Answer at once; the events come after the head, which is all that the deadline bounds."""
        return StreamResponse.of(self.ticks(), headers={"content-type": "text/event-stream"})


def serve_events(ticker: Ticker, gate: Gate, deadline: float) -> Server:
    """Serve the events behind a bulkhead: a listener holds its permit until the stream ends."""
    whole = Timeout(full=deadline, limit=inf, share=1.0)
    parts = [Part(Place.DEADLINE, whole), Part(Place.SHED, gate)]
    handler = stack("events", INBOUND, parts, ticker.handler).run
    return Server(handler, ServerSettings(deadline=deadline), drive=Drive.PARKED)
