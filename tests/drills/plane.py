"""The data plane in a process of its own: a server, or a gateway before one, that can be asked.

`python tests/drills/plane.py server --settings JSON`, or `gateway --upstream PORT`. It announces
its port, and answers `figures` on a control socket: what was counted, sent and taken.
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from switchgear.assembly.app import App
from switchgear.assembly.bodies.gateway import gateway
from switchgear.assembly.control import ControlServer
from switchgear.assembly.kernel import allow_descriptors
from switchgear.assembly.listen import bind
from switchgear.assembly.roles import Post, RoleContext
from switchgear.assembly.running import equip, freeze, loop_factory
from switchgear.assembly.settings import Settings
from switchgear.assembly.topology import Endpoint, State, Topology, TopologyFeed
from switchgear.core.handler import Handler
from switchgear.drills.process import announce, until_told
from switchgear.http.message import Request, Response, StreamResponse, json_response
from switchgear.http.server import Drive, Server
from switchgear.http.settings import ServerSettings
from switchgear.policy.call import Call
from switchgear.telemetry.logs import Log
from switchgear.telemetry.metrics import Registry
from switchgear.telemetry.writer import DescriptorSink, LogWriter

PIECE = 256 << 10


def piece(number: int) -> bytes:
    """Return one piece of a stream; no two are alike."""
    return (b"%016d" % number) * (PIECE // 16)


class Counts:
    """What this process's handler has sent and taken, in bytes."""

    def __init__(self) -> None:
        self.produced = 0
        self.taken = 0
        self.held = asyncio.Event()  # clear: an upload is not read on
        self.held.set()


def handler_of(counts: Counts) -> Handler[Request, Response]:
    """Answer `/`, `GET /stream/N[/counted]` with N pieces, `POST /take` with what came."""

    async def pieces(most: int) -> AsyncIterator[bytes]:
        for number in range(most):
            data = piece(number)
            counts.produced += len(data)
            yield data

    async def handle(call: Call[Request]) -> Response:
        request = call.payload
        _, kind, *rest = request.path.split("/")
        if kind == "stream":
            most = int(rest[0])
            length = most * PIECE if len(rest) > 1 else None
            return StreamResponse.of(pieces(most), length=length)
        if kind == "take":
            crc = size = 0
            async for data in request.body:
                crc = zlib.crc32(data, crc)
                size += len(data)
                counts.taken = size
                await counts.held.wait()
            return json_response({"bytes": size, "crc": crc})
        if request.method == "POST":
            await request.body.read()
        return json_response({"path": request.path})

    return handle


def figures_of(server: Server, counts: Counts) -> Callable[[Any], Awaitable[Any]]:
    """Return what answers with all that a drill wants to know of a server."""

    async def figures(_: Any) -> Any:
        return {
            "refusals": {reason: n for reason, n in server.counters.refusals.items() if n},
            "open": server.census.total,
            "sent": server.counters.sent,
            "produced": counts.produced,
            "taken": counts.taken,
            "made_room": server.counters.made_room,
        }

    return figures


async def serve(given: argparse.Namespace) -> None:
    """Serve the handler, by itself."""
    counts = Counts()
    settings = msgspec.json.decode(given.settings, type=ServerSettings)
    server = Server(handler_of(counts), settings, drive=Drive[given.drive])
    answers = {"figures": figures_of(server, counts), "hold": holding(counts)}
    await server.start(bind("0.0.0.0", 0, 4096), backlog=4096)  # many of 127/8
    await told(server.port, answers)
    await server.stop()


def holding(counts: Counts) -> Callable[[Any], Awaitable[Any]]:
    """Return what stops an upload from being read, and lets it go on."""

    async def hold(body: Any) -> Any:
        (counts.held.clear if body else counts.held.set)()

    return hold


async def front(given: argparse.Namespace) -> None:
    """Be a gateway as `switchgear run gateway` is, before one service."""
    app = App("plane")
    app.mount("/", nothing, deadline=given.deadline)
    fields = msgspec.json.decode(given.settings, type=dict[str, Any])
    settings = msgspec.convert(fields, type=Settings)
    writer = LogWriter(DescriptorSink(os.open(os.devnull, os.O_WRONLY)))
    sock = bind("0.0.0.0", 0, 4096)
    port = sock.getsockname()[1]
    ready = asyncio.Event()
    upstream = Endpoint("service", 1, f"tcp:127.0.0.1:{given.upstream}", State.READY)
    context = RoleContext(
        Post("gateway"),
        settings,
        Log(writer, "gateway-1"),
        app=app,
        boot_key=bytes(32),
        sockets=(sock,),
        topology=TopologyFeed(Topology(1, (upstream,))),
        tell=lambda _: ready.set(),
    )
    probe = equip(context, asyncio.get_running_loop())
    work = asyncio.ensure_future(gateway(context))
    await asyncio.wait({work, asyncio.ensure_future(ready.wait())}, return_when="FIRST_COMPLETED")
    freeze()
    await told(port, {"figures": series_of(context.registry), **context.answers})
    context.drain(1.0)
    await work
    probe.stop()
    writer.close()


def series_of(registry: Registry) -> Callable[[Any], Awaitable[Any]]:
    """Return what answers with the figures that the metrics page shows of a gateway."""

    async def figures(_: Any) -> Any:
        shots = {shot.name: shot.series for shot in registry.snapshot()}
        return {
            "refusals": {one.labels[0]: int(one.value) for one in shots["http_refusals_total"]
                         if one.value},
            "open": int(shots["http_connections_open"][0].value),
            "made_room": int(shots["http_connections_made_room_total"][0].value),
        }  # fmt: skip

    return figures


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Stand in for the application, which other processes run."""


async def told(port: int, answers: dict[str, Any]) -> None:
    """Announce, and answer until told to end."""
    with tempfile.TemporaryDirectory() as folder:
        control = ControlServer(Path(folder) / "control", answers)
        await control.start()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        announce(port=port, control=str(Path(folder) / "control"), descriptors=limit)
        await until_told(attached="--attached" in sys.argv)
        await control.stop()


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("server", "gateway"))
    parser.add_argument("--settings", default="{}")
    parser.add_argument("--drive", default="EAGER")
    parser.add_argument("--upstream", type=int, default=0)
    parser.add_argument("--deadline", type=float, default=3.0)
    parser.add_argument("--attached", action="store_true")
    given = parser.parse_args()
    allow_descriptors()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(given) if given.kind == "server" else front(given))


if __name__ == "__main__":
    main()
