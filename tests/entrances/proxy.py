"""A streaming reverse proxy: what the upstream sends goes on as it comes, and so does its end."""

from msgspec.structs import replace

from switchgear.core.frames import Timeout
from switchgear.core.handler import Handler
from switchgear.core.stack import OUTBOUND, Part, Place, stack
from switchgear.http.message import Request, Response
from switchgear.http.pool import Pool
from switchgear.http.problem import judging
from switchgear.http.server import Drive, Server
from switchgear.policy.call import Call
from switchgear.policy.gate import Gate


def proxy(upstream: Pool, breaker: Gate, bulkhead: Gate) -> Handler[Request, Response]:
    """Forward every request to `upstream`, behind its breaker and bulkhead."""

    async def forward(call: Call[Request]) -> Response:
        headers = call.payload.headers.forwardable()
        return await upstream(replace(call, payload=replace(call.payload, headers=headers)))

    parts = [
        Part(Place.BREAKER, breaker),
        Part(Place.BULKHEAD, bulkhead),
        Part(Place.TIMEOUT, Timeout(full=3.0)),
    ]
    return stack("proxy", OUTBOUND, parts, forward, judge=judging(trusted=False)).run


def serve_proxy(upstream: Pool, breaker: Gate, bulkhead: Gate) -> Server:
    """Serve the proxy: its frames are our own, so they run where the bytes arrive."""
    return Server(proxy(upstream, breaker, bulkhead), drive=Drive.EAGER)
